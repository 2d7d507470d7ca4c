import { parseNanos } from "./money";
import { t } from "./texts/spoken";
import { isDay } from "./times";
import { canonical, readings } from "./typed";

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
  if (length < shortest) return t.tooShort(shortest);
  if (length > LONGEST_TEXT) return t.tooLong(LONGEST_TEXT);
  return UNFIT.test(text) ? t.unfit : "";
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
  return isTransactionId(text) ? "" : t.wrongTransaction;
}

/** An id, or the name of a model. */
export function wrongName(text: string): string {
  return wrongText(text, 1);
}

export function wrongDay(text: string): string {
  return isDay(text) ? "" : t.wrongDay;
}

export function wrongAmount(text: string): string {
  const nanos = parseNanos(text);
  if (nanos === null) return t.wrongAmount;
  return nanos > MOST_NANOS || nanos < -MOST_NANOS ? t.wrongSize : "";
}

/** An amount that was typed and can be read in two ways. */
export function wrongReading(text: string): string {
  const both = readings(text);
  return both ? t.ambiguous(...both) : "";
}

/** Of an amount as it was typed. */
export function wrongTyped(text: string): string {
  return wrongReading(text) || wrongAmount(canonical(text));
}

/** Of the upper end of a range. */
export function wrongOrder(low: string, high: string, compare: (text: string) => string | bigint): string {
  return low && high && compare(high) < compare(low) ? t.wrongOrder : "";
}
