// A puppet: does what a scenario says and tells what came. `tsx puppet.ts SCENARIO websocket|grpc`.
//
// Each line that it prints is one thing that it did or got, as JSON. After {"world": WHAT} it waits for a line of names
// and values, {"A": "<event id>"}, with which `$A` is replaced from then on.
import * as grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { WebSocket } from "ws";

type Json = Record<string, any>;
interface Connection {
  send(frame: Json): void;
  close(): void;
  cut(): void;
}

const gateway = process.env.NEXUS_GATEWAY!;
const secret = (name: string) => readFileSync(join(process.env.NEXUS_CREDENTIALS!, name), "utf8");
const names: Record<string, string> = { long: "x".repeat(70_000) };
const tell = (what: Json) => console.log(JSON.stringify(what));

// What came and was not asked for yet, and who waits for it.
const came: Json[] = [];
let waiting: ((what: Json) => void) | undefined;
function arrive(what: Json) {
  if (waiting) waiting(what);
  else came.push(what);
  waiting = undefined;
}
function next(): Promise<Json> {
  const patience = setTimeout(() => fail("nothing came"), 60_000);
  return new Promise<Json>((resolve) => {
    if (came.length > 0) resolve(came.shift()!);
    else waiting = resolve;
  }).finally(() => clearTimeout(patience));
}
function fail(why: string): never {
  console.error(why);
  process.exit(1);
}

async function token() {
  const form = { grant_type: "client_credentials", client_id: secret("client-id"), client_secret: secret("client-secret") };
  const answer = await fetch(gateway + "/oauth/token", { method: "POST", body: new URLSearchParams(form) });
  if (!answer.ok) return arrive({ refused: { http: answer.status } });
  names.token = ((await answer.json()) as Json).access_token;
  arrive({ granted: {} });
}

function websocket(token: string): Promise<Connection> {
  const url = gateway.replace("http", "ws") + "/v1/connect";
  const socket = new WebSocket(url, "nexus.v1+json", { headers: { Authorization: `Bearer ${token}` } });
  let quiet = false;
  const connection = {
    send: (frame: Json) => socket.send(JSON.stringify(frame)),
    close: () => socket.close(1000),
    cut: () => ((quiet = true), socket.terminate()),
  };
  socket.on("message", (text) => arrive(JSON.parse(text.toString())));
  socket.on("error", () => {}); // "close" follows
  socket.on("close", (code) => quiet || arrive({ closed: { websocket: code } }));
  return new Promise((resolve) => {
    socket.on("open", () => resolve(connection));
    socket.on("unexpected-response", (_, answer) => {
      quiet = true;
      arrive({ refused: { http: answer.statusCode } });
      socket.terminate();
      resolve(connection);
    });
  });
}

// The protobuf JSON mapping of durations, which the loader knows as seconds and nanoseconds.
const durations = ["heartbeat", "reconnectAfter", "retryAfter"];
function mapped(value: any, duration: (value: any) => any, name = ""): any {
  if (durations.includes(name)) return duration(value);
  if (value === null || typeof value !== "object" || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, mapped(inner, duration, name)]));
}
const toJson = (frame: Json) => mapped(frame, ({ seconds = 0, nanos = 0 }) => `${seconds + nanos / 1e9}s`);
const fromJson = (frame: Json) =>
  mapped(frame, (text) => {
    const seconds = Math.floor(parseFloat(text));
    return { seconds, nanos: Math.round((parseFloat(text) - seconds) * 1e9) };
  });

async function overGrpc(token: string): Promise<Connection> {
  const options = { includeDirs: [process.env.NEXUS_PROTO!], enums: String, longs: Number };
  const definition = loadSync("nexus/agent/v1/agent.proto", options);
  const { Agents } = (grpc.loadPackageDefinition(definition) as any).nexus.agent.v1;
  const client = new Agents(gateway.replace("http://", ""), grpc.credentials.createInsecure());
  const metadata = new grpc.Metadata();
  metadata.set("authorization", `Bearer ${token}`);
  const call = client.Connect(metadata);
  let opened = false;
  let quiet = false;
  call.on("data", (frame: Json) => ((opened = true), arrive(toJson(frame))));
  call.on("error", () => {}); // "status" follows
  call.on("status", ({ code }: grpc.StatusObject) => {
    if (!quiet) arrive({ [opened ? "closed" : "refused"]: { grpc: code } });
    client.close();
  });
  return {
    send: (frame) => call.write(fromJson(frame)),
    close: () => call.end(),
    cut: () => ((quiet = true), call.cancel()),
  };
}

function replaced(text: string): string {
  return Object.entries(names).reduce((text, [name, value]) => text.replaceAll("$" + name, value), text);
}

const [scenario, transport] = process.argv.slice(2);
const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
let connection: Connection | undefined;
for (const line of readFileSync(scenario, "utf8").split("\n")) {
  const [, verb, rest] = /^(\S*) ?(.*)$/.exec(line)!;
  if (verb === "" || verb === "#") continue;
  if (verb === "world") {
    tell({ world: rest });
    Object.assign(names, JSON.parse((await answers.next()).value));
  } else if (verb === "expect") {
    const got = await next();
    tell(got);
    if (!(rest in got)) fail(`expected ${rest}`);
  } else if (verb === "token") {
    tell({ token: rest });
    await token();
  } else if (verb === "open") {
    tell({ open: rest });
    connection = await (transport === "grpc" ? overGrpc : websocket)(replaced(rest));
  } else if (verb === "send") {
    tell({ send: JSON.parse(rest) });
    connection!.send(JSON.parse(replaced(rest)));
  } else if (verb === "close" || verb === "cut") {
    tell({ [verb]: "" });
    connection![verb]();
  } else {
    fail(`the scenario has an unknown step: ${line}`);
  }
}
process.exit(0);
