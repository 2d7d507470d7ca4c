/** The page is in English, so its numbers and dates are: in the reader's own English, if that is one. */
export const locale =
  (typeof navigator === "undefined" ? [] : navigator.languages).find((name) => /^en\b/i.test(name)) ?? "en-US";
