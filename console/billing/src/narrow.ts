import { signal } from "@preact/signals";

const narrow = matchMedia("screen and (max-width: 40rem)");

/** The page is as narrow as on a phone, where all figures before the rows would fill two screens. */
export const isNarrow = signal(narrow.matches);

narrow.addEventListener("change", () => (isNarrow.value = narrow.matches));
