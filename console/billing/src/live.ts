import { effect, signal, untracked } from "@preact/signals";
import { type Client, createClient } from "graphql-ws";
import { BalanceChanges, type BalanceChangesSubscription } from "../generated/BalanceChanges";
import { account } from "./account";
import { type Change, applyChanges } from "./changes";
import { openAnew } from "./page";
import { readPosition } from "./post";
import { key, signOut } from "./session";
import { t } from "./texts/spoken";

// The stream of balance changes. It is opened from the cursor of what is shown, and after a break from that of the
// last change, so that none is missed however long the break was.

export type Link = "opening" | "live" | "broken";
export const link = signal<Link>("opening");

const PING_MS = 10_000;
const PONG_MS = 5_000;
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 30_000;
/** The key was revoked or has expired. */
const FORBIDDEN = 4403;

class Ended extends Error {}

interface Problem {
  readonly message: string;
  readonly extensions?: { readonly code?: string; readonly cursor?: string };
}

function clientFor(bearer: string): Client {
  let dead: ReturnType<typeof setTimeout> | undefined;
  const client = createClient({
    url: `${location.protocol === "https:" ? "wss:" : "ws:"}//${location.host}/graphql`,
    connectionParams: { Authorization: `Bearer ${bearer}` },
    // Its own way to try again would ask from the first cursor.
    retryAttempts: 0,
    connectionAckWaitTimeout: PONG_MS,
    keepAlive: PING_MS,
    on: {
      connected: () => (link.value = "live"),
      ping: (received) => {
        if (!received) dead = setTimeout(() => client.terminate(), PONG_MS);
      },
      pong: (received) => {
        if (received) clearTimeout(dead);
      },
      closed: () => clearTimeout(dead),
    },
  });
  return client;
}

function subscribed(client: Client, id: string, after: string) {
  const payload = { operationName: BalanceChanges.name, query: BalanceChanges.text, variables: { account: id, after } };
  return client.iterate<BalanceChangesSubscription>(payload);
}

/** Reads until the stream breaks. Raises Ended where trying again would be in vain. */
async function listen(results: ReturnType<typeof subscribed>, take: (change: Change) => void): Promise<void> {
  for await (const { data, errors } of results) {
    if (data) take(data.balanceChanged);
    if (errors) throw errors;
  }
}

function codeOf(reason: unknown): { code: string | number | undefined; cursor?: string | undefined } {
  if (Array.isArray(reason)) {
    const [problem] = reason as Problem[];
    return { code: problem?.extensions?.code, cursor: problem?.extensions?.cursor };
  }
  return { code: reason instanceof CloseEvent ? reason.code : undefined };
}

/** The cursor to go on from, if the reason names one. */
function cursorAfter(reason: unknown): string | undefined {
  const { code, cursor } = codeOf(reason);
  if (code === FORBIDDEN || code === "UNAUTHENTICATED") {
    signOut(t.keyEnded);
    throw new Ended();
  }
  if (code === "BAD_CURSOR" || code === "NOT_FOUND") {
    void openAnew();
    throw new Ended();
  }
  return cursor;
}

/** Ends early when the network is back, or the page is looked at again. */
function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const ended = new AbortController();
    const end = () => {
      clearTimeout(timer);
      ended.abort();
      resolve();
    };
    const timer = setTimeout(end, milliseconds);
    const options = { signal: ended.signal };
    signal.addEventListener("abort", end, options);
    addEventListener("online", end, options);
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && end(), options);
    retries = end;
  });
}

let retries = () => {};

/** Tries again at once. */
export function reconnect(): void {
  retries();
}

async function follow(id: string, from: string, bearer: string, signal: AbortSignal): Promise<void> {
  let after = from;
  let failures = 0;
  while (!signal.aborted) {
    const client = clientFor(bearer);
    const results = subscribed(client, id, after);
    const dispose = () => {
      // First the operation: if it waits for the connection, it would be sent on a socket that is being closed.
      void results.return?.();
      void client.dispose();
    };
    signal.addEventListener("abort", dispose, { once: true });
    try {
      await listen(results, (change) => {
        if (signal.aborted) return;
        after = change.cursor;
        failures = 0;
        readPosition.noteEvent();
        applyChanges(id, [change]);
      });
    } catch (reason) {
      if (signal.aborted) return;
      after = cursorAfter(reason) ?? after;
    }
    signal.removeEventListener("abort", dispose);
    dispose();
    if (signal.aborted) return;
    if (link.peek() === "live") failures = 0;
    link.value = "broken";
    const wait = Math.min(FIRST_WAIT_MS * 2 ** failures++, LONGEST_WAIT_MS);
    await pause(wait * (0.5 + Math.random()), signal);
  }
}

/** Listens to the account that is shown, with the key that it was opened with. */
export function followBalance(): void {
  let running: AbortController | null = null;
  let listening = "";
  effect(() => {
    const [bearer, shown] = [key.value, account.value];
    const wanted = bearer && shown ? `${shown.id} ${bearer}` : "";
    if (wanted === listening) return;
    listening = wanted;
    running?.abort();
    running = null;
    if (!bearer || !shown) return;
    running = new AbortController();
    const { signal } = running;
    untracked(() => {
      link.value = "opening";
      follow(shown.id, shown.balanceCursor, bearer, signal).catch((error: unknown) => {
        if (!(error instanceof Ended)) throw error;
        // Where the page is read anew, it is listened to from what it then shows.
        if (!signal.aborted) listening = "";
      });
    });
  });
}
