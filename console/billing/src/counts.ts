import { isPlain, locale } from "./locale";

// Counts are 64-bit integers in strings.

let whole: Intl.NumberFormat | undefined;

/** Of digits alone, as American English separates thousands. */
export function grouped(digits: string): string {
  return digits.replace(/\B(?=(\d{3})+$)/g, ",");
}

export function countText(count: string | bigint | number): string {
  return isPlain ? grouped(`${count}`) : (whole ??= new Intl.NumberFormat(locale)).format(BigInt(count));
}

/** For the axes of charts. */
export function roughCount(count: number): string {
  return new Intl.NumberFormat(locale, { notation: "compact", maximumFractionDigits: 1 }).format(count);
}

/** "1 row", "2 rows". */
export function counted(count: string | bigint | number, one: string, many = `${one}s`): string {
  return `${countText(count)} ${BigInt(count) === 1n ? one : many}`;
}
