import type { ComponentChildren } from "preact";
import { spelled } from "../kinds";
import { moment } from "./moment";

export interface Entry {
  readonly id: string;
  readonly at: string;
  readonly act: string;
  readonly actor: string;
  readonly scope: string | null;
  readonly owner: string | null;
  readonly keyPrefix: string | null;
  readonly description: string | null;
  readonly oldValue: string | null;
  readonly newValue: string | null;
}

const ACTS: Record<string, string> = {
  createAccount: "Account opened",
  suspendAccount: "Account suspended",
  reactivateAccount: "Account reactivated",
  correctBalance: "Balance corrected",
  grantContract: "Contract granted",
  createApiKey: "Key created",
  rotateApiKey: "Key rotated",
  revokeApiKey: "Key revoked",
  createSignInLink: "Sign-in link created",
  setSpendLimit: "Spend limit set",
  deleteSpendLimit: "Spend limit deleted",
  setAutoRecharge: "Auto-recharge set",
  linkStripeCustomer: "Stripe customer linked",
  dismissStripeEvent: "Stripe event dismissed",
};

function Values({ oldValue, newValue }: Entry) {
  if (oldValue === null && newValue === null) return null;
  return (
    <p>
      {oldValue ?? "none"} → {newValue ?? "none"}
    </p>
  );
}

interface Props {
  readonly entry: Entry;
  /** Beside the name of the act. */
  readonly children?: ComponentChildren;
}

/** What was done, by whom, and what it changed. */
export function EntryItem({ entry, children }: Props) {
  const { at, act, actor, scope, owner, keyPrefix, description } = entry;
  return (
    <li>
      <p>
        <strong>{ACTS[act] ?? act}</strong> {keyPrefix && <code>{keyPrefix}</code>} {children}
      </p>
      {description && <p>{description}</p>}
      <Values {...entry} />
      <p class="muted">
        {moment(at)} UTC by <code>{actor}</code>
        {scope && ` (${[owner, `${spelled(scope)} key`].filter(Boolean).join(", ")})`}
      </p>
    </li>
  );
}
