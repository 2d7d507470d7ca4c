import { LONGEST_DAYS, RANGES, type Range, type Span } from "../address";
import { wrongDay } from "../checks";
import { daysOf } from "../daterange";
import { p } from "../texts/panels";
import { dayAfter } from "../times";
import { Field } from "./field";

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
    if (first > last) return p.firstAfterLast;
    return last >= dayAfter(first, LONGEST_DAYS) ? p.mostDays(LONGEST_DAYS) : "";
  };
  return (
    <>
      <div class="field">
        <label for="range">{p.days}</label>
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
              {p.ranges[range]}
            </option>
          ))}
        </select>
      </div>
      <Field label={p.from} type="date" value={from} wrong={wrong(to, true)} change={(day) => custom({ from: day })} />
      <Field label={p.to} type="date" value={to} wrong={wrong(from, false)} change={(day) => custom({ to: day })} />
    </>
  );
}
