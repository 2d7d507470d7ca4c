import { effect, signal } from "@preact/signals";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { heard } from "./heard";
import { listing } from "./ledger";
import { memo } from "./parts/memo";
import type { Row } from "./rows";
import { t } from "./texts/spoken";
import { TransactionRows } from "./transactionrow";

// Rows that come in while the page is open. They are put above the others; whoever reads further down keeps the place,
// and is told of them.

/** How many came in while their place was out of sight. */
const unseen = signal(0);
let isInView = true;

const place: { body: HTMLElement | null } = { body: null };

/** Browsers that keep the place by themselves; Safari doesn't. */
const keepsPlace = CSS.supports("overflow-anchor", "auto");

function heightOf(rows: Iterable<Element>): number {
  let height = 0;
  for (const row of rows) height += row.getBoundingClientRect().height;
  return height;
}

export const FreshRows = memo(function FreshRows({ rows }: { readonly rows: readonly Row[] }) {
  const body = useRef<HTMLTableSectionElement>(null);
  const before = useRef(rows.length);

  useLayoutEffect(() => {
    const added = rows.length - before.current;
    before.current = rows.length;
    const shown = body.current;
    if (added <= 0 || !shown || keepsPlace) return;
    const height = heightOf([...shown.querySelectorAll(".row")].slice(0, added));
    if (shown.getBoundingClientRect().top < 0) scrollBy(0, height);
  }, [rows]);

  useEffect(() => {
    const shown = body.current;
    if (!shown) return;
    place.body = shown;
    const watcher = new IntersectionObserver(([entry]) => {
      isInView = entry?.isIntersecting ?? true;
      if (isInView) unseen.value = 0;
    });
    watcher.observe(shown);
    return () => watcher.disconnect();
  }, []);

  return (
    <tbody ref={body} role="rowgroup" class="fresh" {...heard}>
      <TransactionRows rows={rows} />
    </tbody>
  );
});

/** Counts what comes in out of sight, list by list. */
export function countArrivals(): void {
  let [filter, count] = ["", 0];
  effect(() => {
    const shown = listing.value;
    const fresh = shown?.fresh.length ?? 0;
    const same = shown?.filter === filter && fresh >= count;
    if (!same) unseen.value = 0;
    else if (!isInView) unseen.value = unseen.peek() + fresh - count;
    [filter, count] = [shown?.filter ?? "", fresh];
  });
}

/** The way up to rows that have come in out of sight. */
export function Arrivals() {
  if (unseen.value === 0) return null;
  return (
    <button
      type="button"
      class="arrivals"
      onClick={() => {
        place.body?.closest("table")?.scrollIntoView();
        place.body?.querySelector("button")?.focus({ preventScroll: true });
      }}
    >
      {t.newTransactions(unseen.value)}
    </button>
  );
}
