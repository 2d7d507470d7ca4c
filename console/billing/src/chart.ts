import uPlot from "uplot";
import type { Stack } from "./grouping";

// Nothing but types is shared with the page's first script: the charts load alone, and late.

export interface Drawing {
  readonly days: readonly string[];
  readonly stacks: readonly Stack[];
  readonly valuesOf: (stack: Stack) => readonly number[];
  readonly label: (value: number) => string;
  readonly dayText: (day: string) => string;
}

const HEIGHT = 220;

function style(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** Each series reaches from zero to the top of its part of the stack: the highest is drawn first. */
function piled(values: readonly (readonly number[])[], length: number): number[][] {
  let below = new Array<number>(length).fill(0);
  return values.map((some) => (below = below.map((height, index) => height + (some[index] ?? 0))));
}

function optionsOf({ days, stacks, valuesOf, label, dayText }: Drawing, width: number, tip: HTMLElement): uPlot.Options {
  const axis = {
    stroke: style("--muted"),
    font: `12px ${style("--font")}`,
    ticks: { show: false },
    grid: { stroke: style("--line"), width: 1 },
  };
  const bars = uPlot.paths.bars?.({ size: [0.8, 48], align: 0 });
  const order = stacks.map((_, index) => stacks.length - 1 - index);
  return {
    width,
    height: HEIGHT,
    padding: [12, 8, 0, 0],
    legend: { show: false },
    cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
    scales: { x: { time: false, range: [-0.6, days.length - 0.4] }, y: { range: (_, __, top) => [0, top > 0 ? top * 1.05 : 1] } },
    axes: [
      {
        ...axis,
        grid: { show: false },
        size: 28,
        space: 70,
        incrs: [1, 2, 3, 7, 14, 28, 56, 112],
        values: (_, splits) => splits.map((split) => (days[split] ? dayText(days[split]).replace(/,? \d{4}$/, "") : "")),
      },
      { ...axis, size: 64, values: (_, splits) => splits.map(label) },
    ],
    series: [
      {},
      ...order.map((index) => ({
        fill: style(`--s${index}`),
        stroke: style("--ground"),
        width: 1,
        points: { show: false },
        ...(bars && { paths: bars }),
      })),
    ],
    hooks: {
      setCursor: [
        ({ cursor }) => {
          const { idx: index, left = -1 } = cursor;
          const day = typeof index === "number" && left >= 0 ? days[index] : undefined;
          tip.hidden = day === undefined;
          if (day === undefined || typeof index !== "number") return;
          const lines = stacks
            .map((stack) => [stack.name, valuesOf(stack)[index] ?? 0] as const)
            .filter(([, value]) => value > 0)
            .map(([name, value]) => `${name}  ${label(value)}`);
          tip.textContent = [dayText(day), ...lines].join("\n");
          tip.style.insetInlineStart = `${Math.min(left + 72, width - 190)}px`;
        },
      ],
    },
  };
}

export interface Plot {
  /** Points at a day, as the mouse does; at none where there is no such day. */
  readonly point: (index: number) => void;
  readonly remove: () => void;
}

/** Draws into the frame, and what is pointed at into the tip. */
export function draw(drawing: Drawing, frame: HTMLElement, tip: HTMLElement): Plot {
  const { days, stacks, valuesOf } = drawing;
  const heights = piled(stacks.map(valuesOf), days.length).reverse();
  const data = [days.map((_, index) => index), ...heights] as uPlot.AlignedData;
  const plot = new uPlot(optionsOf(drawing, frame.clientWidth, tip), data, frame);
  const resized = new ResizeObserver(() => plot.setSize({ width: frame.clientWidth, height: HEIGHT }));
  resized.observe(frame);
  return {
    point: (index) => {
      const left = days[index] === undefined ? -10 : plot.valToPos(index, "x");
      plot.setCursor({ left, top: left < 0 ? -10 : 0 });
    },
    remove: () => {
      resized.disconnect();
      plot.destroy();
    },
  };
}
