import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { Drawing, draw as Draw } from "../chart";
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

/** Stacked bars, a stack for each day. The table beside it has the same figures for those who can't see it. */
export function Chart(props: Props) {
  const { title, days, stacks } = props;
  const frame = useRef<HTMLDivElement>(null);
  const tip = useRef<HTMLDivElement>(null);
  const { value: draw } = drawing;
  const dark = isDark.value;

  useEffect(loadChart, []);
  useEffect(() => {
    if (draw && frame.current && tip.current) return draw({ ...props, dayText }, frame.current, tip.current);
    return undefined;
  }, [days, stacks, dark, draw]);

  return (
    <figure class="chart">
      <figcaption>{title}</figcaption>
      <div ref={frame} class="frame" role="img" aria-label={`${title}. The table has the same figures.`} />
      <div ref={tip} class="tip" aria-hidden="true" hidden />
    </figure>
  );
}
