import { isPlain, locale } from "./locale";
import type { Count, Forms } from "./texts/forms";

// Counts are 64-bit integers in strings.

let whole: Intl.NumberFormat | undefined;

/** Of digits alone, as American English separates thousands. */
export function grouped(digits: string): string {
  return digits.replace(/\B(?=(\d{3})+$)/g, ",");
}

export function countText(count: Count): string {
  return isPlain ? grouped(`${count}`) : (whole ??= new Intl.NumberFormat(locale)).format(BigInt(count));
}

/** For the axes of charts. */
export function roughCount(count: number): string {
  return new Intl.NumberFormat(locale, { notation: "compact", maximumFractionDigits: 1 }).format(count);
}

let plurals: Intl.PluralRules | undefined;

function ruleOf(count: Count): Intl.LDMLPluralRule {
  if (isPlain) return BigInt(count) === 1n ? "one" : "other";
  return (plurals ??= new Intl.PluralRules(locale)).select(Number(count));
}

/** "1 row", "2 rows". */
export function counted(count: Count, forms: Forms): string {
  return (forms[ruleOf(count)] ?? forms.other).replace("#", countText(count));
}
