// Stacked bars on a canvas. Nothing but types is shared with the page's first script: the charts load alone, and late.

export interface Drawn {
  readonly name: string;
  /** Names it where names may be equal. */
  readonly key?: string | null;
  /** Its number; its place in the stack if it has none of its own. */
  readonly colour?: number;
}

export interface Drawing {
  /** Or months. */
  readonly days: readonly string[];
  readonly stacks: readonly Drawn[];
  /** Of each stack, on each of the days. */
  readonly values: readonly (readonly number[])[];
  readonly label: (value: number) => string;
  readonly dayText: (day: string) => string;
  /** Below the bars. */
  readonly axisText: (day: string) => string;
  /** Opens what is behind a stack of a day, or behind the whole day. */
  readonly open?: ((index: number, stack: number | null) => void) | undefined;
}

const HEIGHT = 220;
/** Around the bars: for the labels of both axes, at least, and so that the highest one is whole. */
const [LEFT, RIGHT, TOP, BOTTOM] = [64, 8, 12, 28];
/** Between a label and its line. */
const GAP = 8;
const WIDEST_BAR = 48;
/** Days from one label to the next, and the room of a label. */
const STEPS = [1, 2, 3, 7, 14, 28, 56, 112];
const LABEL_ROOM = 70;
const MOST_LINES = 5;
const TIP_WIDTH = 190;

