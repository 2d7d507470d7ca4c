import { type ReadonlySignal, signal, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { CorrectBalance } from "../generated/CorrectBalance";
import { Desk as DeskQuestion, type DeskQuery } from "../generated/Desk";
import { DismissEvent } from "../generated/DismissEvent";
import { Find, type FindQuery } from "../generated/Find";
import { GrantContract } from "../generated/GrantContract";
import { Reactivate } from "../generated/Reactivate";
import { Suspend } from "../generated/Suspend";
import { account } from "./account";
import { act, changes } from "./acts";
import { NO_FILTER } from "./address";
import { announce } from "./announcer";
import { wrongReading } from "./checks";
import { ask } from "./gateway";
import { english } from "./language";
import { amountOf, nanosOf, parseNanos } from "./money";
import { go, openAccount, openTransaction } from "./navigation";
import { open } from "./page";
import { AccountBox } from "./parts/accountbox";
import { closeDialog } from "./parts/dialog";
import { EntryItem } from "./parts/entries";
import { Failed } from "./parts/failed";
import { moment } from "./parts/moment";
import { Money } from "./parts/money";
import { Text } from "./parts/text";
import { Amount, Form } from "./payingforms";
import { Outdated } from "./post";
import { m } from "./texts/managing";
import { t } from "./texts/spoken";
import { canonical } from "./typed";

type FoundObject = FindQuery["find"][number];
type Event = DeskQuery["waiting"]["nodes"][number];
type Audit = DeskQuery["auditEntries"];

/* Acts on an account, each with a preview. */

interface Written {
  readonly type: keyof typeof t.types;
  readonly amount: string;
  readonly description: string;
}

/** The rows as they would be written now. Nothing is written yet, and the balance may change until it is. */
function Preview({ rows }: { readonly rows: readonly Written[] }) {
  let balance = nanosOf(account.value?.balance ?? "0.00");
  return (
    <div class="preview" role="group" aria-label={m.preview}>
      <p class="muted">{m.previewNote}</p>
      {rows.map(({ type, amount, description }) => {
        balance += nanosOf(amount);
        return (
          <p key={type}>
            {m.previewRow(t.types[type], <Money amount={amount} signed />, <Money amount={amountOf(balance)} />)}
            <br />
            {description}
          </p>
        );
      })}
    </div>
  );
}

const valid = (text: string) => (parseNanos(canonical(text)) ?? 0n) !== 0n;
const opened = signal<"" | "correct" | "grant" | "status">("");
const close = () => (opened.value = "");
const accountId = () => account.peek()?.id ?? "";

/** What was done last with an account, for those who see. */
const told = signal({ account: "", what: "" });

async function done(what: string): Promise<void> {
  told.value = { account: accountId(), what };
  announce(what);
  closeDialog();
  await open();
}

function CorrectForm() {
  const amount = useSignal("");
  const description = useSignal("");
  const corrects = useSignal("");

  async function run(dialog: string) {
    const input = { accountId: accountId(), amount: canonical(amount.value), description: description.value };
    await act(CorrectBalance, dialog, { ...input, corrects: corrects.value.trim() || null });
    await done(m.corrected);
  }

  function wrong() {
    if (!valid(amount.value)) return wrongReading(amount.value) || m.notZero;
    return description.value.trim() ? "" : m.sayWhyToCustomer;
  }

  return (
    <Form title={m.correct} action={m.writeCorrection} close={close} wrong={wrong} run={run}>
      <Amount label={m.signedAmount} value={amount.value} change={(text) => (amount.value = text)} />
      <Text label={m.reasonRead} value={description} />
      <Text label={m.correctedRow} value={corrects} placeholder="txn_7_12" />
      {valid(amount.value) && (
        <Preview rows={[{ type: "ADMIN_CORRECTION", amount: canonical(amount.value), description: description.value }]} />
      )}
    </Form>
  );
}

function GrantForm() {
  const contract = useSignal("");
  const amount = useSignal("");
  const bonus = useSignal("");

  async function run(dialog: string) {
    const input = { accountId: accountId(), contract: contract.value.trim(), amount: canonical(amount.value) };
    await act(GrantContract, dialog, { ...input, bonus: canonical(bonus.value) || null });
    await done(m.granted);
  }

  function wrong() {
    if (!contract.value.trim()) return m.nameContract;
    const nanos = (text: string) => parseNanos(canonical(text)) ?? 0n;
    const [cash, extra] = [nanos(amount.value), bonus.value ? nanos(bonus.value) : 1n];
    if (cash > 0n && extra > 0n) return "";
    return wrongReading(amount.value) || wrongReading(bonus.value) || m.aboveZero;
  }

  const described = `Enterprise contract ${contract.value}`;
  const rows: Written[] = [{ type: "CONTRACT_GRANT", amount: canonical(amount.value), description: described }];
  if (valid(bonus.value)) rows.push({ type: "BONUS_GRANT", amount: canonical(bonus.value), description: described });
  return (
    <Form title={m.grant} action={m.writeGrant} close={close} wrong={wrong} run={run}>
      <Text label={m.contract} value={contract} placeholder="EC-2041" />
      <Amount label={m.cashPart} value={amount.value} change={(text) => (amount.value = text)} />
      <Amount label={m.bonus} value={bonus.value} change={(text) => (bonus.value = text)} />
      {valid(amount.value) && <Preview rows={rows} />}
    </Form>
  );
}

function StatusForm() {
  const reason = useSignal("");
  const isSuspended = account.value?.status === "SUSPENDED";

  async function run(dialog: string) {
    const input = { accountId: accountId(), reason: reason.value };
    await (isSuspended ? act(Reactivate, dialog, input) : act(Suspend, dialog, input));
    await done(isSuspended ? m.isReactivated : m.isSuspended);
  }

  return (
    <Form
      title={isSuspended ? m.reactivateAccount : m.suspendAccount}
      action={isSuspended ? m.reactivate : m.suspend}
      close={close}
      wrong={() => (reason.value.trim() ? "" : m.sayWhy)}
      run={run}
    >
      <Text label={m.reasonKept} value={reason} />
      <div class="preview" role="group" aria-label={m.preview}>
        <p class="muted">{m.noRow}</p>
        <p>{isSuspended ? m.toActive : m.toSuspended}</p>
      </div>
    </Form>
  );
}

/** What an operator does with the account that is shown. */
export function Acts() {
  const isSuspended = account.value?.status === "SUSPENDED";
  return (
    <section class="limits" aria-labelledby="acts">
      <h2 id="acts">{m.operator}</h2>
      {told.value.account === account.value?.id && <p class="notice">{told.value.what}</p>}
      <div class="buttons">
        <button type="button" onClick={() => (opened.value = "correct")}>
          {m.toCorrect}
        </button>
        <button type="button" onClick={() => (opened.value = "grant")}>
          {m.toGrant}
        </button>
        <button type="button" onClick={() => (opened.value = "status")}>
          {isSuspended ? m.toReactivate : m.toSuspend}
        </button>
      </div>
      {opened.value === "correct" && <CorrectForm />}
      {opened.value === "grant" && <GrantForm />}
      {opened.value === "status" && <StatusForm />}
    </section>
  );
}

/* The desk, where no account is shown. */

/** What it is, in a line, and the way to it. */
function describe(one: FoundObject): readonly [string, () => void] {
  const { account: of, transaction, charge, authorization, spendLimit, apiKey, stripeEvent } = one;
  const show = () => of && openAccount(of.id);
  const showTab = (tab: "usage" | "keys") => () => of && go({ account: of.id, tab });
  if (transaction) return [`${transaction.id}: ${transaction.description}`, () => openTransaction(transaction.id)];
  if (charge) {
    const filter = { ...NO_FILTER, refType: charge.refType, refId: charge.refId };
    return [
      `${charge.id}: ${m.foundCharge(charge.refId, charge.net, charge.state.toLowerCase())}`,
      () => of && go({ account: of.id, tab: "transactions", transactions: filter }),
    ];
  }
  if (authorization) return [`${authorization.id}: ${authorization.amount}, ${authorization.state.toLowerCase()}`, show];
  if (spendLimit) return [`${spendLimit.id}: ${m.foundLimit(spendLimit.amount, spendLimit.window.toLowerCase())}`, showTab("usage")];
  if (apiKey) return [`${apiKey.prefix}: ${m.foundKey(apiKey.scope.toLowerCase(), apiKey.owner)}`, showTab("keys")];
  if (stripeEvent) return [`${stripeEvent.id}: ${stripeEvent.type}, ${stripeEvent.state.toLowerCase()}`, show];
  return [`${of?.id}: ${m.foundBalance(of?.balance ?? "")}`, show];
}

function FoundItem({ one }: { readonly one: FoundObject }) {
  const [text, show] = describe(one);
  return (
    <li>
      <p>
        <strong>{one.account?.name ?? m.noAccountOfIt}</strong> {text}
      </p>
      {one.stripeEvent?.reason && <p class="muted" lang={english}>{one.stripeEvent.reason}</p>}
      {one.account && (
        <button type="button" aria-label={m.openOf(text.split(":")[0] ?? "")} onClick={show}>
          {m.open}
        </button>
      )}
    </li>
  );
}

/** The way to whatever is asked about: accounts by their names, and all else by its id. */
export function Finder() {
  const asked = useSignal("");
  const found = useSignal<readonly FoundObject[] | null>(null);
  const failure = useSignal<Error | null>(null);

  async function find(text: string) {
    asked.value = text;
    failure.value = null;
    try {
      found.value = (await ask(Find, { id: text })).find;
      announce(found.value.length ? m.found(found.value.length) : m.nothingFound);
    } catch (error) {
      if (!(error instanceof Outdated)) failure.value = error as Error;
    }
  }

  return (
    <section class="choosing" aria-labelledby="find">
      <h2 id="find">{m.find}</h2>
      <p class="muted">{m.findNote}</p>
      <AccountBox label={m.account} placeholder={m.nameOrId} choose={openAccount} find={(text) => void find(text)} />
      {failure.value && <Failed error={failure.value} again={() => void find(asked.value)} />}
      {found.value?.length === 0 && <p>{m.nothingFound}</p>}
      <ul class="entries">
        {found.value?.map((one, index) => (
          <FoundItem key={index} one={one} />
        ))}
      </ul>
    </section>
  );
}

function DismissForm({ event, away }: { readonly event: Event; readonly away: () => void }) {
  const reason = useSignal("");

  async function run(dialog: string) {
    await act(DismissEvent, dialog, { eventId: event.id, reason: reason.value });
    announce(m.dismissed(event.id));
    closeDialog();
  }

  return (
    <Form
      title={m.dismissAsked(event.id)}
      action={m.dismiss}
      close={away}
      wrong={() => (reason.value.trim() ? "" : m.sayWhy)}
      run={run}
    >
      <p>{m.dismissNote}</p>
      <Text label={m.reason} value={reason} />
    </Form>
  );
}

interface EventsProps {
  readonly title: string;
  readonly events: DeskQuery["waiting"];
}

function Events({ title, events }: EventsProps) {
  const dismissed = useSignal<Event | null>(null);
  const more = BigInt(events.totalCount) - BigInt(events.nodes.length);
  return (
    <section class="limits" aria-label={title}>
      <h2>{title}</h2>
      {events.nodes.length === 0 && <p class="muted">{m.noEvents}</p>}
      <ul class="entries">
        {events.nodes.map((event) => (
          <li key={event.id}>
            <p>
              <strong>{event.type}</strong> <code>{event.id}</code> {event.objectId} {event.account?.id}
            </p>
            <p lang={english}>{event.reason}</p>
            <p class="muted">
              {m.received(moment(event.receivedAt))}
              {event.nextTryAt && m.triedAgain(moment(event.nextTryAt))}
            </p>
            <button type="button" aria-label={m.dismissOf(event.id)} onClick={() => (dismissed.value = event)}>
              {m.toDismiss}
            </button>
          </li>
        ))}
      </ul>
      {more > 0n && <p class="muted">{m.olderEvents(more)}</p>}
      {dismissed.value && <DismissForm event={dismissed.value} away={() => (dismissed.value = null)} />}
    </section>
  );
}

function AuditList({ found, more }: { readonly found: ReadonlySignal<Audit | null>; readonly more: () => void }) {
  return (
    <section class="limits" aria-labelledby="audit">
      <h2 id="audit">{m.audit}</h2>
      <ul class="entries">
        {found.value?.nodes.map((entry) => (
          <EntryItem key={entry.id} entry={entry}>
            {entry.account && (
              <button type="button" class="plain" onClick={() => entry.account && openAccount(entry.account.id)}>
                {entry.account.id}
              </button>
            )}
          </EntryItem>
        ))}
      </ul>
      {found.value?.pageInfo.hasNextPage && (
        <div class="buttons">
          <button type="button" onClick={more}>
            {m.showMore}
          </button>
        </div>
      )}
    </section>
  );
}

/** For operators: what waits for a person, and what was done. */
export function Desk() {
  const found = useSignal<DeskQuery | null>(null);
  const audit = useSignal<Audit | null>(null);
  const failure = useSignal<Error | null>(null);

  async function read(after: string | null, signal?: AbortSignal) {
    failure.value = null;
    try {
      const answer = await ask(DeskQuestion, { after }, signal);
      found.value = answer;
      const known = after === null ? [] : (audit.peek()?.nodes ?? []);
      audit.value = { ...answer.auditEntries, nodes: [...known, ...answer.auditEntries.nodes] };
    } catch (error) {
      if (!(error instanceof Outdated)) failure.value = error as Error;
    }
  }

  useEffect(() => {
    const running = new AbortController();
    void read(null, running.signal);
    return () => running.abort();
  }, [changes.value]);

  return (
    <div class="panel desk">
      {failure.value && <Failed error={failure.value} again={() => void read(null)} />}
      {found.value && (
        <>
          <Events title={m.attention} events={found.value.attention} />
          <Events title={m.waiting} events={found.value.waiting} />
          <AuditList found={audit} more={() => void read(audit.peek()?.pageInfo.endCursor ?? null)} />
        </>
      )}
      {!found.value && !failure.value && <div class="bone rows" aria-hidden="true" />}
    </div>
  );
}
