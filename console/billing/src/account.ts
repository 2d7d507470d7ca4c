import { computed, signal } from "@preact/signals";
import type { Account, Viewer } from "./rows";

// Who looks at whose money.

export const viewer = signal<Viewer | null>(null);
export const account = signal<Account | null>(null);

export const currency = computed(() => account.value?.currency ?? "USD");

/** The key may create keys and set limits. */
export const mayManage = computed(() => viewer.value?.scope === "MANAGE" || viewer.value?.scope === "OPERATOR");

/** The key sees more than one account. */
export const mayChoose = computed(() => viewer.value?.scope === "OPERATOR" || viewer.value?.scope === "SERVICE");
