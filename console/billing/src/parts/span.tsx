import { LONGEST_DAYS, RANGES, type Range, type Span } from "../address";
import { wrongDay } from "../checks";
import { daysOf } from "../criteria";
import { dayAfter } from "../times";
import { Field } from "./field";

const NAMES: Record<Range, string> = {
  "7": "Last 7 days",
  "30": "Last 30 days",
  "90": "Last 90 days",
  month: "This month",
  "last-month": "Last month",
  year: "Last 12 months",
  custom: "Other days",
};

interface Props {
  readonly view: Span;
  readonly change: (span: Span) => void;
}

/** The days that a view is about. */
export function Days({ view, change }: Props) {
  const { from, to } = daysOf(view);
  const custom = (some: Partial<Span>) => change({ range: "custom", from, to, ...some });
  const wrong = (other: string, isFrom: boolean) => (day: string) => {
    const isWrong = wrongDay(day);
    if (isWrong) return isWrong;
    const [first, last] = isFrom ? [day, other] : [other, day];
    if (first > last) return "The first day is after the last.";
    return last >= dayAfter(first, LONGEST_DAYS) ? `${LONGEST_DAYS} days at most.` : "";
  };
  return (
    <>
      <div class="field">
        <label for="range">Days</label>
        <select
          id="range"
          value={view.range}
          onChange={(event) => {
            const range = event.currentTarget.value as Range;
            if (range === "custom") custom({});
            else change({ range, from: "", to: "" });
          }}
        >
          {RANGES.map((range) => (
            <option key={range} value={range}>
              {NAMES[range]}
            </option>
          ))}
        </select>
      </div>
      <Field label="From" type="date" value={from} wrong={wrong(to, true)} change={(day) => custom({ from: day })} />
      <Field label="To" type="date" value={to} wrong={wrong(from, false)} change={(day) => custom({ to: day })} />
    </>
  );
}
