import type { Span, TransactionsView, UsageView } from "./address";
import { daysOf } from "./daterange";
import { t } from "./texts/spoken";
import { dayText } from "./times";
import { typed } from "./typed";

type Worded = (bound: string) => string;

export function rangeText(low: string, high: string, from: Worded, to: Worded): string {
  if (low === high) return low;
  return [low && from(low), high && to(high)].filter(Boolean).join(" ");
}

/** What a list is narrowed to, in words. */
export function filterText(view: TransactionsView): string {
  const { types, from, to, least, most, search, refType, refId } = view;
  const parts = [
    types.map((type) => t.types[type]).join(", "),
    rangeText(from && dayText(from), to && dayText(to), t.from, t.to),
    rangeText(typed(least), typed(most), t.least, t.most),
    search && t.containing(search),
    [refType && t.refTypes[refType], refId].filter(Boolean).join(" "),
  ].filter(Boolean);
  return parts.length > 0 ? t.transactionsOf(parts.join("; ")) : t.allTransactions;
}

export function daysText(view: Span): string {
  const { from, to } = daysOf(view);
  return t.fromTo(dayText(from), dayText(to));
}

/** The days, and the models that they are narrowed to. */
export function usageText(view: UsageView): string {
  const days = daysText(view);
  return view.models.length > 0 ? `${days}: ${view.models.join(", ")}.` : `${days}.`;
}
