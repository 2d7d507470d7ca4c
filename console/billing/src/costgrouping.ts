import type { RefType, TransactionType } from "../generated/ConsolePage";
import { type Address, type Cause, type CostsView, NO_FILTER, type TransactionsView } from "./address";
import type { CostGroup } from "./costs";
import type { Days } from "./daterange";
import { gathered } from "./grouping";
import { KIND_COLOURS } from "./kinds";
import { amountOf, approximate, nanosOf } from "./money";
import { p } from "./texts/panels";
import { t } from "./texts/spoken";
import { lastDayOf } from "./times";

// Groups of cost put together for the chart and the tables, exactly, and the way from each to the rows behind it.

export interface CostSums {
  readonly gross: bigint;
  readonly refunded: bigint;
}

const NOTHING: CostSums = { gross: 0n, refunded: 0n };

export function costOf({ gross, refunded }: CostSums): bigint {
  return gross - refunded;
}

/** The cost of one kind, resource, API key or project. */
export interface Part {
  readonly key: string;
  readonly name: string;
  /** The first of its groups, which says what it is. */
  readonly group: CostGroup;
  readonly sums: CostSums;
}

/** The parts of a day or month, those with the highest cost first. */
export interface Period {
  readonly time: string;
  readonly parts: readonly Part[];
  readonly sums: CostSums;
}

function resourceName({ refType, refId }: CostGroup): string {
  if (!refType) return t.kinds.OTHER;
  return refId ? `${t.refTypes[refType]} ${refId}` : refType === "API_USAGE" ? t.kinds.API_USAGE : t.refTypes[refType];
}

const NAMES: Record<Cause, (group: CostGroup) => string> = {
  kind: ({ kind }) => t.kinds[kind ?? "OTHER"],
  resource: resourceName,
  key: ({ apiKeyId }) => apiKeyId ?? p.notNamed,
  project: ({ project }) => project ?? p.notNamed,
};

/** A key may be called as what has none is. */
const KEYS: Record<Cause, (group: CostGroup) => string> = {
  ...NAMES,
  resource: ({ refType, refId }) => `${refType} ${refId}`,
  key: ({ apiKeyId }) => `${apiKeyId === null} ${apiKeyId}`,
  project: ({ project }) => `${project === null} ${project}`,
};

function sumOf(sums: Iterable<CostSums>): CostSums {
  let [gross, refunded] = [0n, 0n];
  for (const one of sums) [gross, refunded] = [gross + one.gross, refunded + one.refunded];
  return { gross, refunded };
}

export function sumsOf({ gross, refunded }: Pick<CostGroup, "gross" | "refunded">): CostSums {
  return { gross: nanosOf(gross), refunded: nanosOf(refunded) };
}

function dearestFirst(one: { sums: CostSums }, other: { sums: CostSums }): number {
  const difference = costOf(other.sums) - costOf(one.sums);
  return difference > 0n ? 1 : difference < 0n ? -1 : 0;
}

export function partsOf(groups: readonly CostGroup[], by: Cause): Part[] {
  const found = gathered(groups, KEYS[by]);
  const parts = [...found].map(([key, some]) => {
    const [group] = some as [CostGroup];
    return { key, name: NAMES[by](group), group, sums: sumOf(some.map(sumsOf)) };
  });
  return parts.sort(dearestFirst);
}

/** Newest first. */
export function periodsOf(groups: readonly CostGroup[], by: Cause): Period[] {
  const found = gathered(groups, ({ day, month }) => day ?? month ?? "");
  const periods = [...found].map(([time, some]) => {
    const parts = partsOf(some, by);
    return { time, parts, sums: sumOf(parts.map(({ sums }) => sums)) };
  });
  return periods.sort((one, other) => (one.time < other.time ? 1 : -1));
}

export interface CostStack {
  /** Null for those that are together. */
  readonly key: string | null;
  readonly name: string;
  readonly colour: number;
  readonly values: readonly number[];
}

/** As many stacks as there are colours; the last one is of what is together. */
const MOST_STACKS = 8;

export function colourOf({ group }: Part, place: number): number {
  return group.kind ? KIND_COLOURS[group.kind] : Math.min(place, MOST_STACKS - 1);
}

/** One stack of bars for each part, of its cost at each of the times; the cheapest are together. */
export function costStacksOf(parts: readonly Part[], periods: readonly Period[], times: readonly string[]): CostStack[] {
  const kept = parts.length > MOST_STACKS ? parts.slice(0, MOST_STACKS - 1) : parts;
  const of = new Map(periods.map((period) => [period.time, new Map(period.parts.map((part) => [part.key, part.sums]))]));
  const valuesOf = (keys: readonly string[]) =>
    times.map((time) => {
      const there = of.get(time);
      const sums = keys.map((key) => there?.get(key) ?? NOTHING);
      return approximate(amountOf(costOf(sumOf(sums))));
    });
  const stacks: CostStack[] = kept.map((part, place) => ({
    key: part.key,
    name: part.name,
    colour: colourOf(part, place),
    values: valuesOf([part.key]),
  }));
  const others = parts.slice(kept.length).map(({ key }) => key);
  if (others.length === 0) return stacks;
  return [...stacks, { key: null, name: p.others, colour: MOST_STACKS - 1, values: valuesOf(others) }];
}

/** Which of the rows: what was deducted, what was returned, or both. */
export type Side = "gross" | "refunded" | "cost";

/** The types of rows that are cost. */
const TYPES: Record<Side, readonly TransactionType[]> = {
  gross: ["GPU_USAGE", "STORAGE_BILLING"],
  refunded: ["REFUND"],
  cost: ["GPU_USAGE", "STORAGE_BILLING", "REFUND"],
};

const STORAGE: readonly (RefType | null)[] = ["VOLUME", "SHARED_FILESYSTEM"];

function rowsOf(refType: RefType | null, refId: string | null, side: Side): Partial<TransactionsView> {
  if (STORAGE.includes(refType)) return refId ? { refType: refType ?? "", refId } : { types: ["STORAGE_BILLING"] };
  const types = TYPES[side].filter((type) => !refType || type !== "STORAGE_BILLING");
  return { types, refType: refType ?? "", refId: refId ?? "" };
}

function narrowed({ apiKeyId, project }: CostGroup, by: Cause): Partial<CostsView> {
  const name = by === "key" ? apiKeyId : project;
  return name === null ? { without: by as "key" | "project" } : { [by]: name };
}

/** The way to what a figure is made of: the ledger's rows; or, of an API key or project, which rows do not name where
 * they are of several, its cost by resource. */
export function behind(view: CostsView, days: Days, part: Part | null, side: Side = "cost"): Partial<Address> {
  const { by, key, project, without } = view;
  const isOfAll = !key && !project && !without;
  const isParted = part !== null && (by === "key" || by === "project");
  if (isParted || (by !== "resource" && !isOfAll)) {
    const span = { range: "custom" as const, ...days };
    return { tab: "costs", costs: { ...view, ...span, ...(isParted && narrowed(part.group, by)), by: "resource" } };
  }
  const { kind, refType, refId } = part?.group ?? { kind: null, refType: null, refId: null };
  const cause = kind && kind !== "OTHER" ? kind : refType;
  return { tab: "transactions", transactions: { ...NO_FILTER, ...days, ...rowsOf(cause, refId, side) } };
}

/** The days of a day or month that are in the view. */
export function daysIn({ from, to }: Days, time: string): Days {
  const [first, last] = time.length === 7 ? [`${time}-01`, lastDayOf(time)] : [time, time];
  return { from: first > from ? first : from, to: last < to ? last : to };
}
