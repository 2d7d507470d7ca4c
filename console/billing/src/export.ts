import { account } from "./account";
import type { TransactionsView, UsageView } from "./address";
import { daysOf } from "./daterange";
import { postForKey } from "./gateway";
import { spelled } from "./kinds";
import { dayAfter } from "./times";

// CSV of the whole filter. The browser follows a link that is good for some minutes and holds no key.

function addressOf(path: string, parameters: readonly (readonly [string, string])[]): string {
  const given = [["account", account.peek()?.id ?? ""] as const, ...parameters].filter(([, value]) => value);
  return `${path}?${new URLSearchParams(given.map(([name, value]) => [name, value]))}`;
}

export function transactionsExport(view: TransactionsView): string {
  const end = view.to && dayAfter(view.to, 1);
  return addressOf("/billing/transactions.csv", [
    ["types", view.types.map(spelled).join(",")],
    ["created_at_gte", view.from && `${view.from}T00:00:00Z`],
    ["created_at_lt", end && `${end}T00:00:00Z`],
    ["amount_gte", view.least],
    ["amount_lte", view.most],
    ["search", view.search],
    ["ref_type", spelled(view.refType)],
    ["ref_id", view.refId],
  ]);
}

export function usageExport(view: UsageView): string {
  const { from, to } = daysOf(view);
  return addressOf("/billing/usage.csv", [
    ["day_gte", from],
    ["day_lt", dayAfter(to, 1)],
    ["models", view.models.join(",")],
  ]);
}

/** Raises what kept the link from being made; a download that fails later is the browser's to tell. */
export async function download(address: string): Promise<void> {
  const link = document.createElement("a");
  link.href = (await postForKey<{ address: string }>("/billing/export-links", { address })).address;
  link.download = "";
  link.click();
}
