import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { account, currency } from "./account";
import { announce } from "./announcer";
import { moneyText, parseNanos } from "./money";
import { form } from "./paid";
import { Dialog, closeDialog } from "./parts/dialog";
import { type RechargeSettings, newKey, openPortal, setAutoRecharge, topUp, wrongPayment } from "./payments";
import { Outdated } from "./post";
import type { Account } from "./rows";

const SUGGESTED = ["25.00", "50.00", "100.00", "250.00"];
const AT_FIRST = { threshold: "20.00", amount: "50.00", dailyLimit: "200.00" };

interface AmountProps {
  readonly label: string;
  readonly value: string;
  readonly change: (amount: string) => void;
}

export function Amount({ label, value, change }: AmountProps) {
  return (
    <label class="field">
      {label}
      <input inputMode="decimal" value={value} onInput={(event) => change(event.currentTarget.value.trim())} />
    </label>
  );
}

interface FormProps {
  readonly title: string;
  readonly action: string;
  readonly close?: () => void;
  /** Why it can't be done as it stands; empty where it can. */
  readonly wrong: () => string;
  readonly run: (idempotencyKey: string) => Promise<void>;
  readonly children: ComponentChildren;
}

const closePaying = () => (form.value = "");

/** A dialog that says what is wrong, before it asks the gateway and after. */
export function Form({ title, action, close = closePaying, wrong, run, children }: FormProps) {
  // One for the dialog: what is tried again after a break is done once.
  const [key] = useState(newKey);
  const complaint = useSignal("");
  const isBusy = useSignal(false);

  async function submit() {
    if (isBusy.value) return;
    complaint.value = wrong();
    if (complaint.value) return;
    isBusy.value = true;
    try {
      await run(key);
    } catch (error) {
      if (!(error instanceof Outdated)) complaint.value = (error as Error).message;
    }
    isBusy.value = false;
  }

  return (
    <Dialog title={title} close={close} submit={() => void submit()}>
      {children}
      {complaint.value && (
        <p class="error" role="alert">
          {complaint}
        </p>
      )}
      <button type="submit" class="primary" aria-disabled={isBusy.value}>
        {action}
      </button>
    </Dialog>
  );
}

export function TopUpForm() {
  const amount = useSignal(SUGGESTED[0] as string);
  return (
    <Form
      title="Add credit"
      action="Continue to Stripe"
      wrong={() => wrongPayment(amount.value)}
      run={(key) => topUp(amount.value, key)}
    >
      <Amount label="Amount in US dollars, before tax" value={amount.value} change={(text) => (amount.value = text)} />
      <div class="buttons">
        {SUGGESTED.map((text) => (
          <button key={text} type="button" aria-pressed={text === amount.value} onClick={() => (amount.value = text)}>
            {moneyText(text, currency.value).replace(".00", "")}
          </button>
        ))}
      </div>
      <p class="muted">You pay at Stripe. The credit is here as soon as Stripe confirms the payment.</p>
    </Form>
  );
}

function wrongSettings({ enabled, threshold, amount, dailyLimit }: RechargeSettings): string {
  if (!enabled) return "";
  const [least, most] = [parseNanos(threshold), parseNanos(dailyLimit)];
  if (least === null || least < 0n || most === null) return "Enter an amount such as 20.00.";
  const wrong = wrongPayment(amount);
  return wrong || (most < (parseNanos(amount) ?? 0n) ? "The daily limit must be at least one charge." : "");
}

function CardChange() {
  const complaint = useSignal("");
  const open = () => openPortal().catch((error: Error) => (complaint.value = error.message));
  return (
    <>
      <button type="button" onClick={() => void open()}>
        Change the card at Stripe
      </button>
      {complaint.value && (
        <p class="error" role="alert">
          {complaint}
        </p>
      )}
    </>
  );
}

export function RechargeForm() {
  const { autoRecharge: before, hasSavedCard } = account.peek() as Account;
  const isOn = before ? before.state !== "OFF" : hasSavedCard;
  const settings = useSignal<RechargeSettings>({ ...(before ?? AT_FIRST), enabled: isOn });
  const set = (some: Partial<RechargeSettings>) => (settings.value = { ...settings.value, ...some });
  const { enabled, threshold, amount, dailyLimit } = settings.value;

  async function save(key: string) {
    const { enabled, threshold, amount, dailyLimit } = settings.value;
    if (before || enabled) {
      await setAutoRecharge({ enabled, threshold, amount, dailyLimit }, key);
      announce("Auto-recharge is saved.");
    }
    closeDialog();
  }

  return (
    <Form title="Auto-recharge" action="Save" wrong={() => wrongSettings(settings.value)} run={save}>
      <label class="check">
        <input type="checkbox" checked={enabled} onChange={() => set({ enabled: !enabled })} />
        Charge the card that the last top-up saved
      </label>
      {hasSavedCard ? (
        <CardChange />
      ) : (
        <p class="muted">No card is saved. Add credit once, and Stripe Checkout saves the card.</p>
      )}
      {enabled && (
        <>
          <Amount label="When the balance falls below" value={threshold} change={(text) => set({ threshold: text })} />
          <Amount label="Charge each time" value={amount} change={(text) => set({ amount: text })} />
          <Amount label="At most on a UTC day" value={dailyLimit} change={(text) => set({ dailyLimit: text })} />
        </>
      )}
    </Form>
  );
}
