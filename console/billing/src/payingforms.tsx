import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { account, currency } from "./account";
import { announce } from "./announcer";
import { wrongReading } from "./checks";
import { moneyText, parseNanos } from "./money";
import { form } from "./paid";
import { type Complaint, Complained } from "./parts/complained";
import { Dialog, closeDialog } from "./parts/dialog";
import { type RechargeSettings, newKey, openPortal, setAutoRecharge, topUp, unpaid, wrongPayment } from "./payments";
import { Outdated } from "./post";
import { RechargeState } from "./rechargenote";
import type { Account } from "./rows";
import { m } from "./texts/managing";
import { canonical, typed } from "./typed";

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
  const complaint = useSignal<Complaint>("");
  const isBusy = useSignal(false);

  async function submit() {
    if (isBusy.value) return;
    complaint.value = wrong();
    if (complaint.value) return;
    isBusy.value = true;
    try {
      await run(key);
    } catch (error) {
      if (!(error instanceof Outdated)) complaint.value = unpaid(error);
    }
    isBusy.value = false;
  }

  return (
    <Dialog title={title} close={close} submit={() => void submit()}>
      {children}
      <Complained of={complaint.value} />
      <button type="submit" class="primary" aria-disabled={isBusy.value}>
        {action}
      </button>
    </Dialog>
  );
}

/** Of whole dollars, without cents. */
function wholeText(amount: string): string {
  return moneyText(amount, currency.value).replace(/[.,]00(?!\d)/, "");
}

export function TopUpForm() {
  const amount = useSignal(typed(SUGGESTED[0] as string));
  return (
    <Form
      title={m.addCredit}
      action={m.toStripe}
      wrong={() => wrongPayment(amount.value)}
      run={(key) => topUp(canonical(amount.value), key)}
    >
      <Amount label={m.topUpAmount} value={amount.value} change={(text) => (amount.value = text)} />
      <div class="buttons">
        {SUGGESTED.map((text) => (
          <button key={text} type="button" aria-pressed={text === canonical(amount.value)} onClick={() => (amount.value = typed(text))}>
            {wholeText(text)}
          </button>
        ))}
      </div>
      <p class="muted">{m.topUpNote}</p>
    </Form>
  );
}

type Amounts = Omit<RechargeSettings, "enabled">;

function converted({ threshold, amount, dailyLimit }: Amounts, convert: (amount: string) => string): Amounts {
  return { threshold: convert(threshold), amount: convert(amount), dailyLimit: convert(dailyLimit) };
}

/** The settings' amounts are as they were typed. */
function wrongSettings({ enabled, threshold, amount, dailyLimit }: RechargeSettings): string {
  if (!enabled) return "";
  const [least, most] = [parseNanos(canonical(threshold)), parseNanos(canonical(dailyLimit))];
  if (least === null || least < 0n || most === null) {
    return wrongReading(threshold) || wrongReading(dailyLimit) || m.wrongSettings;
  }
  const wrong = wrongPayment(amount);
  return wrong || (most < (parseNanos(canonical(amount)) ?? 0n) ? m.lowLimit : "");
}

function CardChange() {
  const complaint = useSignal<Complaint>("");
  const open = () => openPortal().catch((error: unknown) => (complaint.value = unpaid(error)));
  return (
    <>
      <button type="button" onClick={() => void open()}>
        {m.changeCard}
      </button>
      <Complained of={complaint.value} />
    </>
  );
}

export function RechargeForm() {
  const { autoRecharge: before, hasSavedCard } = account.peek() as Account;
  const isOn = before ? before.state !== "OFF" : hasSavedCard;
  const settings = useSignal<RechargeSettings>({ ...converted(before ?? AT_FIRST, typed), enabled: isOn });
  const set = (some: Partial<RechargeSettings>) => (settings.value = { ...settings.value, ...some });
  const { enabled, threshold, amount, dailyLimit } = settings.value;

  async function save(key: string) {
    const { enabled, threshold, amount, dailyLimit } = settings.value;
    if (before || enabled) {
      await setAutoRecharge({ enabled, ...converted({ threshold, amount, dailyLimit }, canonical) }, key);
      announce(m.rechargeSaved);
    }
    closeDialog();
  }

  return (
    <Form title={m.autoRecharge} action={m.save} wrong={() => wrongSettings(settings.value)} run={save}>
      <label class="check">
        <input type="checkbox" checked={enabled} onChange={() => set({ enabled: !enabled })} />
        {m.chargeCard}
      </label>
      {hasSavedCard ? (
        <>
          {before && isOn && before.blockedBy && (
            <p>
              <RechargeState />
            </p>
          )}
          <CardChange />
        </>
      ) : (
        <p class="muted">{m.noCard}</p>
      )}
      {enabled && (
        <>
          <Amount label={m.threshold} value={threshold} change={(text) => set({ threshold: text })} />
          <Amount label={m.eachTime} value={amount} change={(text) => set({ amount: text })} />
          <Amount label={m.dailyLimit} value={dailyLimit} change={(text) => set({ dailyLimit: text })} />
        </>
      )}
    </Form>
  );
}
