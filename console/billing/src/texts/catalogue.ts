import type { First } from "./en/first";
import type { Managing } from "./en/managing";
import type { Panels } from "./en/panels";

/** All texts of a language. English comes in two parts: the first with the page, the rest when a late part needs it. Other
 * languages are fetched as one. */
export interface Catalogue {
  readonly first: First;
  readonly panels: Panels;
  readonly managing: Managing;
}
