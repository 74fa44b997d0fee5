"""An agent over gRPC: gets work from Nexus, prints it, acknowledges it. Needs `pip install -r requirements.txt`.

    NEXUS_CREDENTIALS=.nexus/agents/acme/coder-nexus-agent python examples/agents/python/agent_grpc.py
"""
import json, os, pathlib, queue, sys, time, urllib.error, urllib.parse, urllib.request
import grpc

sys.path.append(os.environ.get("NEXUS_PROTO", "wire/proto"))  # where the protobuf files are; compiled as they are loaded
messages, services = grpc.protos_and_services("nexus/agent/v1/agent.proto")
Frame = messages.ClientFrame
gateway = os.environ.get("NEXUS_GATEWAY", "http://127.0.0.1:8081")
secret = pathlib.Path(os.environ["NEXUS_CREDENTIALS"])  # a folder with client-id and client-secret, as Kubernetes mounts it

def access():
    form = {"grant_type": "client_credentials", "client_id": (secret / "client-id").read_text(), "client_secret": (secret / "client-secret").read_text()}
    answer = json.load(urllib.request.urlopen(gateway + "/oauth/token", urllib.parse.urlencode(form).encode()))
    return answer["access_token"], time.monotonic() + answer["expires_in"] * 0.8

def frames(outbox, renew):
    yield Frame(hello=messages.Hello(credit=8))
    while True:
        try:
            frame = outbox.get(timeout=10)
        except queue.Empty:
            frame = Frame(ping=messages.Ping())  # shows that the agent lives
        if frame is None:
            return
        yield frame
        if time.monotonic() > renew:
            token, renew = access()
            yield Frame(reauth=messages.Reauth(token=token))

while True:
    pause, outbox = 1.0, queue.Queue()
    try:
        token, renew = access()
        with grpc.insecure_channel(gateway.removeprefix("http://")) as channel:
            for frame in services.AgentsStub(channel).Connect(frames(outbox, renew), metadata=[("authorization", f"Bearer {token}")]):
                if frame.HasField("deliver"):
                    event = frame.deliver.event
                    print(event.type, event.data.title or event.data.text, flush=True)
                    outbox.put(Frame(ack=messages.Ack(event_id=event.id)))  # once the work is done
                    outbox.put(Frame(grant=messages.Grant(credit=1)))
                else:
                    print(frame, end="", flush=True)
                if frame.HasField("goodbye"):
                    pause = max(0.1, frame.goodbye.reconnect_after.ToTimedelta().total_seconds())
    except urllib.error.HTTPError as error:  # no token: the answer says for how long
        pause = float(error.headers.get("Retry-After", pause))
        print(f"no token: {error.read().decode()}", flush=True)
    except grpc.RpcError as error:  # refused, or gone: so does the status
        pause = int(dict(error.trailing_metadata() or ()).get("grpc-retry-pushback-ms", 1000)) / 1000
        print(f"not connected: {error.details()}", flush=True)
    except OSError as error:
        print(f"not connected: {error}", flush=True)
    outbox.put(None)
    time.sleep(pause)
