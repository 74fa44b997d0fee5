// An agent over gRPC: gets work from Nexus, prints it, acknowledges it.
//
//   npm ci --prefix examples/agents/typescript
//   NEXUS_CREDENTIALS=.nexus/agents/acme/coder-nexus-agent examples/agents/typescript/node_modules/.bin/tsx examples/agents/typescript/agent_grpc.ts
import * as grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { Refused, forever, gateway, renewing } from "./access.ts";

const proto = process.env.NEXUS_PROTO ?? "wire/proto"; // where the protobuf files are
const definition = loadSync("nexus/agent/v1/agent.proto", { includeDirs: [proto], enums: String, longs: Number });
const { Agents } = (grpc.loadPackageDefinition(definition) as any).nexus.agent.v1;

await forever((token, renewAfter, goodbye) => {
  const client = new Agents(gateway.replace("http://", ""), grpc.credentials.createInsecure());
  const metadata = new grpc.Metadata();
  metadata.set("authorization", `Bearer ${token}`);
  const call = client.Connect(metadata);
  let quiet = 0;
  const ping = setInterval(() => {
    if (++quiet > 3) return call.cancel(); // not even a Pong comes
    call.write({ ping: {} }); // shows that the agent lives
  }, 10_000);
  const renewed = renewing(renewAfter, (token) => call.write({ reauth: { token } }));
  call.write({ hello: { credit: 8 } });
  call.on("data", (frame: any) => {
    quiet = 0;
    if (frame.deliver) {
      const { id, type, data } = frame.deliver.event;
      console.log(type, data.title ?? data.text);
      call.write({ ack: { eventId: id } }); // once the work is done
      call.write({ grant: { credit: 1 } });
    } else console.log(JSON.stringify(frame));
    if (frame.goodbye) {
      const { seconds = 0, nanos = 0 } = frame.goodbye.reconnectAfter ?? {};
      goodbye(Math.max(0.1, seconds + nanos / 1e9));
    }
  });
  return new Promise<void>((resolve, reject) => {
    call.on("error", () => {}); // its status follows
    call.on("status", ({ code, details, metadata }: grpc.StatusObject) => {
      if (code === grpc.status.OK) return resolve();
      reject(new Refused(details, Number(metadata.get("grpc-retry-pushback-ms")[0] ?? 1000) / 1000));
    });
  }).finally(() => (clearInterval(ping), renewed(), client.close()));
});
