"""A puppet: does what a scenario says and tells what came. `puppet.py SCENARIO websocket|grpc`.

Each line that it prints is one thing that it did or got, as JSON. After {"world": WHAT} it waits for a line of names and
values, {"A": "<event id>"}, with which `$A` is replaced from then on.
"""
import json, os, pathlib, queue, socket, sys, threading, urllib.error, urllib.parse, urllib.request

gateway = os.environ["NEXUS_GATEWAY"]
secret = pathlib.Path(os.environ["NEXUS_CREDENTIALS"])
came = queue.Queue(64)
names = {"long": "x" * 70_000}


def token():
    form = {"grant_type": "client_credentials"} | {name: (secret / name.replace("_", "-")).read_text() for name in ("client_id", "client_secret")}
    try:
        answer = urllib.request.urlopen(gateway + "/oauth/token", urllib.parse.urlencode(form).encode(), timeout=30)
        names["token"] = json.load(answer)["access_token"]
        came.put({"granted": {}})
    except urllib.error.HTTPError as error:
        came.put({"refused": {"http": error.code}})


class WebSocket:
    def __init__(self, token):
        from websockets.exceptions import InvalidStatus
        from websockets.sync.client import connect

        try:
            url = gateway.replace("http", "ws", 1) + "/v1/connect"
            self.socket = connect(url, additional_headers={"Authorization": f"Bearer {token}"}, subprotocols=["nexus.v1+json"])
        except InvalidStatus as error:
            came.put({"refused": {"http": error.response.status_code}})
            return
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        from websockets.exceptions import ConnectionClosed

        try:
            while True:
                came.put(json.loads(self.socket.recv()))
        except ConnectionClosed as error:
            if not getattr(self, "was_cut", False):
                came.put({"closed": {"websocket": error.rcvd.code if error.rcvd else 1006}})

    def send(self, frame):
        self.socket.send(json.dumps(frame))

    def close(self):
        self.socket.close()

    def cut(self):
        self.was_cut = True
        self.socket.socket.shutdown(socket.SHUT_RDWR)


class Grpc:
    def __init__(self, token):
        import grpc

        sys.path.append(os.environ["NEXUS_PROTO"])
        self.messages, services = grpc.protos_and_services("nexus/agent/v1/agent.proto")
        self.outbox = queue.Queue(64)
        self.channel = grpc.insecure_channel(gateway.removeprefix("http://"))
        self.call = services.AgentsStub(self.channel).Connect(iter(self.outbox.get, None), metadata=[("authorization", f"Bearer {token}")])
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        import grpc
        from google.protobuf.json_format import MessageToDict

        opened = False
        try:
            for frame in self.call:
                opened = True
                came.put(MessageToDict(frame))
            came.put({"closed": {"grpc": 0}})
        except grpc.RpcError as error:
            if not getattr(self, "was_cut", False):
                came.put({"closed" if opened else "refused": {"grpc": error.code().value[0]}})
        self.channel.close()

    def send(self, frame):
        from google.protobuf.json_format import ParseDict

        self.outbox.put(ParseDict(frame, self.messages.ClientFrame()))

    def close(self):
        self.outbox.put(None)

    def cut(self):
        self.was_cut = True
        self.call.cancel()


def tell(what):
    print(json.dumps(what), flush=True)


def replaced(text):
    for name, value in names.items():
        text = text.replace("$" + name, value)
    return text


connection = None
for line in pathlib.Path(sys.argv[1]).read_text().splitlines():
    verb, _, rest = line.partition(" ")
    if not line or verb == "#":
        continue
    if verb == "world":
        tell({"world": rest})
        names |= json.loads(sys.stdin.readline())
    elif verb == "expect":
        got = came.get(timeout=60)
        tell(got)
        if rest not in got:
            sys.exit(f"expected {rest}")
    elif verb == "token":
        tell({verb: rest})
        token()
    elif verb == "open":
        tell({verb: rest})
        connection = {"websocket": WebSocket, "grpc": Grpc}[sys.argv[2]](replaced(rest))
    elif verb == "send":
        tell({verb: json.loads(rest)})
        connection.send(json.loads(replaced(rest)))
    elif verb in ("close", "cut"):
        tell({verb: ""})
        getattr(connection, verb)()
    else:
        sys.exit(f"the scenario has an unknown step: {line}")
