import type { Catalogue } from "./catalogue";
import { type First, first } from "./en/first";
import type { Managing } from "./en/managing";
import type { Panels } from "./en/panels";

/** The texts of the first view, English until others have come. */
export let t: First = first;

/** The texts of the parts that are fetched late. They are there before a part is drawn, but not while its script is
 * loaded: only functions may read them. */
export let p: Panels;
export let m: Managing;

/** Null for English, and until it has come. */
let spoken: Catalogue | null = null;

export function speakLate({ panels, managing }: Omit<Catalogue, "first">): void {
  p = panels;
  m = managing;
}

/** Before the page is drawn. */
export function speak(catalogue: Catalogue): void {
  spoken = catalogue;
  t = catalogue.first;
  speakLate(catalogue);
}

/** Fetches the texts of late parts. */
export async function lateTexts(): Promise<void> {
  if (!spoken) speakLate((await import("./en")).english);
}
