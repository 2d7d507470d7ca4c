import { signal } from "@preact/signals";
import type { UsageFilter } from "../generated/ConsolePage";
import { UsageByDay } from "../generated/UsageByDay";
import { account } from "./account";
import { ask } from "./gateway";
import { Outdated } from "./post";
import type { UsageDay } from "./rows";

// The usage days of the Usage tab: all of the range, however many pages they take.

export interface Usage {
  readonly filter: string;
  readonly days: readonly UsageDay[];
}

interface Connection {
  readonly nodes: readonly UsageDay[];
  readonly pageInfo: { readonly hasNextPage: boolean; readonly endCursor: string | null };
}

export const usage = signal<Usage | null>(null);
export const usageIsLoading = signal(false);
export const usageFailure = signal<Error | null>(null);

let running: AbortController | null = null;
let wanted: string | null = null;

function nameOf(filter: UsageFilter): string {
  return JSON.stringify(filter);
}

export function clearUsage(): void {
  running?.abort();
  wanted = null;
  usage.value = null;
  usageIsLoading.value = false;
  usageFailure.value = null;
}

export function usageIsFor(filter: UsageFilter): boolean {
  return (wanted ?? usage.peek()?.filter) === nameOf(filter);
}

async function gather(filter: UsageFilter, first: Connection | null, quietly = false): Promise<void> {
  running?.abort();
  const { signal } = (running = new AbortController());
  wanted = nameOf(filter);
  usageIsLoading.value = !quietly;
  usageFailure.value = null;
  try {
    const days = [...(first?.nodes ?? [])];
    let after = first?.pageInfo.endCursor ?? null;
    for (let more = first?.pageInfo.hasNextPage ?? true; more; ) {
      const variables = { account: account.peek()?.id ?? null, first: 1000, after, filter };
      const page = (await ask(UsageByDay, variables, signal)).account?.usage;
      if (!page) throw new Outdated();
      days.push(...page.edges.map(({ node }) => node));
      ({ hasNextPage: more, endCursor: after } = page.pageInfo);
    }
    usage.value = { filter: nameOf(filter), days };
  } catch (error) {
    if (error instanceof Outdated) return;
    usageFailure.value = error as Error;
  }
  wanted = null;
  usageIsLoading.value = false;
}

export function openUsage(filter: UsageFilter, first: Connection): void {
  if (first.pageInfo.hasNextPage) void gather(filter, first);
  else usage.value = { filter: nameOf(filter), days: first.nodes };
}

export function loadUsage(filter: UsageFilter): Promise<void> {
  return gather(filter, null);
}

/** After calls were charged: in the background where the days are in view, else when they are looked at. */
export function refreshUsage(filter: UsageFilter, inView: boolean): void {
  if (!inView) clearUsage();
  else if (wanted === null) void gather(filter, null, true);
}
