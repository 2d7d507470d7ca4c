import { signal } from "@preact/signals";

/** What one kind has cost in a month. */
interface MonthKind {
  readonly name: string;
  /** The number of its colour. */
  readonly colour: number;
  readonly cost: string;
}

/** Soon after the page is there: see monthcosts.ts. */
export const monthKinds = signal<{
  readonly account: string;
  readonly months: ReadonlyMap<string, readonly MonthKind[]>;
} | null>(null);
