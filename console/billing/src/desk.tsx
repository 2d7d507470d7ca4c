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
import { counted } from "./counts";
import { ask } from "./gateway";
import { TYPES } from "./kinds";
import { amountOf, nanosOf, parseNanos } from "./money";
import { go, openTransaction } from "./navigation";
import { open } from "./page";
import { closeDialog } from "./parts/dialog";
import { EntryItem } from "./parts/entries";
import { Failed } from "./parts/failed";
import { moment } from "./parts/moment";
import { Money } from "./parts/money";
import { Text } from "./parts/text";
import { Amount, Form } from "./payingforms";
import { Outdated } from "./post";
import { openAccount } from "./switcher";

type FoundObject = FindQuery["find"][number];
type Event = DeskQuery["waiting"]["nodes"][number];
type Audit = DeskQuery["auditEntries"];

/* Acts on an account, each with a preview. */

interface Written {
  readonly type: keyof typeof TYPES;
  readonly amount: string;
  readonly description: string;
}

/** The rows as they would be written now. Nothing is written yet, and the balance may change until it is. */
function Preview({ rows }: { readonly rows: readonly Written[] }) {
  let balance = nanosOf(account.value?.balance ?? "0.00");
  return (
    <div class="preview" role="group" aria-label="Preview">
      <p class="muted">Preview. Nothing is written before you press the button, and the balance may change until then.</p>
      {rows.map(({ type, amount, description }) => {
        balance += nanosOf(amount);
        return (
          <p key={type}>
            {TYPES[type]} <Money amount={amount} signed />, balance after it <Money amount={amountOf(balance)} />
            <br />
            {description}
          </p>
        );
      })}
    </div>
  );
}

const valid = (text: string) => (parseNanos(text) ?? 0n) !== 0n;
const opened = signal<"" | "correct" | "grant" | "status">("");
const close = () => (opened.value = "");
const accountId = () => account.peek()?.id ?? "";

async function done(what: string): Promise<void> {
  announce(what);
  closeDialog();
  await open();
}

function CorrectForm() {
  const amount = useSignal("");
  const description = useSignal("");
  const corrects = useSignal("");

  async function run(dialog: string) {
    const input = { accountId: accountId(), amount: amount.value, description: description.value };
    await act(CorrectBalance, dialog, { ...input, corrects: corrects.value.trim() || null });
    await done("The balance is corrected.");
  }

  function wrong() {
    if (!valid(amount.value)) return "Enter an amount other than zero, such as -1.25.";
    return description.value.trim() ? "" : "Say why: the customer reads it.";
  }

  return (
    <Form title="Correct the balance" action="Write the correction" close={close} wrong={wrong} run={run}>
      <Amount label="Amount, negative to deduct" value={amount.value} change={(text) => (amount.value = text)} />
      <Text label="Reason, which the customer reads" value={description} />
      <Text label="Row that is corrected (optional)" value={corrects} placeholder="txn_7_12" />
      {valid(amount.value) && (
        <Preview rows={[{ type: "ADMIN_CORRECTION", amount: amount.value, description: description.value }]} />
      )}
    </Form>
  );
}

function GrantForm() {
  const contract = useSignal("");
  const amount = useSignal("");
  const bonus = useSignal("");

  async function run(dialog: string) {
    const input = { accountId: accountId(), contract: contract.value.trim(), amount: amount.value };
    await act(GrantContract, dialog, { ...input, bonus: bonus.value || null });
    await done("The contract is granted.");
  }

  function wrong() {
    if (!contract.value.trim()) return "Name the contract.";
    const [cash, extra] = [parseNanos(amount.value) ?? 0n, bonus.value ? (parseNanos(bonus.value) ?? 0n) : 1n];
    return cash > 0n && extra > 0n ? "" : "Enter amounts above zero, such as 1000.00.";
  }

  const described = `Enterprise contract ${contract.value}`;
  const rows: Written[] = [{ type: "CONTRACT_GRANT", amount: amount.value, description: described }];
  if (valid(bonus.value)) rows.push({ type: "BONUS_GRANT", amount: bonus.value, description: described });
  return (
    <Form title="Grant a contract" action="Write the grant" close={close} wrong={wrong} run={run}>
      <Text label="Contract" value={contract} placeholder="EC-2041" />
      <Amount label="Cash part" value={amount.value} change={(text) => (amount.value = text)} />
      <Amount label="Bonus (optional)" value={bonus.value} change={(text) => (bonus.value = text)} />
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
    await done(isSuspended ? "The account is reactivated." : "The account is suspended.");
  }

  return (
    <Form
      title={isSuspended ? "Reactivate the account" : "Suspend the account"}
      action={isSuspended ? "Reactivate" : "Suspend"}
      close={close}
      wrong={() => (reason.value.trim() ? "" : "Say why: it is kept in the audit list.")}
      run={run}
    >
      <Text label="Reason, which the customer does not read" value={reason} />
      <div class="preview" role="group" aria-label="Preview">
        <p class="muted">Preview. No row is written, and the balance stays.</p>
        <p>
          {isSuspended
            ? "suspended → active: the account can open holds again."
            : "active → suspended: no new holds and no renewals. What runs is settled and charged."}
        </p>
      </div>
    </Form>
  );
}

