import { signal } from "@preact/signals";
import { type CostDimension, type CostFilter, CostTotals, type CostTotalsQuery } from "../generated/CostTotals";
import { account } from "./account";
import type { Cause, CostsView } from "./address";
import { daysOf } from "./daterange";
import { ask } from "./gateway";
import { Outdated } from "./post";
import { dayAfter } from "./times";

// The figures of the Costs tab: cost by day or month and by what it is parted by, net of returned holds.

type Totals = NonNullable<CostTotalsQuery["account"]>["costTotals"];
export type CostGroup = Totals["nodes"][number];

export interface Costs {
  readonly account: string | undefined;
  readonly view: CostsView;
  readonly groups: readonly CostGroup[];
  /** False if there are too many groups to read: then they are of all days together, those with the highest cost. */
  readonly isWhole: boolean;
  readonly totalCount: string;
  readonly totals: Totals["totals"];
}

export const costs = signal<Costs | null>(null);
export const costsAreLoading = signal(false);
export const costsFailure = signal<Error | null>(null);

export const PAGE_GROUPS = 1000;
/** Beyond, the page would be slow to use. */
const MOST_GROUPS = 5000;
/** Of all days together. */
const MOST_CAUSES = 100;

const DIMENSIONS: Record<Cause, CostDimension> = {
  kind: "KIND",
  resource: "RESOURCE",
  key: "API_KEY",
  project: "PROJECT",
};

export function costFilter(view: CostsView): CostFilter {
  const { from, to } = daysOf(view);
  const end = dayAfter(to, 1);
  const { key, project, without } = view;
  return {
    day: { gte: from, ...(end && { lt: end }) },
    ...(key && { apiKeyIds: [key] }),
    ...(project && { projects: [project] }),
    ...(without === "key" && { withoutApiKey: true }),
    ...(without === "project" && { withoutProject: true }),
  };
}

export async function costPage(by: CostDimension[], filter: CostFilter, first: number, after: string | null, signal?: AbortSignal) {
  const variables = { account: account.peek()?.id ?? null, by, filter, first, after };
  const found = (await ask(CostTotals, variables, signal)).account?.costTotals;
  if (!found) throw new Outdated();
  return found;
}

async function read(view: CostsView, signal: AbortSignal): Promise<Costs> {
  const of = { account: account.peek()?.id, view };
  const filter = costFilter(view);
  const by = DIMENSIONS[view.by];
  const time = view.per === "day" ? "DAY" : "MONTH";
  let last = await costPage([time, by], filter, PAGE_GROUPS, null, signal);
  const { totalCount, totals } = last;
  if (BigInt(totalCount) > MOST_GROUPS) {
    const all = await costPage([by], filter, MOST_CAUSES, null, signal);
    return { ...of, groups: all.nodes, isWhole: false, totalCount: all.totalCount, totals: all.totals };
  }
  const groups = [...last.nodes];
  while (last.pageInfo.hasNextPage) {
    last = await costPage([time, by], filter, PAGE_GROUPS, last.pageInfo.endCursor, signal);
    groups.push(...last.nodes);
  }
  return { ...of, groups, isWhole: true, totalCount, totals };
}

let running: AbortController | null = null;

/** Quietly where the figures of the same view are there already. */
export async function loadCosts(view: CostsView): Promise<void> {
  running?.abort();
  const { signal } = (running = new AbortController());
  costsAreLoading.value = JSON.stringify(costs.peek()?.view) !== JSON.stringify(view);
  costsFailure.value = null;
  try {
    costs.value = await read(view, signal);
  } catch (error) {
    if (error instanceof Outdated) return;
    costsFailure.value = error as Error;
  }
  costsAreLoading.value = false;
}
