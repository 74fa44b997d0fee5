// What both transports need: an access token, and patience.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

export const gateway = process.env.NEXUS_GATEWAY ?? "http://127.0.0.1:8081";
const folder = process.env.NEXUS_CREDENTIALS!; // with client-id and client-secret, as Kubernetes mounts it

/** Refused for now: try again after so many seconds. */
export class Refused extends Error {
  constructor(message: string, public after = 1) {
    super(message);
  }
}

/** A token, and the milliseconds after which to take a fresh one. */
export async function access(): Promise<{ token: string; renewAfter: number }> {
  const secret = (name: string) => readFileSync(join(folder, name), "utf8");
  const form = { grant_type: "client_credentials", client_id: secret("client-id"), client_secret: secret("client-secret") };
  const answer = await fetch(gateway + "/oauth/token", { method: "POST", body: new URLSearchParams(form) });
  if (!answer.ok) throw new Refused(await answer.text(), Number(answer.headers.get("retry-after") ?? 1));
  const { access_token, expires_in } = (await answer.json()) as { access_token: string; expires_in: number };
  return { token: access_token, renewAfter: expires_in * 800 };
}

/** Session after session. Each tells the seconds after which to connect again. */
export async function forever(session: (token: string, renewAfter: number) => Promise<number>) {
  for (;;) {
    let pause = 1;
    try {
      const { token, renewAfter } = await access();
      pause = await session(token, renewAfter);
    } catch (error) {
      console.log(`not connected: ${error}`);
      if (error instanceof Refused) pause = error.after;
    }
    await sleep(pause * 1000);
  }
}
