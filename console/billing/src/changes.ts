import type { BalanceChangesSubscription } from "../generated/BalanceChanges";
import { MonthCards } from "../generated/MonthCards";
import { account, currency } from "./account";
import { announce } from "./announcer";
import type { TransactionsView } from "./address";
import { isFiltered, transactionFilter, usageFilter } from "./filterinputs";
import { ask } from "./gateway";
import { typeOf } from "./kinds";
import { addRows, loadLedger, refreshTotals } from "./ledger";
import { moneyText } from "./money";
import { address } from "./navigation";
import { readAt } from "./page";
import { hasPaid } from "./paid";
import type { Row } from "./rows";
import { t } from "./texts/spoken";
import { now } from "./times";
import { refreshUsage } from "./usage";

// What a change of the balance changes on the page. Changes that come close together are drawn together.

export type Change = BalanceChangesSubscription["balanceChanged"];

const TOGETHER_MS = 50;
/** Cards and usage are sums that the gateway works out: asked for at most this often. */
const REFRESH_MS = 3_000;

let waiting: Change[] = [];
let of = "";
let drawing: ReturnType<typeof setTimeout> | undefined;
let refreshing: ReturnType<typeof setTimeout> | undefined;

export function applyChanges(id: string, changes: readonly Change[]): void {
  if (of !== id) waiting = [];
  of = id;
  waiting.push(...changes);
  drawing ??= setTimeout(() => void draw(), TOGETHER_MS);
}

type Matches = (row: Row, view: TransactionsView) => boolean;

/** What tells the rows of a filtered list: most lists are not filtered. If it cannot be fetched, the list is read anew. */
async function matching(view: TransactionsView): Promise<Matches> {
  if (!isFiltered(view)) return () => true;
  try {
    return (await import("./panels")).matches;
  } catch {
    void loadLedger(transactionFilter(view));
    return () => false;
  }
}

async function draw(): Promise<void> {
  const view = address.peek().transactions;
  const matches = await matching(view);
  if (address.peek().transactions !== view) return draw();
  const changes = waiting;
  waiting = [];
  drawing = undefined;
  const shown = account.peek();
  const newest = changes.at(-1);
  if (!newest || shown?.id !== of) return;
  account.value = { ...shown, balance: newest.balance, balanceCursor: newest.cursor };
  readAt.value = now();
  addRows(changes.map(({ transaction }) => transaction).filter((row) => matches(row, view)));
  if (changes.some(({ transaction }) => transaction.type === "TOPUP")) hasPaid.value = false;
  say(changes, newest);
  refreshing ??= setTimeout(() => void refresh(), REFRESH_MS);
}

function say(changes: readonly Change[], { transaction, balance }: Change): void {
  const [type, amount] = [typeOf(transaction), moneyText(transaction.amount, currency.peek(), true)];
  const what = changes.length > 1 ? t.newTransactions(changes.length) : t.newTransaction(type, amount);
  announce(t.balanceIs(what, moneyText(balance, currency.peek())));
}

/** Reads the sums of the account that is shown again. */
export async function refresh(): Promise<void> {
  refreshing = undefined;
  const id = account.peek()?.id;
  if (!id) return;
  try {
    const found = (await ask(MonthCards, { account: id })).account;
    const shown = account.peek();
    if (found && shown?.id === id) account.value = { ...shown, ...found };
  } catch {
    // The next change asks again; what cannot be reached is told by the stream.
  }
  refreshTotals();
  refreshUsage(usageFilter(address.peek().usage), address.peek().tab === "usage");
}
