import { parseNanos } from "./money";
import { isDay } from "./times";

// What the gateway would refuse, said before it is asked. Each check returns what is wrong, or "".

export const SHORTEST_SEARCH = 3;
const LONGEST_TEXT = 200;
const MOST_NANOS = 2n ** 63n - 1n;
/** NUL, and halves of surrogate pairs. */
const UNFIT = /[\0\p{Cs}]/u;

/** The gateway counts code points, a string of JavaScript's UTF-16 units. */
function lengthOf(text: string): number {
  return [...text].length;
}

function wrongText(text: string, shortest: number): string {
  const length = lengthOf(text);
  if (length < shortest) return `Type ${shortest} characters or more.`;
  if (length > LONGEST_TEXT) return `Type at most ${LONGEST_TEXT} characters.`;
  return UNFIT.test(text) ? "This text contains characters that are not allowed." : "";
}

export function wrongSearch(text: string): string {
  return wrongText(text, SHORTEST_SEARCH);
}

const TRANSACTION = /^txn_([1-9]\d{0,18})_[1-9]\d{0,18}$/;

export function isTransactionId(text: string): boolean {
  return TRANSACTION.test(text);
}

/** The id of the account whose transaction it is. */
export function accountOf(transaction: string): string {
  return `acct_${TRANSACTION.exec(transaction)?.[1]}`;
}

export function wrongTransaction(text: string): string {
  return isTransactionId(text) ? "" : "Type an id such as txn_7_12.";
}

/** An id, or the name of a model. */
export function wrongName(text: string): string {
  return wrongText(text, 1);
}

export function wrongDay(text: string): string {
  return isDay(text) ? "" : "Type a day such as 2026-11-29.";
}

export function wrongAmount(text: string): string {
  const nanos = parseNanos(text);
  if (nanos === null) return "Type a decimal such as -1.25.";
  return nanos > MOST_NANOS || nanos < -MOST_NANOS ? "The amount must be within ±9,223,372,036." : "";
}

/** Of the upper end of a range. */
export function wrongOrder(low: string, high: string, compare: (text: string) => string | bigint): string {
  return low && high && compare(high) < compare(low) ? "The range ends before it begins." : "";
}
