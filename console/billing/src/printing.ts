import { signal } from "@preact/signals";
import { transactionFilter } from "./filterinputs";
import { listing, loadAll } from "./ledger";
import { address } from "./navigation";

/** Whether the dialog for statements is open. */
export const isChoosing = signal(false);

const DRAWN_MS = 100;

/** Prints all rows of the view, as far as the page can show them: paper can't load more. */
export async function printAll(): Promise<void> {
  if (listing.peek()?.hasMore) await loadAll(transactionFilter(address.peek().transactions));
  setTimeout(() => window.print(), DRAWN_MS);
}
