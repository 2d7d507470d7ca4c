import type { RefType, TransactionType } from "../generated/ConsolePage";
import type { CostKind } from "../generated/MonthKinds";
import { t } from "./texts/spoken";

// The words of the schema: as people read them, they are in texts.

/** A row's type in a word: a deduction is told apart by its cause. */
export function typeOf({ type, refType }: { readonly type: TransactionType; readonly refType: RefType | null }): string {
  if (type !== "GPU_USAGE") return t.types[type];
  if (refType === "API_USAGE") return t.ofCalls;
  return refType ? t.ofInstance : t.deduction;
}

/** The kinds of resources that have a charge. */
export const RESOURCE_TYPES = ["GPU_INSTANCE", "INFERENCE_INSTANCE", "VOLUME", "SHARED_FILESYSTEM"] as const;

/** The colour of a kind of cost, the same wherever it is drawn. */
export const KIND_COLOURS: Record<CostKind, number> = {
  GPU_INSTANCE: 1,
  INFERENCE_INSTANCE: 5,
  VOLUME: 3,
  SHARED_FILESYSTEM: 3,
  API_USAGE: 2,
  OTHER: 7,
};

/** The keys of such a table, as what they are. */
export function wordsOf<Word extends string>(table: Record<Word, string>): Word[] {
  return Object.keys(table) as Word[];
}

/** As REST, exports and the documentation spell it. */
export function spelled(word: string): string {
  return word.toLowerCase();
}
