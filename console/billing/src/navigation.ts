import { signal } from "@preact/signals";
import { mayChoose } from "./account";
import { type Address, NEWEST_USAGE, NO_FILTER, NO_VIEWS, read, written } from "./address";
import { accountOf } from "./checks";

// The address that is shown, and the way from one to another.

export const address = signal<Address>(read(location.search, NO_VIEWS));

/** Where a page was left: the row at the top of the window, and how far below it that is. */
interface Place {
  readonly row: string;
  readonly top: number;
}

/** Rows above the window's top are no place, nor is a page that is shown from its head. */
function placeHere(): Place | null {
  if (scrollY === 0) return null;
  for (const row of document.querySelectorAll<HTMLElement>("tr.row")) {
    const { top } = row.getBoundingClientRect();
    if (top >= 0) return top < innerHeight ? { row: row.dataset.id ?? "", top } : null;
  }
  return null;
}

/** Scrolls to it once its row is there. Heights of rows out of sight are guesses until they are near: it takes two. */
function goBackTo({ row, top }: Place, tries = 60): void {
  requestAnimationFrame(() => {
    const found = document.querySelector(`tr.row[data-id="${row}"]`);
    const off = found ? found.getBoundingClientRect().top - top : 0;
    scrollBy(0, off);
    if (tries > 0 && (!found || Math.abs(off) > 1)) goBackTo({ row, top }, tries - 1);
  });
}

function nextOf(change: Partial<Address>): Address {
  return { ...address.peek(), leftOut: [], transaction: "", ...change };
}

export function hrefOf(change: Partial<Address>): string {
  return location.pathname + written(nextOf(change));
}

/** `replace` where the step is too small to go back over. */
export function go(change: Partial<Address>, { replace = false } = {}): void {
  const next = nextOf(change);
  const target = location.pathname + written(next);
  if (replace) history.replaceState(null, "", target);
  else if (target !== location.pathname + location.search) {
    history.replaceState(placeHere(), "");
    history.pushState(null, "", target);
  }
  address.value = next;
}

/** Another account begins without the filters of the one before. */
export function openAccount(id: string): void {
  go({ account: id, transactions: NO_FILTER, usage: NEWEST_USAGE });
}

/** The address of a transaction by itself. */
function addressOf(id: string): Partial<Address> {
  const account = mayChoose.peek() ? { account: accountOf(id) } : {};
  return { ...account, tab: "transactions", transaction: id, transactions: NO_FILTER };
}

export function openTransaction(id: string, replace = false): void {
  go(addressOf(id), { replace });
}

export function linkTo(id: string): string {
  return location.origin + hrefOf({ ...addressOf(id), language: null });
}

export function followHistory(): void {
  addEventListener("popstate", ({ state }) => {
    address.value = read(location.search, address.peek());
    if (state) goBackTo(state as Place);
  });
}
