import { computed, effect, signal, untracked } from "@preact/signals";
import { ConsolePage, type ConsolePageQueryVariables } from "../generated/ConsolePage";
import { account, mayChoose, viewer } from "./account";
import { transactionFilter, usageFilter } from "./filterinputs";
import { Refused, askPartly } from "./gateway";
import { clearLedger, ledgerIsFor, loadLedger, openLedger } from "./ledger";
import { address, openTransaction } from "./navigation";
import { pageVariables } from "./firstquery";
import { Outdated } from "./post";
import { key } from "./session";
import { now } from "./times";
import { clearUsage, loadUsage, openUsage, usageIsFor } from "./usage";

// What the page stands on: one query for the key, the account and the tab in view, and one more for what is looked
// at later.

export type Phase = "loading" | "ready" | "choosing" | "failed";

export const phase = signal<Phase>("loading");
export const failure = signal<Error | null>(null);
/** When what is shown was read. */
export const readAt = signal<Date | null>(null);

let running: AbortController | null = null;

function clear(): void {
  account.value = null;
  clearLedger();
  clearUsage();
}

/** The page, without its list where the list's filter is refused: the list then says so by itself. */
async function opened(variables: ConsolePageQueryVariables, signal: AbortSignal) {
  const found = await askPartly(ConsolePage, variables, signal);
  const isFiltered = variables.filter || variables.usageFilter;
  if (found.data?.account || !isFiltered || !(found.refused instanceof Refused)) return found;
  return askPartly(ConsolePage, { account: variables.account, withTransactions: false, withUsage: false }, signal);
}

export async function open(): Promise<void> {
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  const shown = address.peek();
  const filter = transactionFilter(shown.transactions);
  const days = usageFilter(shown.usage);
  phase.value = "loading";
  try {
    const { data, refused } = await opened(
      pageVariables(shown.account, shown.tab, filter, shown.tab === "usage" ? days : null),
      signal,
    );
    viewer.value = data?.viewer ?? null;
    if (!data?.account) {
      clear();
      const isOpenTo = mayChoose.peek() && shown.account === null;
      if (refused && !isOpenTo) throw refused;
      // Its id names the account.
      if (isOpenTo && shown.transaction) return openTransaction(shown.transaction, true);
      phase.value = "choosing";
      return;
    }
    const { transactions: first, usage: nodes, ...rest } = data.account;
    if (account.peek()?.id !== rest.id) clear();
    account.value = rest;
    readAt.value = now();
    if (first) openLedger(filter, first);
    if (nodes) openUsage(days, nodes);
    phase.value = "ready";
  } catch (error) {
    if (error instanceof Outdated) return;
    failure.value = error as Error;
    phase.value = "failed";
  }
}

/** Forgets what was read: the ledger was restored, and a row that has the id of a known one may be another. */
export async function openAnew(): Promise<void> {
  const opening = open();
  clear();
  await opening;
}

const accountId = computed(() => address.value.account);

/** Opens the page for each key and account, and loads what comes into view. */
export function follow(): void {
  effect(() => {
    const { value: given } = key;
    void accountId.value;
    untracked(() => {
      if (given !== null) void open();
      else {
        running?.abort();
        viewer.value = null;
        clear();
        phase.value = "loading";
      }
    });
  });
  effect(() => {
    const { tab, transactions, usage } = address.value;
    if (phase.value !== "ready") return;
    untracked(() => {
      const filter = transactionFilter(transactions);
      const days = usageFilter(usage);
      if (tab === "transactions" && !ledgerIsFor(filter)) void loadLedger(filter);
      if (tab === "usage" && !usageIsFor(days)) void loadUsage(days);
    });
  });
}
