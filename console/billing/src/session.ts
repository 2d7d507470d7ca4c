import { signal } from "@preact/signals";
import { storeKey, storedKey } from "../../shared/key";

// Who is signed in: the key of this tab, and why there is none, for the page where a key is given.

export const key = signal<string | null>(storedKey());
export const farewell = signal<string | null>(null);

export function signIn(given: string): void {
  storeKey(given);
  farewell.value = null;
  key.value = given;
}

export function signOut(why: string | null = null): void {
  storeKey(null);
  farewell.value = why;
  key.value = null;
}
