import { grouped } from "./counts";
import { isPlain, locale } from "./locale";

// Amounts are exact decimal strings with at most nine fraction digits. Sums are made of whole nano-dollars;
// a float is made of one for the height of a bar alone.

const AMOUNT = /^([+-]?)(\d{1,10})(?:\.(\d{1,9}))?$/;
const DIGITS = 9;

export const MINUS = "\u2212";

/** Null for what is no amount. */
export function parseNanos(text: string): bigint | null {
  const [, sign, whole, fraction = ""] = AMOUNT.exec(text) ?? [];
  if (whole === undefined) return null;
  const nanos = BigInt(whole + fraction.padEnd(DIGITS, "0"));
  return sign === "-" ? -nanos : nanos;
}

/** Nano-dollars of an amount as the gateway serializes it. */
export function nanosOf(text: string): bigint {
  const nanos = parseNanos(text);
  if (nanos === null) throw new RangeError(`not an amount: ${text}`);
  return nanos;
}

/** The amount as the gateway serializes it: at least two fraction digits, no zeros behind them. */
export function amountOf(nanos: bigint): string {
  const digits = (nanos < 0n ? -nanos : nanos).toString().padStart(DIGITS + 1, "0");
  const fraction = digits.slice(-DIGITS).replace(/0{1,7}$/, "");
  return `${nanos < 0n ? "-" : ""}${digits.slice(0, -DIGITS)}.${fraction}`;
}

export function sumOf(amounts: Iterable<string>): string {
  let sum = 0n;
  for (const amount of amounts) sum += nanosOf(amount);
  return amountOf(sum);
}

export function isNegative(amount: string): boolean {
  return amount.startsWith("-");
}

export interface MoneyParts {
  /** Sign, whole part and two fraction digits, and the currency where it comes first. */
  readonly head: string;
  /** The fraction digits beyond cents. */
  readonly tail: string;
  /** The currency where it comes last. */
  readonly end: string;
  /** Rounded to cents; "" where there are no digits beyond them. */
  readonly cents: string;
}

const CENT = 10_000_000n;

/** The nearest whole cent, and the even one where two are as near. */
export function roundedToCents(nanos: bigint): bigint {
  const [size, rest] = nanos < 0n ? [-nanos, -nanos % CENT] : [nanos, nanos % CENT];
  const cents = size / CENT;
  const isUp = rest * 2n > CENT || (rest * 2n === CENT && cents % 2n === 1n);
  const rounded = (cents + (isUp ? 1n : 0n)) * CENT;
  return nanos < 0n ? -rounded : rounded;
}

const formats = new Map<string, Intl.NumberFormat>();

function formatFor(currency: string, signed: boolean): Intl.NumberFormat {
  const name = `${currency} ${signed}`;
  let format = formats.get(name);
  if (!format) {
    format = new Intl.NumberFormat(locale, {
      style: "currency",
      currency,
      minimumFractionDigits: 2,
      maximumFractionDigits: DIGITS,
      signDisplay: signed ? "exceptZero" : "negative",
    });
    formats.set(name, format);
  }
  return format;
}

/** The amounts formatted last: columns are measured before they are drawn, and rows are drawn again. */
const known = new Map<string, MoneyParts>();
const MOST_KNOWN = 5_000;

/** `signed` puts a plus before what was added. */
export function moneyParts(amount: string, currency: string, signed = false): MoneyParts {
  const name = `${amount} ${currency} ${signed}`;
  let found = known.get(name);
  if (!found) {
    if (known.size >= MOST_KNOWN) known.clear();
    const exact = exactParts(amount, currency, signed);
    found = { ...exact, cents: exact.tail && centsText(amount, currency, signed) };
    known.set(name, found);
  }
  return found;
}

/** An amount that is rounded away keeps its sign. */
function centsText(amount: string, currency: string, signed: boolean): string {
  const rounded = roundedToCents(nanosOf(amount));
  const { head, end } = exactParts(amountOf(rounded), currency, signed);
  if (rounded !== 0n) return head + end;
  const sign = isNegative(amount) ? MINUS : signed ? "+" : "";
  return sign + head + end;
}

type ExactParts = Omit<MoneyParts, "cents">;

function exactParts(amount: string, currency: string, signed: boolean): ExactParts {
  if (isPlain && currency === "USD") return plainParts(amount, signed);
  let [head, tail, end] = ["", "", ""];
  let isOver = false;
  // Given as a string, which Intl reads digit by digit.
  for (const { type, value } of formatFor(currency, signed).formatToParts(amount as `${number}`)) {
    if (type === "fraction") {
      head += value.slice(0, 2);
      tail = value.slice(2);
      isOver = true;
    } else if (isOver) end += value;
    else head += type === "minusSign" ? MINUS : value;
  }
  return { head, tail, end };
}

const SERIALIZED = /^-?(0|[1-9]\d*)\.(\d\d)(\d{0,6}[1-9])?$/;

/** Puts together what the gateway's text has: to make a number of each of a page's amounts takes longer than that. */
function plainParts(amount: string, signed: boolean): ExactParts {
  const [, whole = "", two = "", tail = ""] = SERIALIZED.exec(amount) ?? [];
  if (!whole || amount === "-0.00") return plainParts(amountOf(nanosOf(amount)), signed);
  const sign = isNegative(amount) ? MINUS : signed && amount !== "0.00" ? "+" : "";
  return { head: `${sign}$${grouped(whole)}.${two}`, tail, end: "" };
}

export function moneyText(amount: string, currency: string, signed = false): string {
  const { head, tail, end } = moneyParts(amount, currency, signed);
  return head + tail + end;
}

/** Characters of an amount without the digits beyond cents. */
export function lengthOf({ head, end }: MoneyParts): number {
  return head.length + end.length;
}

/** The most digits beyond cents that one of the amounts has. */
export function longestTail(amounts: Iterable<string>): number {
  let longest = 0;
  for (const amount of amounts) longest = Math.max(longest, amount.length - amount.indexOf(".") - 3);
  return longest;
}

/** For the height of bars and the labels of axes. */
export function approximate(amount: string): number {
  return Number(amount);
}

/** For the axes of charts. */
export function roughMoney(amount: number, currency: string): string {
  return new Intl.NumberFormat(locale, {
    style: "currency",
    currency,
    notation: "compact",
    maximumFractionDigits: amount < 1 ? 4 : 1,
  }).format(amount);
}
