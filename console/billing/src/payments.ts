import { AutoRecharge } from "../generated/AutoRecharge";
import { BillingPortal } from "../generated/BillingPortal";
import { TopUp } from "../generated/TopUp";
import { account } from "./account";
import { written } from "./address";
import { wrongReading } from "./checks";
import { Refused, ask } from "./gateway";
import { nanosOf, parseNanos } from "./money";
import { address } from "./navigation";
import { PAID } from "./paid";
import type { Complaint } from "./parts/complained";
import { m } from "./texts/managing";
import { canonical } from "./typed";

// What a key of the scope `manage` may do: add credit by Stripe Checkout, and set auto-recharge.

const CENT = 10_000_000n;
const LEAST = "5.00";
const MOST = "10000.00";

/** Why an amount, as it was typed, can't be what a card is charged; empty where it can. */
export function wrongPayment(amount: string): string {
  const nanos = parseNanos(canonical(amount));
  if (nanos === null || nanos % CENT !== 0n) return wrongReading(amount) || m.wholeCents;
  return nanos < nanosOf(LEAST) || nanos > nanosOf(MOST) ? m.payable : "";
}

/** What kept a payment from being made, in the reader's language where the page knows it. */
export function unpaid(error: unknown): Complaint {
  const isOff = error instanceof Refused && error.reason === "PAYMENTS_NOT_SET_UP";
  return isOff ? m.notSetUp : (error as Error);
}

/** A page that is not served by HTTPS has no crypto.randomUUID. */
export function newKey(): string {
  return crypto.getRandomValues(new Uint32Array(4)).join("-");
}

/** Goes on at Stripe. The same key and amount, tried again, are the same payment as long as it can be paid. */
export async function topUp(amount: string, idempotencyKey: string): Promise<void> {
  const page = location.origin + location.pathname;
  const input = {
    idempotencyKey: `${idempotencyKey} ${amount}`,
    amount,
    successUrl: page + PAID,
    cancelUrl: page + written(address.peek()),
  };
  const { checkoutUrl, replayed, state } = (await ask(TopUp, { input })).createTopUp;
  if (replayed && state !== "OPEN") return topUp(amount, newKey());
  if (!checkoutUrl.startsWith("https:")) throw new Error(m.noPayAddress);
  location.assign(checkoutUrl);
}

/** Goes on at Stripe, where the saved card is changed. */
export async function openPortal(): Promise<void> {
  const returnUrl = location.origin + location.pathname + written(address.peek());
  const { url } = (await ask(BillingPortal, { input: { idempotencyKey: newKey(), returnUrl } })).createBillingPortalSession;
  if (!url.startsWith("https:")) throw new Error(m.noCardAddress);
  location.assign(url);
}

export interface RechargeSettings {
  readonly enabled: boolean;
  readonly threshold: string;
  readonly amount: string;
  readonly dailyLimit: string;
}

export async function setAutoRecharge(settings: RechargeSettings, idempotencyKey: string): Promise<void> {
  const amounts = settings.enabled ? settings : { enabled: false };
  const key = `${idempotencyKey} ${JSON.stringify(amounts)}`;
  const { autoRecharge } = (await ask(AutoRecharge, { input: { ...amounts, idempotencyKey: key } })).setAutoRecharge;
  const shown = account.peek();
  if (shown) account.value = { ...shown, autoRecharge };
}
