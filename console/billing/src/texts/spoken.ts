import type { Catalogue } from "./catalogue";
import { type First, first } from "./en/first";

/** The texts of the first view, English until others have come. */
export let t: First = first;

/** Null for English. The parts that are fetched later take theirs from it. */
export let spoken: Catalogue | null = null;

/** Before the page is drawn. */
export function speak(catalogue: Catalogue): void {
  spoken = catalogue;
  t = catalogue.first;
}