/** What an operator does with the account that is shown. */
export function Acts() {
  const isSuspended = account.value?.status === "SUSPENDED";
  return (
    <section class="limits" aria-labelledby="acts">
      <h2 id="acts">Operator</h2>
      <div class="buttons">
        <button type="button" onClick={() => (opened.value = "correct")}>
          Correct the balance…
        </button>
        <button type="button" onClick={() => (opened.value = "grant")}>
          Grant a contract…
        </button>
        <button type="button" onClick={() => (opened.value = "status")}>
          {isSuspended ? "Reactivate…" : "Suspend…"}
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
      `${charge.id}: ${charge.refId}, net ${charge.net}, ${charge.state.toLowerCase()}`,
      () => of && go({ account: of.id, tab: "transactions", transactions: filter }),
    ];
  }
  if (authorization) return [`${authorization.id}: ${authorization.amount}, ${authorization.state.toLowerCase()}`, show];
  if (spendLimit) return [`${spendLimit.id}: ${spendLimit.amount} by ${spendLimit.window.toLowerCase()}`, showTab("usage")];
  if (apiKey) return [`${apiKey.prefix}: ${apiKey.scope.toLowerCase()} key of ${apiKey.owner}`, showTab("keys")];
  if (stripeEvent) return [`${stripeEvent.id}: ${stripeEvent.type}, ${stripeEvent.state.toLowerCase()}`, show];
  return [`${of?.id}: balance ${of?.balance}`, show];
}

function FoundItem({ one }: { readonly one: FoundObject }) {
  const [text, show] = describe(one);
  return (
    <li>
      <p>
        <strong>{one.account?.name ?? "No account"}</strong> {text}
      </p>
      {one.stripeEvent?.reason && <p class="muted">{one.stripeEvent.reason}</p>}
      {one.account && (
        <button type="button" aria-label={`Open ${text.split(":")[0]}`} onClick={show}>
          Open
        </button>
      )}
    </li>
  );
}

function Finder() {
  const text = useSignal("");
  const found = useSignal<readonly FoundObject[] | null>(null);
  const failure = useSignal<Error | null>(null);

  async function find() {
    failure.value = null;
    try {
      found.value = (await ask(Find, { id: text.value.trim() })).find;
      announce(found.value.length ? `Found ${counted(found.value.length, "object")}.` : "Nothing has this id.");
    } catch (error) {
      if (!(error instanceof Outdated)) failure.value = error as Error;
    }
  }

  return (
    <section class="limits" aria-labelledby="find">
      <h2 id="find">Find by an id</h2>
      <form
        class="joined"
        role="search"
        onSubmit={(event) => {
          event.preventDefault();
          if (text.value.trim()) void find();
        }}
      >
        <input
          type="search"
          aria-label="Any id"
          placeholder="txn_7_12, chg_…, cs_…, pi_…, eco_…"
          autocomplete="off"
          spellcheck={false}
          value={text}
          onInput={(event) => (text.value = event.currentTarget.value)}
        />
        <button type="submit">Find</button>
      </form>
      <p class="muted">An account, transaction, charge, authorization, limit, key or external id, or an id of Stripe.</p>
      {failure.value && <Failed error={failure.value} again={() => void find()} />}
      {found.value?.length === 0 && <p>Nothing has this id.</p>}
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
    announce(`The event ${event.id} is dismissed.`);
    closeDialog();
  }

  return (
    <Form
      title={`Dismiss ${event.id}?`}
      action="Dismiss"
      close={away}
      wrong={() => (reason.value.trim() ? "" : "Say why: it is kept in the audit list.")}
      run={run}
    >
      <p>The event is put away for good: nothing of it is written.</p>
      <Text label="Reason" value={reason} />
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
      {events.nodes.length === 0 && <p class="muted">None.</p>}
      <ul class="entries">
        {events.nodes.map((event) => (
          <li key={event.id}>
            <p>
              <strong>{event.type}</strong> <code>{event.id}</code> {event.objectId} {event.account?.id}
            </p>
            <p>{event.reason}</p>
            <p class="muted">
              Received {moment(event.receivedAt)} UTC
              {event.nextTryAt && <>, tried again {moment(event.nextTryAt)}</>}
            </p>
            <button type="button" aria-label={`Dismiss ${event.id}`} onClick={() => (dismissed.value = event)}>
              Dismiss…
            </button>
          </li>
        ))}
      </ul>
      {more > 0n && <p class="muted">And {counted(more, "older event")}.</p>}
      {dismissed.value && <DismissForm event={dismissed.value} away={() => (dismissed.value = null)} />}
    </section>
  );
}

function AuditList({ found, more }: { readonly found: ReadonlySignal<Audit | null>; readonly more: () => void }) {
  return (
    <section class="limits" aria-labelledby="audit">
      <h2 id="audit">What was done by hand</h2>
      <ul class="entries">
        {found.value?.nodes.map((entry) => (
          <EntryItem key={entry.id} entry={entry}>
            {entry.account && (
              <button type="button" class="link" onClick={() => entry.account && openAccount(entry.account.id)}>
                {entry.account.id}
              </button>
            )}
          </EntryItem>
        ))}
      </ul>
      {found.value?.pageInfo.hasNextPage && (
        <div class="buttons">
          <button type="button" onClick={more}>
            Show more
          </button>
        </div>
      )}
    </section>
  );
}

/** For operators: the way to whatever is asked about, what waits for a person, and what was done. */
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
      <Finder />
      {failure.value && <Failed error={failure.value} again={() => void read(null)} />}
      {found.value && (
        <>
          <Events title="Events that need a person" events={found.value.attention} />
          <Events title="Events that wait" events={found.value.waiting} />
        </>
      )}
      <AuditList found={audit} more={() => void read(audit.peek()?.pageInfo.endCursor ?? null)} />
    </div>
  );
}
