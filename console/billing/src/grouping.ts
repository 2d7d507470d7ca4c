import type { GroupBy } from "./address";
import { amountOf, approximate, nanosOf } from "./money";
import type { UsageDay } from "./rows";
import { p } from "./texts/panels";

// Usage days put together, exactly: counts and nano-dollars are big integers.

export interface Sums {
  readonly calls: bigint;
  readonly inputTokens: bigint;
  readonly outputTokens: bigint;
  readonly costNanos: bigint;
}

/** What is added up of a day, or of a group of the gateway's own. */
type Counted = Pick<UsageDay, "calls" | "inputTokens" | "outputTokens" | "cost">;

export interface Line {
  /** What tells it from the other lines of its group. */
  readonly key: string;
  readonly day: string | null;
  readonly model: string | null;
  readonly kind: string;
  readonly sums: Sums;
}

/** The lines of one day, model or category, and their sums. */
export interface UsageGroup {
  readonly key: string;
  readonly sums: Sums;
  readonly lines: readonly Line[];
}

const NOTHING: Sums = { calls: 0n, inputTokens: 0n, outputTokens: 0n, costNanos: 0n };

function plus(sums: Sums, day: Counted): Sums {
  return {
    calls: sums.calls + BigInt(day.calls),
    inputTokens: sums.inputTokens + BigInt(day.inputTokens),
    outputTokens: sums.outputTokens + BigInt(day.outputTokens),
    costNanos: sums.costNanos + nanosOf(day.cost),
  };
}

export function totalOf(days: Iterable<Counted>): Sums {
  let sums = NOTHING;
  for (const day of days) sums = plus(sums, day);
  return sums;
}

function kindOf({ category, origin }: UsageDay): string {
  return origin === "PLATFORM" ? p.categories[category] : p.ownCategory(p.categories[category]);
}

export function gathered<Item, Key>(items: Iterable<Item>, keyOf: (item: Item) => Key): Map<Key, Item[]> {
  const found = new Map<Key, Item[]>();
  for (const item of items) {
    const key = keyOf(item);
    const others = found.get(key);
    if (others) others.push(item);
    else found.set(key, [item]);
  }
  return found;
}

function dearestFirst(one: { sums: Sums }, other: { sums: Sums }): number {
  if (one.sums.costNanos !== other.sums.costNanos) return one.sums.costNanos < other.sums.costNanos ? 1 : -1;
  if (one.sums.calls !== other.sums.calls) return one.sums.calls < other.sums.calls ? 1 : -1;
  return 0;
}

const KEYS: Record<GroupBy, (day: UsageDay) => string> = {
  day: ({ day }) => day,
  model: ({ model }) => model,
  category: ({ category }) => p.categories[category],
};

function lineOf(key: string, days: readonly UsageDay[], by: GroupBy): Line {
  const [first] = days as [UsageDay, ...UsageDay[]];
  return {
    key,
    day: by === "model" ? first.day : null,
    model: by === "model" ? null : first.model,
    kind: by === "category" ? p.origins[first.origin] : kindOf(first),
    sums: totalOf(days),
  };
}

/** The models of a day or category, or the days of a model. */
function linesOf(days: readonly UsageDay[], by: GroupBy): Line[] {
  const keyOf = (day: UsageDay) => JSON.stringify([by === "model" ? day.day : day.model, kindOf(day)]);
  const lines = [...gathered(days, keyOf)].map(([key, some]) => lineOf(key, some, by));
  return by === "model" ? lines : lines.sort(dearestFirst);
}

/** Days come newest first, models and categories dearest first. */
export function groupsOf(days: readonly UsageDay[], by: GroupBy): UsageGroup[] {
  const groups = [...gathered(days, KEYS[by])].map(([key, some]) => ({
    key,
    sums: totalOf(some),
    lines: linesOf(some, by),
  }));
  return by === "day" ? groups.sort((one, other) => (one.key < other.key ? 1 : -1)) : groups.sort(dearestFirst);
}


export interface Stack {
  readonly name: string;
  readonly cost: number[];
  readonly tokens: number[];
  readonly sums: Sums;
}

function stackOf(name: string, some: readonly UsageDay[], days: readonly string[]): Stack {
  const of = gathered(some, ({ day }) => day);
  const sums = days.map((day) => totalOf(of.get(day) ?? []));
  return {
    name,
    cost: sums.map(({ costNanos }) => approximate(amountOf(costNanos))),
    tokens: sums.map(({ inputTokens, outputTokens }) => Number(inputTokens + outputTokens)),
    sums: totalOf(some),
  };
}

/** One stack of bars for each model, or category, on each of the days; beyond `most`, the cheapest are together. */
export function stacksOf(usage: readonly UsageDay[], days: readonly string[], by: GroupBy, most: number): Stack[] {
  const all = [...gathered(usage, KEYS[by === "category" ? "category" : "model"])].map(([name, some]) => ({
    name,
    some,
    sums: totalOf(some),
  }));
  all.sort(dearestFirst);
  const kept = all.length > most ? all.slice(0, most - 1) : all;
  const others = all.slice(kept.length).flatMap(({ some }) => some);
  const stacks = kept.map(({ name, some }) => stackOf(name, some, days));
  return others.length > 0 ? [...stacks, stackOf(p.others, others, days)] : stacks;
}
