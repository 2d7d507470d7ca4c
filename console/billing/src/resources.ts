import { type Signal, signal } from "@preact/signals";
import { type ChargeFilter, type ChargeState, Resources, type ResourcesQuery } from "../generated/Resources";
import { account } from "./account";
import type { ResourcesView } from "./address";
import { ask } from "./gateway";
import { Outdated } from "./post";

// The charges of the Resources tab: a list for each state.

export type Charge = NonNullable<ResourcesQuery["account"]>["charges"]["nodes"][number];

export interface List {
  readonly account: string | undefined;
  /** The filter that it is for. */
  readonly name: string;
  readonly charges: readonly Charge[];
  readonly end: string | null;
  readonly hasMore: boolean;
}

interface State {
  readonly list: Signal<List | null>;
  readonly failure: Signal<Error | null>;
  readonly isLoading: Signal<boolean>;
}

function newState(): State {
  return { list: signal(null), failure: signal(null), isLoading: signal(false) };
}

/** Those that go on come first. */
export const states: Record<ChargeState, State> = { OPEN: newState(), EXPIRED: newState(), SETTLED: newState() };

const FIRST_ROWS = 50;
const MOST_AT_ONCE = 1000;

function filterOf(state: ChargeState, { refType, refId }: ResourcesView): ChargeFilter {
  return { state, ...(refType && { refType }), ...(refId && { refId }) };
}

export function nameOf(view: ResourcesView): string {
  return JSON.stringify(view);
}

/** Of the account that is shown. */
export function listOf(state: ChargeState): List | null {
  const { value: list } = states[state].list;
  return list?.account === account.value?.id ? list : null;
}

async function load(state: ChargeState, view: ResourcesView, first: number, before: List | null): Promise<void> {
  const { list, failure, isLoading } = states[state];
  const of = { account: account.peek()?.id, name: nameOf(view) };
  isLoading.value = true;
  failure.value = null;
  try {
    const variables = { account: of.account ?? null, first, after: before?.end ?? null };
    const found = (await ask(Resources, { ...variables, filter: filterOf(state, view) })).account?.charges;
    if (!found || (before && list.peek() !== before)) throw new Outdated();
    const charges = [...(before?.charges ?? []), ...found.nodes];
    list.value = { ...of, charges, end: found.pageInfo.endCursor, hasMore: found.pageInfo.hasNextPage };
  } catch (error) {
    if (!(error instanceof Outdated)) failure.value = error as Error;
  }
  isLoading.value = false;
}

/** Reads the lists that are shown, as far as they were loaded. */
export function loadResources(view: ResourcesView): void {
  for (const state of Object.keys(states) as ChargeState[]) {
    const before = states[state].list.peek();
    const isSame = before?.account === account.peek()?.id && before?.name === nameOf(view);
    const loaded = isSame ? before.charges.length : 0;
    // Beyond what the gateway gives at once they stay as they are.
    if (loaded <= MOST_AT_ONCE) void load(state, view, Math.max(FIRST_ROWS, loaded), null);
  }
}

/** As many again as were loaded. */
export async function loadMoreOf(state: ChargeState, view: ResourcesView): Promise<void> {
  const { list, isLoading } = states[state];
  const before = list.peek();
  if (!before || isLoading.peek()) return;
  await load(state, view, Math.max(FIRST_ROWS, Math.min(before.charges.length, MOST_AT_ONCE)), before);
}
