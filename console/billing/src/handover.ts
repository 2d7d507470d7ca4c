import { prefixOf } from "../../shared/key";
import { key, signIn, signOut } from "./session";
import { t } from "./texts/spoken";

// A new tab gets the key from a tab that is signed in: it goes from page to page of this origin and is stored nowhere
// else, so that it is gone when the last tab is closed.

type Message =
  | { readonly asks: string }
  | { readonly to: string; readonly key: string }
  /** The visible prefix of the key that was signed out. */
  | { readonly left: string };

const NAME = "billing.key";
/** A page without a key shows the sign-in after this time, and goes on to listen. */
const PATIENCE_MS = 150;

const channel = new BroadcastChannel(NAME);
const self = crypto.getRandomValues(new Uint32Array(4)).join("-");

const tell = (message: Message) => channel.postMessage(message);

function hear(message: Message, answered: () => void): void {
  const { value: own } = key;
  if ("asks" in message) {
    if (own !== null) tell({ to: message.asks, key: own });
  } else if ("left" in message) {
    if (own !== null && prefixOf(own) === message.left) signOut(t.leftElsewhere);
  } else if (message.to === self && own === null) {
    signIn(message.key);
    answered();
  }
}

/** Shares the key with other tabs, and asks them for it where this one has none. */
export function shareKey(): Promise<void> {
  return new Promise((resolve) => {
    channel.onmessage = ({ data }: MessageEvent<Message>) => hear(data, resolve);
    if (key.peek() !== null) return resolve();
    tell({ asks: self });
    setTimeout(resolve, PATIENCE_MS);
  });
}

/** Signs out here and in the other tabs that have the same key. */
export function leave(): void {
  const { value: own } = key;
  if (own !== null) tell({ left: prefixOf(own) });
  signOut();
}
