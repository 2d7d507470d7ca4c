import { isPlain, locale } from "./locale";

// Amounts as people type them: 1.234,56 where that is how the language writes them. What is kept and sent is canonical.

let comma: boolean | undefined;

function usesComma(): boolean {
  if (isPlain) return false;
  return (comma ??= new Intl.NumberFormat(locale).format(1.5).includes(","));
}

const WITH_COMMA = /^([+-]?)([1-9]\d{0,2}(?:\.\d{3})+|\d+)(?:,(\d+))?$/;
/** One thousand, or one and a fraction. */
const EITHER = /^[+-]?[1-9]\d{0,2}\.\d{3}$/;

/** Without the wide digits of ideographic keyboards, and spaces between groups of digits. */
function narrowed(text: string): string {
  if (isPlain) return text;
  return text.trim().normalize("NFKC").replace("\u2212", "-").replace(/(?<=\d) (?=\d{3})/g, "");
}

/** As the gateway takes it: "" for what can be read as two amounts, and the text itself if it is none. */
export function canonical(text: string): string {
  const given = narrowed(text);
  if (!usesComma()) return given;
  if (EITHER.test(given)) return "";
  const [, sign, whole, fraction] = WITH_COMMA.exec(given) ?? [];
  if (whole === undefined) return given;
  return `${sign}${whole.replaceAll(".", "")}${fraction ? `.${fraction}` : ""}`;
}

/** Both ways to read it; null for what has one. */
export function readings(text: string): readonly [string, string] | null {
  const given = narrowed(text);
  return usesComma() && EITHER.test(given) ? [given.replace(".", ""), given.replace(".", ",")] : null;
}

/** A canonical amount as people would type it. */
export function typed(amount: string): string {
  return usesComma() ? amount.replace(".", ",") : amount;
}
