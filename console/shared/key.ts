// The key is stored for this tab alone and as long as the tab lasts: never in an address, a cookie or a store that outlives it.

const NAME = "billing.key";
const KEY = /^eco_[A-Za-z0-9_-]{1,196}$/;

export function storedKey(): string | null {
  return sessionStorage.getItem(NAME);
}

export function storeKey(key: string | null): void {
  if (key === null) sessionStorage.removeItem(NAME);
  else sessionStorage.setItem(NAME, key);
}

/** The key in what was pasted, be it a whole Authorization header; null if there is none. */
export function keyIn(pasted: string): string | null {
  const key = pasted.trim().replace(/^(authorization:\s*)?(bearer\s+)?/i, "");
  return KEY.test(key) ? key : null;
}

/** The part of a key that tells it from others and may be shown. */
export function prefixOf(key: string): string {
  return key.slice(0, 12);
}
