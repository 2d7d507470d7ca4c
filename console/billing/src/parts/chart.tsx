import { signal, useSignal } from "@preact/signals";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import type { Drawing, Plot, draw as Draw } from "../chart";
import { Unreachable } from "../post";
import { p } from "../texts/panels";
import { isDark } from "../theme";
import { axisText, dayText, monthText } from "../times";

interface Props extends Omit<Drawing, "dayText" | "axisText"> {
  readonly title: string;
}

const drawing = signal<typeof Draw | null>(null);
/** What draws could not be fetched. */
export const chartFailure = signal<Error | null>(null);

export function loadChart(): void {
  if (drawing.peek()) return;
  chartFailure.value = null;
  import("../chart").then(
    ({ draw }) => (drawing.value = draw),
    () => (chartFailure.value = new Unreachable(p.noCharts)),
  );
}

/** A day, or a month. */
export function periodText(period: string): string {
  return period.length === 7 ? monthText(period) : dayText(period);
}

/** The stacks of a day that have a value. */
function stacksThere({ values, stacks }: Props, index: number): number[] {
  return stacks.flatMap((_, stack) => (values[stack]?.[index] ? stack : []));
}

function keyOf({ stacks }: Props, stack: number): string | undefined {
  return stacks[stack]?.key ?? stacks[stack]?.name;
}

/** A day's stacks in words, the highest first; or the stack that was chosen. */
function told(props: Props, index: number, chosen: number | null): string {
  const { days, stacks, values, label, open } = props;
  const parts = (chosen === null ? stacksThere(props, index) : [chosen])
    .map((stack) => [stacks[stack]?.name ?? "", values[stack]?.[index] ?? 0] as const)
    .sort(([, one], [, other]) => other - one);
  const words = parts.map(([name, value]) => `${name} ${label(value)}`).join(", ");
  return `${periodText(days[index] ?? "")}: ${words || p.nothing}${open && words ? p.entersRows : ""}`;
}

/** What is chosen stays chosen where the figures are read anew. */
function stackOf(props: Props, index: number, chosen: string | null): number | null {
  return stacksThere(props, index).find((stack) => keyOf(props, stack) === chosen) ?? null;
}

/** Stacked bars, a stack for each day or month. Arrow keys point at one day after the other, as the mouse does, and up
 * and down at its stacks where they open something. The table below has the same figures for those who can't see it. */
export function Chart(props: Props) {
  const { title, days, stacks, open } = props;
  const frame = useRef<HTMLDivElement>(null);
  const tip = useRef<HTMLDivElement>(null);
  const plot = useRef<Plot | null>(null);
  const last = days.length - 1;
  const at = useSignal(last);
  const chosen = useSignal<string | null>(null);
  const index = Math.min(at.value, last);
  const stack = stackOf(props, index, chosen.value);
  const { value: draw } = drawing;
  const dark = isDark.value;

  useEffect(loadChart, []);
  // Before anything can be clicked: bars that are drawn later than their table opened what was there before.
  useLayoutEffect(() => {
    if (!draw || !frame.current || !tip.current) return undefined;
    const pointed = plot.current?.pointed() ?? -1;
    const { point, remove } = (plot.current = draw({ ...props, dayText: periodText, axisText }, frame.current, tip.current));
    const isFocused = frame.current.parentElement?.contains(document.activeElement);
    point(isFocused ? index : pointed, stack);
    return remove;
  }, [days, stacks, dark, draw]);

  function press(event: KeyboardEvent) {
    const step = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    if (!open || (!step && event.key !== "Enter")) return;
    event.preventDefault();
    if (!step) return open(index, stack);
    // The whole day is one more choice, before the first stack.
    const choices = [null, ...stacksThere(props, index)];
    const next = choices[(choices.indexOf(stack) + step + choices.length) % choices.length] ?? null;
    chosen.value = next === null ? null : (keyOf(props, next) ?? null);
    plot.current?.point(index, next);
  }

  return (
    <figure class="chart">
      <figcaption>{title}</figcaption>
      <div ref={frame} class="frame" role="img" aria-label={p.sameFigures(title)} />
      <input
        type="range"
        aria-label={days[0]?.length === 7 ? p.monthOf(title) : p.dayOf(title)}
        aria-valuetext={told(props, index, stack)}
        min={0}
        max={last}
        value={index}
        onKeyDown={press}
        onInput={(event) => {
          at.value = event.currentTarget.valueAsNumber;
          chosen.value = null;
          plot.current?.point(at.value);
        }}
        onFocus={() => plot.current?.point(index)}
        onBlur={() => plot.current?.point(-1)}
      />
      <div ref={tip} class="tip" aria-hidden="true" hidden />
    </figure>
  );
}
