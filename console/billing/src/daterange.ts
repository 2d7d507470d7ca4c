import type { Range, Span } from "./address";
import { dayAfter, lastDayOf, monthOf, monthsBefore, today } from "./times";

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
