"""An agent: gets work from Nexus, prints it, acknowledges it. Needs `pip install websockets`.

    NEXUS_CREDENTIALS=.nexus/agents/acme/coder-nexus-agent python examples/quickstart/agent.py
"""
import json, os, pathlib, time, urllib.parse, urllib.request
from datetime import datetime, timezone
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

gateway = os.environ.get("NEXUS_GATEWAY", "http://127.0.0.1:8081")
secret = pathlib.Path(os.environ["NEXUS_CREDENTIALS"])  # a folder with client-id and client-secret, as Kubernetes mounts it

while True:
    pause, goodbye = 1.0, None
    try:
        form = {"grant_type": "client_credentials", "client_id": (secret / "client-id").read_text(), "client_secret": (secret / "client-secret").read_text()}
        token = json.load(urllib.request.urlopen(gateway + "/oauth/token", urllib.parse.urlencode(form).encode(), timeout=10))["access_token"]
        with connect(gateway.replace("http", "ws", 1) + "/v1/connect", additional_headers={"Authorization": f"Bearer {token}"}, subprotocols=["nexus.v1+json"]) as ws:  # which pings, and gives up where no answer comes
            ws.send(json.dumps({"hello": {"credit": 8}}))
            for frame in map(json.loads, ws):
                if "deliver" in frame:
                    event = frame["deliver"]["event"]
                    age = datetime.now(timezone.utc) - datetime.fromisoformat(event["receivedtime"])
                    print(f"{age.total_seconds() * 1000:8.1f} ms  {event['type']}  {event['data'].get('title') or event['data'].get('text')}", flush=True)
                    ws.send(json.dumps({"ack": {"eventId": event["id"]}}))
                    ws.send(json.dumps({"grant": {"credit": 1}}))
                else:
                    print(frame, flush=True)
                if "goodbye" in frame:  # also when the token expires: the next session takes a fresh one; agents/python renews it in time
                    goodbye = float(frame["goodbye"].get("reconnectAfter", "0.1s").rstrip("s"))
    except (OSError, WebSocketException) as error:  # refused or gone: say so, and try again when the answer says
        pause = float(getattr(getattr(error, "response", error), "headers", {}).get("Retry-After", pause))
        print(f"not connected: {error}", flush=True)
    time.sleep(pause if goodbye is None else goodbye)
