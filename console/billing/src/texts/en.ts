import { managing } from "./en/managing";
import { panels } from "./en/panels";

/** The English texts of the parts that are fetched late. Readers of another language do not fetch them. */
export const english = { panels, managing };
