import { signal } from "@preact/signals";
import { Accounts, type AccountsQuery } from "../generated/Accounts";
import { wrongSearch } from "./checks";
import { ask } from "./gateway";
import { Outdated } from "./post";

// The accounts that an operator chooses from.

export type Found = AccountsQuery["accounts"];

export const found = signal<Found | null>(null);
/** The text that `found` is of. */
export let sought: string | null = null;
export const searchFailure = signal<Error | null>(null);

const SHOWN = 20;

let running: { readonly text: string; readonly left: AbortController; readonly done: Promise<void> } | null = null;

/** The newest accounts for a text that is too short to look for. If another text is looked for meanwhile, or it fails,
 * `found` stays as it is: compare `sought`. */
export function search(text: string): Promise<void> {
  if (running?.text === text) return running.done;
  running?.left.abort();
  const left = new AbortController();
  const done = look(text, left.signal).finally(() => {
    if (running?.left === left) running = null;
  });
  running = { text, left, done };
  return done;
}

async function look(text: string, signal: AbortSignal): Promise<void> {
  const given = wrongSearch(text.trim()) ? null : text.trim();
  try {
    found.value = (await ask(Accounts, { first: SHOWN, search: given }, signal)).accounts;
    sought = text;
    searchFailure.value = null;
  } catch (error) {
    if (!(error instanceof Outdated)) searchFailure.value = error as Error;
  }
}
