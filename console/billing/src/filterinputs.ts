import type { TransactionFilter, UsageFilter } from "../generated/ConsolePage";
import { NO_FILTER, type TransactionsView, type UsageView } from "./address";
import { daysOf } from "./daterange";
import { dayAfter } from "./times";

// The GraphQL inputs that the filters of a view are sent as.

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

export function usageFilter(view: UsageView): UsageFilter {
  const { from, to } = daysOf(view);
  const end = dayAfter(to, 1);
  return { day: { gte: from, ...(end && { lt: end }) } };
}
