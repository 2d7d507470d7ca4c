import type { TransactionsView, UsageView } from "./address";
import { account } from "./account";
import { daysOf } from "./criteria";
import { Outdated, Refused, Unreachable, post } from "./gateway";
import { spelled } from "./kinds";
import { key, signOut } from "./session";
import { dayAfter } from "./times";

// CSV of the whole filter. The browser follows a link that is good for some minutes and holds no key.

function addressOf(path: string, parameters: readonly (readonly [string, string])[]): string {
  const given = [["account", account.peek()?.id ?? ""] as const, ...parameters].filter(([, value]) => value);
  return `${path}?${new URLSearchParams(given.map(([name, value]) => [name, value]))}`;
}

export function transactionsExport(view: TransactionsView): string {
  return addressOf("/billing/transactions.csv", [
    ["types", view.types.map(spelled).join(",")],
    ["created_at_gte", view.from && `${view.from}T00:00:00Z`],
    ["created_at_lt", view.to && `${dayAfter(view.to, 1)}T00:00:00Z`],
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
  ]);
}

interface Problem {
  readonly error: { readonly code: string; readonly message: string; readonly requestId: string };
}

async function linkTo(address: string): Promise<string> {
  const bearer = key.peek();
  if (bearer === null) throw new Outdated();
  const response = await post("/billing/export-links", { address }, bearer);
  if (response.ok) return ((await response.json()) as { address: string }).address;
  const { error } = (await response.json().catch(() => {
    throw new Unreachable(`The billing service answered with status ${response.status}.`);
  })) as Problem;
  if (error.code === "UNAUTHENTICATED") {
    signOut(`The key was refused: ${error.message}.`);
    throw new Outdated();
  }
  throw new Refused(error.code, error.message, error.requestId);
}

/** Raises what kept the link from being made; a download that fails later is the browser's to tell. */
export async function download(address: string): Promise<void> {
  const link = document.createElement("a");
  link.href = await linkTo(address);
  link.download = "";
  link.click();
}
