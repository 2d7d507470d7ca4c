import { computed, signal } from "@preact/signals";
import type { TransactionFilter } from "../generated/ConsolePage";
import { MoreTransactions } from "../generated/MoreTransactions";
import { TransactionTotals, type TransactionTotalsQuery } from "../generated/TransactionTotals";
import { account, currency } from "./account";
import { ask } from "./gateway";
import { type MoneyParts, lengthOf, moneyParts } from "./money";
import { Outdated } from "./post";
import type { Row } from "./rows";

// The rows of the Transactions tab, page by page as they were loaded, newest first.

interface Connection {
  readonly edges: readonly { readonly node: Row }[];
  readonly pageInfo: { readonly hasNextPage: boolean; readonly endCursor: string | null };
}

export interface Listing {
  readonly filter: string;
  /** Those that came in since the first page was read. */
  readonly fresh: readonly Row[];
  readonly pages: readonly (readonly Row[])[];
  readonly hasMore: boolean;
  readonly end: string | null;
}

export const listing = signal<Listing | null>(null);
export const isLoading = signal<"" | "list" | "more" | "all">("");
export const listFailure = signal<Error | null>(null);

type Totals = NonNullable<TransactionTotalsQuery["account"]>["transactions"]["totals"];
/** Over the whole filter; null while nothing is filtered, or they are not there yet. */
export const totals = signal<Totals | null>(null);

function pagesOf({ fresh, pages }: Listing): readonly (readonly Row[])[] {
  return [fresh, ...pages];
}

export const rowCount = computed(() =>
  listing.value ? pagesOf(listing.value).reduce((count, page) => count + page.length, 0) : 0,
);

let running: AbortController | null = null;
/** The filter whose rows are on their way. */
let wanted: string | null = null;

function nameOf(filter: TransactionFilter | null): string {
  return JSON.stringify(filter);
}

function rowsOf({ edges }: Connection): Row[] {
  return edges.map(({ node }) => node);
}

export function clearLedger(): void {
  running?.abort();
  wanted = null;
  listing.value = null;
  totals.value = null;
  isLoading.value = "";
  listFailure.value = null;
}

export function ledgerIsFor(filter: TransactionFilter | null): boolean {
  return (wanted ?? listing.peek()?.filter) === nameOf(filter);
}

export function openLedger(filter: TransactionFilter | null, first: Connection): void {
  listFailure.value = null;
  const { hasNextPage, endCursor } = first.pageInfo;
  const pages = [rowsOf(first)];
  listing.value = { filter: nameOf(filter), fresh: [], pages, hasMore: hasNextPage, end: endCursor };
  void loadTotals(filter);
}

/** Rows that have just come in and belong to the list, oldest first. A page that was read late may have them too. */
export function addRows(rows: readonly Row[]): void {
  const shown = listing.peek();
  if (!shown || wanted !== null) return;
  const known = new Set([...shown.fresh, ...(shown.pages[0] ?? [])].map(({ id }) => id));
  const fresh = rows.filter(({ id }) => !known.has(id)).reverse();
  if (fresh.length > 0) listing.value = { ...shown, fresh: [...fresh, ...shown.fresh] };
}

/** After rows have come in. */
export function refreshTotals(): void {
  const shown = listing.peek();
  if (shown) void loadTotals(JSON.parse(shown.filter) as TransactionFilter | null);
}

const FIRST_ROWS = 50;
/** As many as the gateway gives at once. */
const MOST_AT_ONCE = 1000;
/** Beyond, a page is slow to use: an export has them all. */
export const MOST_ROWS = 10_000;

async function page(filter: TransactionFilter | null, after: string | null, first = FIRST_ROWS): Promise<Connection> {
  running?.abort();
  running = new AbortController();
  const id = account.peek()?.id ?? null;
  const data = await ask(MoreTransactions, { account: id, after, first, filter }, running.signal);
  if (!data.account) throw new Outdated();
  return data.account.transactions;
}

