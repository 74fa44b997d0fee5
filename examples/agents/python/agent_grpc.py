"""An agent over gRPC: gets work from Nexus, prints it, acknowledges it. Needs `pip install -r requirements.txt`.

    NEXUS_CREDENTIALS=.nexus/agents/acme/coder-nexus-agent python examples/agents/python/agent_grpc.py
"""
import os, queue, sys, time
import grpc
from access import FAILURES, Token, gateway, retry_after

sys.path.append(os.environ.get("NEXUS_PROTO", "wire/proto"))  # where the protobuf files are; compiled as they are loaded
messages, services = grpc.protos_and_services("nexus/agent/v1/agent.proto")
Frame = messages.ClientFrame
DEADLINE = [("grpc.keepalive_time_ms", 10_000), ("grpc.keepalive_timeout_ms", 10_000)]  # a gateway that is gone is noticed

def frames(outbox, token):
    yield Frame(hello=messages.Hello(credit=8))
    while True:
        try:
            frame = outbox.get(timeout=token.wait(10))
        except queue.Empty:
            frame = Frame(ping=messages.Ping())  # shows that the agent lives
        if frame is None:
            return
        yield frame
        if fresh := token.fresh():
            yield Frame(reauth=messages.Reauth(token=fresh))

while True:
    pause, goodbye, outbox = 1.0, None, queue.Queue()
    try:
        token = Token()
        with grpc.insecure_channel(gateway.removeprefix("http://"), DEADLINE) as channel:
            grpc.channel_ready_future(channel).result(timeout=10)
            for frame in services.AgentsStub(channel).Connect(frames(outbox, token), metadata=[("authorization", f"Bearer {token.text}")]):
                if frame.HasField("deliver"):
                    event = frame.deliver.event
                    print(event.type, event.data.title or event.data.text, flush=True)
                    outbox.put(Frame(ack=messages.Ack(event_id=event.id)))  # once the work is done
                    outbox.put(Frame(grant=messages.Grant(credit=1)))
                else:
                    print(frame, end="", flush=True)
                if frame.HasField("goodbye"):
                    goodbye = max(0.1, frame.goodbye.reconnect_after.ToTimedelta().total_seconds())
    except grpc.RpcError as error:  # refused, or gone: the status says for how long
        pause = int(dict(error.trailing_metadata() or ()).get("grpc-retry-pushback-ms", 1000)) / 1000
        print(f"not connected: {error.details()}", flush=True)
    except (grpc.FutureTimeoutError, *FAILURES) as error:  # no token, or nobody there
        pause = retry_after(error)
        print(f"not connected: {error}", flush=True)
    outbox.put(None)
    time.sleep(pause if goodbye is None else goodbye)
