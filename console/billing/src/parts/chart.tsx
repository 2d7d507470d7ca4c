import { signal, useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { Drawing, Plot, draw as Draw } from "../chart";
import { Unreachable } from "../post";
import { isDark } from "../theme";
import { dayText } from "../times";

interface Props extends Omit<Drawing, "dayText"> {
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
    () => (chartFailure.value = new Unreachable("The charts could not be loaded. The table has the same figures.")),
  );
}

/** A day's stacks in words, the highest first. */
function told({ days, stacks, valuesOf, label }: Props, index: number): string {
  const values = stacks.map((stack) => [stack.name, valuesOf(stack)[index] ?? 0] as const);
  const parts = values.filter(([, value]) => value > 0).sort(([, one], [, other]) => other - one);
  const words = parts.map(([name, value]) => `${name} ${label(value)}`).join(", ");
  return `${dayText(days[index] ?? "")}: ${words || "nothing"}`;
}

/** Stacked bars, a stack for each day. Arrow keys point at one day after the other, as the mouse does. The table below
 * has the same figures for those who can't see it. */
export function Chart(props: Props) {
  const { title, days, stacks } = props;
  const frame = useRef<HTMLDivElement>(null);
  const tip = useRef<HTMLDivElement>(null);
  const plot = useRef<Plot | null>(null);
  const last = days.length - 1;
  const at = useSignal(last);
  const index = Math.min(at.value, last);
  const { value: draw } = drawing;
  const dark = isDark.value;

  useEffect(loadChart, []);
  useEffect(() => {
    if (!draw || !frame.current || !tip.current) return undefined;
    const { point, remove } = (plot.current = draw({ ...props, dayText }, frame.current, tip.current));
    if (frame.current.parentElement?.contains(document.activeElement)) point(index);
    return remove;
  }, [days, stacks, dark, draw]);

  return (
    <figure class="chart">
      <figcaption>{title}</figcaption>
      <div ref={frame} class="frame" role="img" aria-label={`${title}. The table has the same figures.`} />
      <input
        type="range"
        aria-label={`Day of ${title.toLowerCase()}`}
        aria-valuetext={told(props, index)}
        min={0}
        max={last}
        value={index}
        onInput={(event) => {
          at.value = event.currentTarget.valueAsNumber;
          plot.current?.point(at.value);
        }}
        onFocus={() => plot.current?.point(index)}
        onBlur={() => plot.current?.point(-1)}
      />
      <div ref={tip} class="tip" aria-hidden="true" hidden />
    </figure>
  );
}