async function loading(kind: "list" | "more" | "all", work: () => Promise<void>): Promise<void> {
  isLoading.value = kind;
  listFailure.value = null;
  try {
    await work();
  } catch (error) {
    if (error instanceof Outdated) return;
    listFailure.value = error as Error;
  }
  isLoading.value = "";
}

/** The rows that are there stay until the others have come. */
export async function loadLedger(filter: TransactionFilter | null): Promise<void> {
  wanted = nameOf(filter);
  totals.value = null;
  await loading("list", async () => openLedger(filter, await page(filter, null)));
  if (wanted === nameOf(filter)) wanted = null;
}

/** In pages as small as the first: those that are out of sight are not laid out. */
function paged(rows: readonly Row[]): Row[][] {
  const pages = [];
  for (let start = 0; start < rows.length; start += FIRST_ROWS) pages.push(rows.slice(start, start + FIRST_ROWS));
  return pages;
}

async function addPage(filter: TransactionFilter | null, first: number): Promise<void> {
  const next = await page(filter, listing.peek()?.end ?? null, first);
  const now = listing.peek();
  if (!now) throw new Outdated();
  const { hasNextPage, endCursor } = next.pageInfo;
  listing.value = { ...now, pages: [...now.pages, ...paged(rowsOf(next))], hasMore: hasNextPage, end: endCursor };
}

/** As many again as were loaded, those that came in by themselves not counted. */
export async function loadMore(filter: TransactionFilter | null): Promise<void> {
  const before = listing.peek();
  if (!before?.hasMore || isLoading.peek()) return;
  const loaded = before.pages.reduce((count, rows) => count + rows.length, 0);
  const first = Math.max(FIRST_ROWS, Math.min(loaded, MOST_AT_ONCE));
  await loading("more", () => addPage(filter, first));
}

/** All that the filter finds, up to a bound. */
export async function loadAll(filter: TransactionFilter | null): Promise<void> {
  if (isLoading.peek()) return;
  await loading("all", async () => {
    while (listing.peek()?.hasMore && rowCount.peek() < MOST_ROWS) {
      await addPage(filter, Math.min(MOST_AT_ONCE, MOST_ROWS - rowCount.peek()));
    }
  });
}

export function stopLoading(): void {
  running?.abort();
  isLoading.value = "";
}

async function loadTotals(filter: TransactionFilter | null): Promise<void> {
  if (filter === null) {
    totals.value = null;
    return;
  }
  try {
    const data = await ask(TransactionTotals, { account: account.peek()?.id ?? null, filter });
    if (listing.peek()?.filter === nameOf(filter)) totals.value = data.account?.transactions.totals ?? null;
  } catch {
    // The rows are there; their sums are an extra that may be too much to work out.
  }
}

/** Before an amount that was rounded. */
const MARK = 1;

function centsLength(shown: MoneyParts): number {
  return shown.cents ? shown.cents.length + MARK : lengthOf(shown);
}

/** A table's style: characters of the longest amount and balance of some rows, exact and in cents, and of the longest
 * fraction beyond cents. Columns are as wide. */
export function columnsOf(rows: Iterable<readonly [string, string]>, signed: boolean) {
  let [amount, balance, tail, centsAmount, centsBalance] = [0, 0, 0, 0, 0];
  for (const [first, second] of rows) {
    const [one, other] = [moneyParts(first, currency.value, signed), moneyParts(second, currency.value)];
    amount = Math.max(amount, lengthOf(one));
    balance = Math.max(balance, lengthOf(other));
    tail = Math.max(tail, one.tail.length, other.tail.length);
    centsAmount = Math.max(centsAmount, centsLength(one));
    centsBalance = Math.max(centsBalance, centsLength(other));
  }
  return {
    "--amount": amount + tail,
    "--balance": balance + tail,
    "--tail": tail,
    "--cents-amount": centsAmount,
    "--cents-balance": centsBalance,
  };
}

function* amountsOf(shown: Listing | null): Iterable<readonly [string, string]> {
  for (const page of shown ? pagesOf(shown) : []) for (const row of page) yield [row.amount, row.balanceAfter];
}

export const widths = computed(() => columnsOf(amountsOf(listing.value), true));
