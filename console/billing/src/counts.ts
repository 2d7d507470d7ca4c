import { locale } from "./locale";

// Counts are 64-bit integers in strings.

const whole = new Intl.NumberFormat(locale);

export function countText(count: string | bigint | number): string {
  return whole.format(typeof count === "string" ? BigInt(count) : count);
}

/** For the axes of charts. */
export function roughCount(count: number): string {
  return new Intl.NumberFormat(locale, { notation: "compact", maximumFractionDigits: 1 }).format(count);
}

/** "1 row", "2 rows". */
export function counted(count: string | bigint | number, one: string, many = `${one}s`): string {
  return `${countText(count)} ${BigInt(count) === 1n ? one : many}`;
}
