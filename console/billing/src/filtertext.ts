import type { Span, TransactionsView, UsageView } from "./address";
import { daysOf } from "./criteria";
import { REF_TYPES, TYPES } from "./kinds";
import { dayText } from "./times";

function rangeText(low: string, high: string, from: string, to: string): string {
  return [low && `${from} ${low}`, high && `${to} ${high}`].filter(Boolean).join(" ");
}

/** What a list is narrowed to, in words. */
export function filterText(view: TransactionsView): string {
  const { types, from, to, least, most, search, refType, refId } = view;
  const parts = [
    types.map((type) => TYPES[type]).join(", "),
    rangeText(from && dayText(from), to && dayText(to), "from", "to"),
    rangeText(least, most, "at least", "at most"),
    search && `with “${search}”`,
    [refType && REF_TYPES[refType], refId].filter(Boolean).join(" "),
  ].filter(Boolean);
  return parts.length > 0 ? `Transactions: ${parts.join("; ")}.` : "All transactions.";
}

export function daysText(view: Span): string {
  const { from, to } = daysOf(view);
  return `${dayText(from)} to ${dayText(to)}`;
}

/** The days, and the models that they are narrowed to. */
export function usageText(view: UsageView): string {
  const days = daysText(view);
  return view.models.length > 0 ? `${days}: ${view.models.join(", ")}.` : `${days}.`;
}
