import { signal } from "@preact/signals";
import { type Address, NEWEST_USAGE, NO_FILTER, read, written } from "./address";

// The address that is shown, and the way from one to another.

export const address = signal<Address>(read(location.search, { transactions: NO_FILTER, usage: NEWEST_USAGE }));

/** `replace` where the step is too small to go back over. */
export function go(change: Partial<Address>, { replace = false } = {}): void {
  const next = { ...address.peek(), leftOut: [], ...change };
  const target = location.pathname + written(next);
  if (replace) history.replaceState(null, "", target);
  else if (target !== location.pathname + location.search) history.pushState(null, "", target);
  address.value = next;
}

export function followHistory(): void {
  addEventListener("popstate", () => {
    address.value = read(location.search, address.peek());
  });
}
