import type { First } from "./en/first";
import type { Managing } from "./en/managing";
import type { Panels } from "./en/panels";

/** All texts of a language. English comes in these parts; the others are fetched as one. */
export interface Catalogue {
  readonly first: First;
  readonly panels: Panels;
  readonly managing: Managing;
}
