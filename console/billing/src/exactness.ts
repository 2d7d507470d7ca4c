import { signal } from "@preact/signals";
import { showCents, storedExactness } from "./opening";

// Whether lists show amounts with every digit, or in cents. The browser keeps it; the first script reads it.

export const isExact = signal(storedExactness());

export function setExact(exact: boolean): void {
  isExact.value = exact;
  showCents(!exact);
  try {
    localStorage.setItem("billing.exact", exact ? "yes" : "");
  } catch {
    // A browser that keeps nothing: it holds until the page is left.
  }
}
