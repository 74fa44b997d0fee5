// An agent over WebSocket: gets work from Nexus, prints it, acknowledges it.
//
//   npm ci --prefix examples/agents/typescript
//   NEXUS_CREDENTIALS=.nexus/agents/acme/coder-nexus-agent examples/agents/typescript/node_modules/.bin/tsx examples/agents/typescript/agent.ts
import { WebSocket } from "ws";
import { Refused, access, forever, gateway } from "./access.ts";

await forever((token, renewAfter) => {
  const url = gateway.replace("http", "ws") + "/v1/connect";
  const socket = new WebSocket(url, "nexus.v1+json", { headers: { Authorization: `Bearer ${token}` } });
  const send = (frame: object) => socket.readyState === WebSocket.OPEN && socket.send(JSON.stringify(frame));
  const ping = setInterval(() => send({ ping: {} }), 10_000); // shows that the agent lives
  const renew = setInterval(async () => {
    const fresh = await access().catch(() => undefined); // without one the session ends with its token
    if (fresh) send({ reauth: { token: fresh.token } });
  }, renewAfter);
  let pause = 1;
  socket.on("open", () => send({ hello: { credit: 8 } }));
  socket.on("message", (text) => {
    const frame = JSON.parse(text.toString());
    if (frame.deliver) {
      const { id, type, data } = frame.deliver.event;
      console.log(type, data.title ?? data.text);
      send({ ack: { eventId: id } }); // once the work is done
      send({ grant: { credit: 1 } });
    } else console.log(JSON.stringify(frame));
    if (frame.goodbye) pause = parseFloat(frame.goodbye.reconnectAfter ?? "0.1s");
  });
  return new Promise<number>((resolve, reject) => {
    socket.on("unexpected-response", (_, answer) => {
      reject(new Refused(`refused with ${answer.statusCode}`, Number(answer.headers["retry-after"] ?? 1)));
      socket.terminate();
    });
    socket.on("error", reject);
    socket.on("close", () => resolve(pause));
  }).finally(() => (clearInterval(ping), clearInterval(renew)));
});
