import type { TransactionFilter, UsageFilter } from "../generated/ConsolePage";
import type { Range, Span, TransactionsView, UsageView } from "./address";
import { NO_FILTER } from "./address";
import { dayAfter, lastDayOf, monthOf, monthsBefore, today } from "./times";

// What the filters of a view mean to the gateway.

export function isFiltered(view: TransactionsView): boolean {
  return JSON.stringify(view) !== JSON.stringify(NO_FILTER);
}

function midnight(day: string): string {
  return `${day}T00:00:00Z`;
}

/** Null for the whole ledger. */
export function transactionFilter(view: TransactionsView): TransactionFilter | null {
  if (!isFiltered(view)) return null;
  const { types, from, to, least, most, search, refType, refId } = view;
  const end = to && dayAfter(to, 1);
  return {
    ...(types.length > 0 && { types: [...types] }),
    ...((from || end) && { createdAt: { ...(from && { gte: midnight(from) }), ...(end && { lt: midnight(end) }) } }),
    ...((least || most) && { amount: { ...(least && { gte: least }), ...(most && { lte: most }) } }),
    ...(search && { search }),
    ...(refType && { refType }),
    ...(refId && { refId }),
  };
}

export interface Days {
  /** UTC days, both included. */
  readonly from: string;
  readonly to: string;
}

const RANGES: Record<Exclude<Range, "custom">, (now: string) => Days> = {
  "7": (now) => ({ from: dayAfter(now, -6), to: now }),
  "30": (now) => ({ from: dayAfter(now, -29), to: now }),
  "90": (now) => ({ from: dayAfter(now, -89), to: now }),
  month: (now) => ({ from: `${monthOf(now)}-01`, to: now }),
  "last-month": (now) => {
    const month = monthOf(dayAfter(`${monthOf(now)}-01`, -1));
    return { from: `${month}-01`, to: lastDayOf(month) };
  },
  year: (now) => ({ from: `${monthsBefore(monthOf(now), 11)}-01`, to: now }),
};

export function daysOf({ range, from, to }: Span, now = today()): Days {
  return range === "custom" ? { from, to } : RANGES[range](now);
}

export function usageFilter(view: UsageView): UsageFilter {
  const { from, to } = daysOf(view);
  const end = dayAfter(to, 1);
  return { day: { gte: from, ...(end && { lt: end }) } };
}
