"""An agent over WebSocket: gets work from Nexus, prints it, acknowledges it. Needs `pip install websockets`.

    NEXUS_CREDENTIALS=.nexus/agents/acme/coder-nexus-agent python examples/agents/python/agent.py
"""
import json, time
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect
from access import FAILURES, Token, gateway, retry_after

def session(goodbye):
    token = Token()
    # websockets pings every 20 s, and gives up where no answer comes.
    with connect(gateway.replace("http", "ws", 1) + "/v1/connect", additional_headers={"Authorization": f"Bearer {token.text}"}, subprotocols=["nexus.v1+json"]) as ws:
        send = lambda frame: ws.send(json.dumps(frame))
        send({"hello": {"credit": 8}})
        while True:
            if fresh := token.fresh():
                send({"reauth": {"token": fresh}})
            try:
                frame = json.loads(ws.recv(timeout=token.wait(60)))
            except TimeoutError:
                continue
            if "deliver" in frame:
                event = frame["deliver"]["event"]
                print(event["type"], event["data"].get("title") or event["data"].get("text"), flush=True)
                send({"ack": {"eventId": event["id"]}})  # once the work is done
                send({"grant": {"credit": 1}})
            else:
                print(frame, flush=True)
            if "goodbye" in frame:
                goodbye.append(float(frame["goodbye"].get("reconnectAfter", "0.1s").rstrip("s")))

while True:
    pause, goodbye = 1.0, []
    try:
        session(goodbye)
    except (WebSocketException, *FAILURES) as error:
        pause = retry_after(error)
        print(f"not connected: {error}", flush=True)
    time.sleep(goodbye[-1] if goodbye else pause)