function style(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function font(): string {
  return `12px ${style("--font")}`;
}

interface Bar {
  readonly index: number;
  readonly stack: number;
  /** Values, the one nearer to zero first. */
  readonly from: number;
  readonly to: number;
}

/** Piled from zero up; what is negative, down. */
function barsOf({ days, values }: Drawing): Bar[] {
  return days.flatMap((_, index) => {
    let [above, below] = [0, 0];
    return values.flatMap((some, stack) => {
      const value = some[index] ?? 0;
      if (value === 0) return [];
      const from = value < 0 ? below : above;
      if (value < 0) below += value;
      else above += value;
      return { index, stack, from, to: from + value };
    });
  });
}

/** The values of lines at 1, 2 or 5 times a power of ten, a few of them. */
function linesOf(low: number, high: number): number[] {
  const least = (high - low) / MOST_LINES;
  const power = 10 ** Math.floor(Math.log10(least));
  const step = ([1, 2, 5].find((factor) => factor * power >= least) ?? 10) * power;
  const lines = [];
  for (let line = Math.ceil(low / step); line * step <= high; line++) lines.push(line * step);
  return lines;
}

/** From the lowest to the highest end of a bar, and a little more. */
function rangeOf(bars: readonly Bar[]): [number, number] {
  const ends = bars.map(({ to }) => to);
  const [low, high] = [Math.min(0, ...ends) * 1.05, Math.max(0, ...ends) * 1.05];
  return [low, low === high ? 1 : high];
}

/** Where days and values are, in pixels. */
class Scale {
  readonly slot: number;

  constructor(
    readonly low: number,
    readonly high: number,
    readonly left: number,
    readonly days: number,
    readonly width: number,
  ) {
    this.slot = Math.max(width - left - RIGHT, 1) / days;
  }

  middleOf(index: number): number {
    return this.left + (index + 0.5) * this.slot;
  }

  yOf(value: number): number {
    return TOP + ((this.high - value) / (this.high - this.low)) * (HEIGHT - TOP - BOTTOM);
  }

  indexAt(x: number): number {
    return Math.floor((x - this.left) / this.slot);
  }
}

function paint(context: CanvasRenderingContext2D, drawing: Drawing, bars: readonly Bar[], scale: Scale, at: number) {
  const { days, stacks, label, axisText } = drawing;
  const { left, width, slot } = scale;
  context.clearRect(0, 0, width, HEIGHT);
  context.fillStyle = style("--tint");
  if (days[at] !== undefined) context.fillRect(left + at * slot, TOP, slot, HEIGHT - TOP - BOTTOM);
  context.font = font();
  const [line, ink] = [style("--line"), style("--muted")];
  context.textBaseline = "middle";
  context.textAlign = "right";
  for (const value of linesOf(scale.low, scale.high)) {
    const y = scale.yOf(value);
    context.fillStyle = line;
    context.fillRect(left, Math.round(y), width - left - RIGHT, 1);
    context.fillStyle = ink;
    context.fillText(label(value), left - GAP, y);
  }
  context.textAlign = "center";
  const step = STEPS.find((some) => some * slot >= LABEL_ROOM) ?? days.length;
  for (let index = 0; index < days.length; index += step) {
    const text = axisText(days[index] as string);
    const half = context.measureText(text).width / 2;
    context.fillText(text, Math.min(Math.max(scale.middleOf(index), half), width - half), HEIGHT - BOTTOM / 2);
  }
  const colours = stacks.map(({ colour }, stack) => style(`--s${colour ?? stack}`));
  const thick = Math.min(slot * 0.8, WIDEST_BAR);
  context.strokeStyle = style("--ground");
  for (const { index, stack, from, to } of bars) {
    const [x, y, height] = [scale.middleOf(index) - thick / 2, scale.yOf(to), scale.yOf(from) - scale.yOf(to)];
    context.fillStyle = colours[stack] as string;
    context.fillRect(x, y, thick, height);
    // Parts are told apart by more than their colours.
    if (Math.abs(height) > 3 && thick > 3) context.strokeRect(x, y, thick, height);
  }
}

/** Languages differ in how long a label is: 1,2 Mio. $ is one. */
function leftOf(context: CanvasRenderingContext2D, label: Drawing["label"], low: number, high: number): number {
  context.font = font();
  const widest = linesOf(low, high).map((value) => context.measureText(label(value)).width);
  return Math.max(LEFT, Math.ceil(Math.max(0, ...widest)) + 2 * GAP);
}

export interface Plot {
  /** Points at a day, as the mouse does, and at one of its stacks; at none where there is no such day. */
  readonly point: (index: number, stack?: number | null) => void;
  /** The day that is pointed at; -1 for none. */
  readonly pointed: () => number;
  readonly remove: () => void;
}

/** Draws into the frame, and what is pointed at into the tip. Figures that are read anew are drawn on the canvas that is
 * there: on another one, a click would be lost whose button is released after that. */
export function draw(drawing: Drawing, frame: HTMLElement, tip: HTMLElement): Plot {
  const { days, stacks, values, label, dayText, open } = drawing;
  const bars = barsOf(drawing);
  const canvas = frame.querySelector("canvas") ?? frame.appendChild(document.createElement("canvas"));
  const context = canvas.getContext("2d") as CanvasRenderingContext2D;
  const [low, high] = rangeOf(bars);
  const left = leftOf(context, label, low, high);
  let scale = new Scale(low, high, left, days.length, 0);
  let pointed = -1;

  function repaint() {
    paint(context, drawing, bars, scale, pointed);
  }

  function point(index: number, stack: number | null = null) {
    const day = days[index];
    tip.hidden = day === undefined;
    pointed = day === undefined ? -1 : index;
    repaint();
    if (day === undefined) return;
    const lines = stacks.flatMap(({ name }, place) => {
      const value = values[place]?.[index] ?? 0;
      return value === 0 ? [] : `${place === stack ? "▸ " : ""}${name}  ${label(value)}`;
    });
    tip.textContent = [dayText(day), ...lines].join("\n");
    place();
  }

  function place() {
    tip.style.insetInlineStart = `${Math.min(scale.middleOf(pointed) + 8, scale.width - TIP_WIDTH)}px`;
  }

  canvas.onpointermove = ({ offsetX }) => {
    const index = scale.indexAt(offsetX);
    if (index !== pointed) point(index);
  };
  canvas.onpointerleave = () => point(-1);
  if (open) {
    canvas.style.cursor = "pointer";
    canvas.onclick = ({ offsetX, offsetY }) => {
      const index = scale.indexAt(offsetX);
      const bar = bars.find(({ index: of, from, to }) => {
        const [one, other] = [scale.yOf(from), scale.yOf(to)];
        return of === index && offsetY >= Math.min(one, other) && offsetY <= Math.max(one, other);
      });
      if (days[index] !== undefined) open(index, bar?.stack ?? null);
    };
  }

  function fit() {
    const { clientWidth: width } = frame;
    scale = new Scale(low, high, left, days.length, width);
    [canvas.width, canvas.height] = [width * devicePixelRatio, HEIGHT * devicePixelRatio];
    context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    repaint();
    // At its old place, it could be outside a window that was made narrower.
    place();
  }

  fit();
  const resized = new ResizeObserver(fit);
  resized.observe(frame);
  return {
    point,
    pointed: () => pointed,
    remove: () => resized.disconnect(),
  };
}
