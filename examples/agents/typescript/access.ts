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
  const answer = await fetch(gateway + "/oauth/token", { method: "POST", body: new URLSearchParams(form), signal: AbortSignal.timeout(10_000) });
  if (!answer.ok) throw new Refused(await answer.text(), Number(answer.headers.get("retry-after") ?? 1));
  const { access_token, expires_in } = (await answer.json()) as { access_token: string; expires_in: number };
  return { token: access_token, renewAfter: expires_in * 800 };
}

const pauseOf = (error: unknown) => (error instanceof Refused ? error.after : 1);

/** Takes fresh tokens, until what it returns is called. A failure is tried again: a session lives as long as its token. */
export function renewing(after: number, use: (token: string) => void): () => void {
  let timer = setTimeout(renew, after);
  let over = false;
  async function renew() {
    let next: number;
    try {
      const { token, renewAfter } = await access();
      if (!over) use(token);
      next = renewAfter;
    } catch (error) {
      console.log(`no fresh token: ${error}`);
      next = pauseOf(error) * 1000;
    }
    if (!over) timer = setTimeout(renew, next);
  }
  return () => ((over = true), clearTimeout(timer));
}

/** Session after session. Each tells `goodbye` the seconds that its Goodbye names; they count however it ends. */
export async function forever(session: (token: string, renewAfter: number, goodbye: (seconds: number) => void) => Promise<void>) {
  for (;;) {
    let pause = 1;
    let named: number | undefined;
    try {
      const { token, renewAfter } = await access();
      await session(token, renewAfter, (seconds) => (named = seconds));
    } catch (error) {
      console.log(`not connected: ${error}`);
      pause = pauseOf(error);
    }
    await sleep((named ?? pause) * 1000);
  }
}
