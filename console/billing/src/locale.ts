/** The page is in English, so its numbers and dates are: in the reader's own English, if that is one. */
export const locale =
  (typeof navigator === "undefined" ? [] : navigator.languages).find((name) => /^en\b/i.test(name)) ?? "en-US";

/** The browser takes longer to load what Intl needs than to do all else that a first page of rows takes. In the
 * commonest English the same texts are put together here; tests compare them with Intl's. */
export const isPlain = locale === "en-US" || locale === "en";
