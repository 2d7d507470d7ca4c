/** The languages of the page, each by its own name. */
export const LANGUAGES = { en: "English", de: "Deutsch", ja: "日本語" };

export type Language = keyof typeof LANGUAGES;

const STORED = "billing.language";

/** Of a name such as de-AT. */
export function languageOf(name: string | null): Language | undefined {
  const word = name?.toLowerCase().split("-")[0] ?? "";
  return word in LANGUAGES ? (word as Language) : undefined;
}

/** Null where a browser keeps nothing, and outside of browsers. */
function attempted(read: () => string | null): string | null {
  try {
    return read();
  } catch {
    return null;
  }
}

/** The address says `lang`. */
export const asked = languageOf(attempted(() => new URLSearchParams(location.search).get("lang")));

/** What the reader may read, the most wanted first. */
export const wanted: readonly string[] = typeof navigator === "undefined" ? [] : navigator.languages;

export const language: Language =
  asked ?? [attempted(() => localStorage.getItem(STORED)), ...wanted].map(languageOf).find(Boolean) ?? "en";

/** For what the gateway says, which is English, within a page of another language. */
export const english = language === "en" ? undefined : "en";

/** Whether the browser keeps the choice. */
export function keepLanguage(chosen: Language): boolean {
  try {
    localStorage.setItem(STORED, chosen);
    return true;
  } catch {
    return false;
  }
}
