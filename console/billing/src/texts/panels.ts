import { type Panels, panels } from "./en/panels";
import { spoken } from "./spoken";

/** The texts of the tabs that are fetched late. */
export const p: Panels = spoken?.panels ?? panels;
