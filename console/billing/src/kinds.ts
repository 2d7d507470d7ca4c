import type { RefType, TransactionSource, TransactionType, UsageCategory, UsageOrigin } from "../generated/ConsolePage";

// The words of the schema as people read them.

export const TYPES: Record<TransactionType, string> = {
  GPU_USAGE: "Instances, API calls",
  STORAGE_BILLING: "Storage",
  REFUND: "Refund",
  TOPUP: "Top-up",
  AUTO_RECHARGE: "Auto-recharge",
  BONUS: "Bonus",
  ADMIN_CORRECTION: "Correction",
  CONTRACT_GRANT: "Contract grant",
  BONUS_GRANT: "Bonus grant",
};

/** A row's type in a word: a deduction is told apart by its cause. */
export function typeOf({ type, refType }: { readonly type: TransactionType; readonly refType: RefType | null }): string {
  if (type !== "GPU_USAGE") return TYPES[type];
  if (refType === "API_USAGE") return "API calls";
  return refType ? "Instance" : "Deduction";
}

export const SOURCES: Record<TransactionSource, string> = {
  STRIPE_WEBHOOK: "A Stripe event",
  METERING: "Metering of instances and API calls",
  STORAGE_WORKER: "The daily storage billing",
  PROMOTION: "A promotion",
  ADMIN_CORRECTION: "The operations team, by hand",
  CONTRACT: "A signed contract",
};

export const REF_TYPES: Record<RefType, string> = {
  GPU_INSTANCE: "GPU instance",
  INFERENCE_INSTANCE: "Inference instance",
  VOLUME: "Cloud drive",
  SHARED_FILESYSTEM: "Shared filesystem",
  API_USAGE: "API usage batch",
  STRIPE_CHECKOUT_SESSION: "Stripe Checkout session",
  STRIPE_PAYMENT_INTENT: "Stripe payment",
  STRIPE_REFUND: "Stripe refund",
  STRIPE_INVOICE: "Stripe invoice",
  CONTRACT: "Contract",
  PROMOTION: "Promotion",
};

/** The kinds of resources that have a charge. */
export const RESOURCE_TYPES = ["GPU_INSTANCE", "INFERENCE_INSTANCE", "VOLUME", "SHARED_FILESYSTEM"] as const;

export const CATEGORIES: Record<UsageCategory, string> = {
  CHAT: "Chat",
  EMBEDDING: "Embedding",
  IMAGE: "Image",
  AUDIO: "Audio",
  VIDEO: "Video",
};

export const ORIGINS: Record<UsageOrigin, string> = {
  PLATFORM: "Platform",
  USER_INFERENCE: "Own inference",
};

/** The keys of such a table, as what they are. */
export function wordsOf<Word extends string>(table: Record<Word, string>): Word[] {
  return Object.keys(table) as Word[];
}

/** As REST, exports and the documentation spell it. */
export function spelled(word: string): string {
  return word.toLowerCase();
}
