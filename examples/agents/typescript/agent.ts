// An agent over WebSocket: gets work from Nexus, prints it, acknowledges it.
//
//   npm ci --prefix examples/agents/typescript
//   NEXUS_CREDENTIALS=.nexus/agents/acme/coder-nexus-agent examples/agents/typescript/node_modules/.bin/tsx examples/agents/typescript/agent.ts
import { WebSocket } from "ws";
import { Refused, forever, gateway, renewing } from "./access.ts";

await forever((token, renewAfter, goodbye) => {
  const url = gateway.replace("http", "ws") + "/v1/connect";
  const socket = new WebSocket(url, "nexus.v1+json", { handshakeTimeout: 10_000, headers: { Authorization: `Bearer ${token}` } });
  const send = (frame: object) => socket.readyState === WebSocket.OPEN && socket.send(JSON.stringify(frame));
  let quiet = 0;
  const ping = setInterval(() => {
    if (++quiet > 3) return socket.terminate(); // not even a Pong comes
    send({ ping: {} }); // shows that the agent lives
  }, 10_000);
  const renewed = renewing(renewAfter, (token) => send({ reauth: { token } }));
  socket.on("open", () => send({ hello: { credit: 8 } }));
  socket.on("message", (text) => {
    quiet = 0;
    const frame = JSON.parse(text.toString());
    if (frame.deliver) {
      const { id, type, data } = frame.deliver.event;
      console.log(type, data.title ?? data.text);
      send({ ack: { eventId: id } }); // once the work is done
      send({ grant: { credit: 1 } });
    } else console.log(JSON.stringify(frame));
    if (frame.goodbye) goodbye(parseFloat(frame.goodbye.reconnectAfter ?? "0.1s"));
  });
  return new Promise<void>((resolve, reject) => {
    socket.on("unexpected-response", (_, answer) => {
      reject(new Refused(`refused with ${answer.statusCode}`, Number(answer.headers["retry-after"] ?? 1)));
      socket.terminate();
    });
    socket.on("error", reject);
    socket.on("close", () => resolve());
  }).finally(() => (clearInterval(ping), renewed()));
});
