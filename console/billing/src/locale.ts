import { language, languageOf, wanted } from "./language";

/** Numbers and dates are those of the page's language, as the reader's own country has them. */
export const locale = wanted.find((name) => languageOf(name) === language) ?? (language === "en" ? "en-US" : language);

/** The browser takes longer to load what Intl needs than to do all else that a first page of rows takes. In the
 * commonest English the same texts are put together here; tests compare them with Intl's. */
export const isPlain = locale === "en-US" || locale === "en";
