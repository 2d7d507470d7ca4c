import { signal } from "@preact/signals";
import { MonthKinds, type MonthKindsQuery } from "../generated/MonthKinds";
import { account } from "./account";
import { ask } from "./gateway";
import { KIND_COLOURS } from "./kinds";
import { amountOf, nanosOf } from "./money";
import { t } from "./texts/spoken";

// What the month bars are made of. It is read soon after the page is there.

/** What kinds of one name have cost in a month. */
interface MonthKind {
  readonly name: string;
  /** The number of its colour. */
  readonly colour: number;
  readonly cost: string;
}

export const monthKinds = signal<{
  readonly account: string;
  /** Of each month, those with the highest cost first. */
  readonly months: ReadonlyMap<string, readonly MonthKind[]>;
} | null>(null);

type Groups = NonNullable<MonthKindsQuery["account"]>["costTotals"]["nodes"];

function kindsOf(groups: Groups, of: string): MonthKind[] {
  const found = new Map<string, { colour: number; nanos: bigint }>();
  for (const { month, kind, cost } of groups) {
    if (month !== of) continue;
    const name = t.kinds[kind ?? "OTHER"];
    const before = found.get(name)?.nanos ?? 0n;
    found.set(name, { colour: KIND_COLOURS[kind ?? "OTHER"], nanos: before + nanosOf(cost) });
  }
  return [...found]
    .sort(([, one], [, other]) => Number(other.nanos - one.nanos))
    .map(([name, { colour, nanos }]) => ({ name, colour, cost: amountOf(nanos) }));
}

/** Reads the kinds of the month bars' costs. They are an extra: what can't be read is shown in one colour. */
export async function loadMonthKinds(): Promise<void> {
  const shown = account.peek();
  const months = shown?.months.map(({ month }) => month) ?? [];
  if (!shown || !months[0] || monthKinds.peek()?.account === shown.id) return;
  const filter = { day: { gte: `${months[0]}-01` } };
  try {
    const groups = (await ask(MonthKinds, { account: shown.id, filter })).account?.costTotals.nodes ?? [];
    monthKinds.value = { account: shown.id, months: new Map(months.map((month) => [month, kindsOf(groups, month)])) };
  } catch {
    // Asked for again with the next account.
  }
}
