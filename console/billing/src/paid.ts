import { signal } from "@preact/signals";

// What the first view knows of paying: the rest comes with the forms.

/** The form that is open. */
export const form = signal<"" | "topup" | "recharge">("");

/** Checkout has led back here: the row is on its way. */
export const hasPaid = signal(false);

/** What Checkout adds to the page's address. */
export const PAID = "?paid=yes";

export function noticeReturn(): void {
  if (location.search !== PAID) return;
  hasPaid.value = true;
  history.replaceState(null, "", location.pathname);
}
