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

let running: AbortController | null = null;

/** The newest accounts for a text that is too short to look for. */
export async function search(text: string): Promise<void> {
  running?.abort();
  running = new AbortController();
  const given = wrongSearch(text.trim()) ? null : text.trim();
  try {
    found.value = (await ask(Accounts, { first: SHOWN, search: given }, running.signal)).accounts;
    sought = text;
    searchFailure.value = null;
  } catch (error) {
    if (!(error instanceof Outdated)) searchFailure.value = error as Error;
  }
}
