import { signal, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { AccountActivity } from "../generated/AccountActivity";
import { AccountKeys, type AccountKeysQuery, type SpendWindow } from "../generated/AccountKeys";
import { CreateKey } from "../generated/CreateKey";
import { DeleteLimit } from "../generated/DeleteLimit";
import { RevokeKey } from "../generated/RevokeKey";
import { SetCompanyDetails } from "../generated/SetCompanyDetails";
import { SetLimit } from "../generated/SetLimit";
import { account, viewer } from "./account";
import { act, changes } from "./acts";
import { announce } from "./announcer";
import { wrongReading } from "./checks";
import { Acts } from "./desk";
import { ask } from "./gateway";
import { spelled } from "./kinds";
import { nanosOf, parseNanos } from "./money";
import { Copy } from "./parts/copy";
import { closeDialog } from "./parts/dialog";
import { type Entry, EntryItem } from "./parts/entries";
import { Failed } from "./parts/failed";
import { moment } from "./parts/moment";
import { Money } from "./parts/money";
import { Text } from "./parts/text";
import { Amount, Form } from "./payingforms";
import { Outdated } from "./post";
import { m } from "./texts/managing";
import { p } from "./texts/spoken";
import { dayAfter, now, today } from "./times";
import { canonical } from "./typed";

type Found = NonNullable<AccountKeysQuery["account"]>;
type Key = Found["keys"] extends { readonly nodes: readonly (infer One)[] } | null ? One : never;
type Limit = Found["spendLimits"][number];

const DAY_MS = 86_400_000;
const LASTING = ["", "30", "90", "365"];
/** Keys and projects of these days are offered. More days would have to be added up row by row. */
const LATELY_DAYS = 31;

const found = signal<Found | null>(null);
const failure = signal<Error | null>(null);
/** A key that was just created. It is shown until it is put away. */
const secret = signal<string | null>(null);
const opened = signal<"" | "key" | "limit" | "company" | Key | Limit>("");
const close = () => (opened.value = "");

async function load(signal?: AbortSignal): Promise<void> {
  failure.value = null;
  try {
    const day = { gte: dayAfter(today(), 1 - LATELY_DAYS), lt: dayAfter(today(), 1) };
    found.value = (await ask(AccountKeys, { account: account.peek()?.id ?? null, lately: { day } }, signal)).account;
  } catch (error) {
    if (!(error instanceof Outdated)) failure.value = error as Error;
  }
}

function isOver({ revokedAt, expiresAt }: Key): boolean {
  return revokedAt !== null || (expiresAt !== null && new Date(expiresAt) <= now());
}

function endOf({ revokedAt, expiresAt }: Key) {
  if (revokedAt) return m.revokedAt(moment(revokedAt));
  if (!expiresAt) return m.noExpiry;
  return (new Date(expiresAt) <= now() ? m.expired : m.until)(moment(expiresAt));
}

function KeyItem({ one }: { readonly one: Key }) {
  return (
    <li>
      <p>
        <strong>{one.owner}</strong> <code>{one.prefix}</code> {spelled(one.scope)}
      </p>
      <p class="muted">
        {m.keyTimes(moment(one.createdAt), one.lastUsedAt ? m.lastUsed(moment(one.lastUsedAt)) : m.neverUsed, endOf(one))}
      </p>
      {!isOver(one) && (
        <button type="button" aria-label={m.revokeOf(one.prefix)} onClick={() => (opened.value = one)}>
          {m.toRevoke}
        </button>
      )}
    </li>
  );
}

/** When a key ends that lasts so many days, but no later than the key that creates it. */
function endAfter(days: string): string | null {
  const bound = viewer.peek()?.keyExpiresAt ?? null;
  if (!days) return bound;
  const end = new Date(now().getTime() + Number(days) * DAY_MS).toISOString();
  return bound !== null && new Date(bound) < new Date(end) ? bound : end;
}

function KeyForm() {
  const owner = useSignal("");
  const scope = useSignal<"READ" | "MANAGE">("READ");
  const days = useSignal("");
  const bound = viewer.value?.keyExpiresAt ?? null;

  async function run(dialog: string) {
    const input = { accountId: account.peek()?.id ?? null, owner: owner.value, scope: scope.value, expiresAt: endAfter(days.value) };
    secret.value = (await act(CreateKey, dialog, input)).createApiKey.secret;
    announce(m.keyCreated);
    closeDialog();
  }

  return (
    <Form title={m.createKey} action={m.create} close={close} wrong={() => (owner.value.trim() ? "" : m.noOwner)} run={run}>
      <Text label={m.owner} value={owner} />
      <label class="field">
        {m.itMay}
        <select value={scope} onChange={(event) => (scope.value = event.currentTarget.value as "READ" | "MANAGE")}>
          <option value="READ">{m.mayRead}</option>
          <option value="MANAGE">{m.mayManage}</option>
        </select>
      </label>
      <label class="field">
        {m.itLasts}
        <select value={days} onChange={(event) => (days.value = event.currentTarget.value)}>
          {LASTING.map((one) => (
            <option key={one} value={one}>
              {one ? m.lasts(one) : bound ? m.asLongAsYours : m.untilRevoked}
            </option>
          ))}
        </select>
      </label>
      {bound && <p class="muted">{m.endsBy(moment(bound))}</p>}
    </Form>
  );
}

function RevokeForm({ one }: { readonly one: Key }) {
  async function run(dialog: string) {
    await act(RevokeKey, dialog, { prefix: one.prefix });
    announce(m.keyRevoked(one.prefix));
    closeDialog();
  }
  return (
    <Form title={m.revokeAsked(one.prefix)} action={m.revoke} close={close} wrong={() => ""} run={run}>
      <p>{m.revokeNote(one.owner)}</p>
    </Form>
  );
}

function scopeOf({ apiKeyId, project }: Limit): string {
  const parts = [apiKeyId && m.ofKey(apiKeyId), project && m.ofProject(project)].filter(Boolean);
  return parts.length > 0 ? parts.join(", ") : m.wholeAccount;
}

function limitText(one: Limit) {
  return m.limitOf(<Money amount={one.amount} />, m.windows[one.window], scopeOf(one));
}

function LimitItem({ one }: { readonly one: Limit }) {
  return (
    <li>
      <p>{limitText(one)}</p>
      <p class="muted">
        {m.spent(<Money amount={one.spent} />)}
        {nanosOf(one.spent) >= nanosOf(one.amount) && <strong class="error">{p.nothingPasses}</strong>}
      </p>
      <button type="button" aria-label={m.deleteOf(one.id)} onClick={() => (opened.value = one)}>
        {m.toDelete}
      </button>
    </li>
  );
}

/** The API keys or projects that spent lately. */
function spenders(name: "apiKeyId" | "project"): string[] {
  const names = found.value?.spenders.nodes.map((one) => one[name]) ?? [];
  return [...new Set(names)].filter((one) => one !== null).sort();
}

function LimitForm() {
  const amount = useSignal("");
  const span = useSignal<SpendWindow>("MONTH");
  const apiKeyId = useSignal("");
  const project = useSignal("");

  async function run(dialog: string) {
    await act(SetLimit, dialog, {
      accountId: account.peek()?.id ?? null,
      amount: canonical(amount.value),
      window: span.value,
      apiKeyId: apiKeyId.value.trim() || null,
      project: project.value.trim() || null,
    });
    announce(m.limitSet);
    closeDialog();
  }

  const wrong = () => ((parseNanos(canonical(amount.value)) ?? 0n) > 0n ? "" : wrongReading(amount.value) || m.wrongLimit);
  const cost = account.value?.thisMonth.totalCost ?? "0.00";
  const isWhole = span.value === "MONTH" && !apiKeyId.value && !project.value;
  return (
    <Form title={m.setLimit} action={m.set} close={close} wrong={wrong} run={run}>
      <Amount label={m.atMost} value={amount.value} change={(text) => (amount.value = text)} />
      <label class="field">
        {m.for}
        <select value={span} onChange={(event) => (span.value = event.currentTarget.value as SpendWindow)}>
          {(Object.keys(m.windows) as SpendWindow[]).map((name) => (
            <option key={name} value={name}>
              {m.windows[name]}
            </option>
          ))}
        </select>
      </label>
      <Text label={m.onlyKey} value={apiKeyId} options={spenders("apiKeyId")} />
      <Text label={m.onlyProject} value={project} options={spenders("project")} />
      <p class="muted">{m.limitNote}</p>
      <p class="error" role="status">
        {isWhole && !wrong() && nanosOf(cost) >= (parseNanos(canonical(amount.value)) ?? 0n) && m.spentAlready(<Money amount={cost} />)}
      </p>
    </Form>
  );
}

function DeleteForm({ one }: { readonly one: Limit }) {
  async function run(dialog: string) {
    await act(DeleteLimit, dialog, { limitId: one.id });
    announce(m.limitDeleted);
    closeDialog();
  }
  return (
    <Form title={m.deleteAsked} action={m.delete} close={close} wrong={() => ""} run={run}>
      <p>{m.deleteNote(limitText(one))}</p>
    </Form>
  );
}

function CompanyForm() {
  const before = found.peek()?.companyDetails;
  const name = useSignal(before?.name ?? "");
  const address = useSignal(before?.addressLines.join("\n") ?? "");
  const taxId = useSignal(before?.taxId ?? "");

  async function run(dialog: string) {
    const addressLines = address.value.split("\n").map((line) => line.trim()).filter(Boolean);
    const input = { accountId: account.peek()?.id ?? null, name: name.value.trim(), addressLines };
    await act(SetCompanyDetails, dialog, { ...input, taxId: taxId.value.trim() || null });
    announce(m.companySaved);
    closeDialog();
  }

  return (
    <Form title={m.company} action={m.save} close={close} wrong={() => (name.value.trim() ? "" : m.noName)} run={run}>
      <Text label={m.name} value={name} />
      <label class="field">
        {m.address}
        <textarea rows={4} value={address.value} onInput={(event) => (address.value = event.currentTarget.value)} />
      </label>
      <Text label={m.taxId} value={taxId} />
    </Form>
  );
}

function Company({ companyDetails }: Found) {
  return (
    <section class="limits" aria-labelledby="company">
      <h2 id="company">{m.company}</h2>
      <p class="muted">{m.companyNote}</p>
      {companyDetails && (
        <p>
          {[companyDetails.name, ...companyDetails.addressLines, companyDetails.taxId].filter(Boolean).join(", ")}
        </p>
      )}
      <div class="buttons">
        <button type="button" onClick={() => (opened.value = "company")}>
          {m.toChange}
        </button>
      </div>
    </section>
  );
}

function Opened() {
  const { value: which } = opened;
  if (which === "") return null;
  if (which === "key") return <KeyForm />;
  if (which === "limit") return <LimitForm />;
  if (which === "company") return <CompanyForm />;
  return "prefix" in which ? <RevokeForm one={which} /> : <DeleteForm one={which} />;
}

function NewSecret({ text }: { readonly text: string }) {
  return (
    <div class="notice" role="status">
      <p>{m.copyNow}</p>
      <p>
        <code>{text}</code> <Copy text={text} what={m.key} />{" "}
        <button type="button" onClick={() => (secret.value = null)}>
          {m.done}
        </button>
      </p>
    </div>
  );
}

function Activity() {
  const entries = useSignal<readonly Entry[]>([]);
  const after = useSignal<string | null>(null);
  const failed = useSignal<Error | null>(null);

  async function read(from: string | null, signal?: AbortSignal) {
    failed.value = null;
    try {
      const answer = await ask(AccountActivity, { account: account.peek()?.id ?? null, after: from }, signal);
      const page = answer.account?.activity;
      if (!page) return;
      entries.value = from === null ? page.nodes : [...entries.value, ...page.nodes];
      after.value = page.pageInfo.hasNextPage ? (page.pageInfo.endCursor ?? null) : null;
    } catch (error) {
      if (!(error instanceof Outdated)) failed.value = error as Error;
    }
  }

  const id = account.value?.id;
  useEffect(() => {
    const running = new AbortController();
    void read(null, running.signal);
    return () => running.abort();
  }, [id, changes.value]);

  return (
    <section class="limits" aria-labelledby="activity">
      <h2 id="activity">{m.activity}</h2>
      {failed.value && <Failed error={failed.value} again={() => void read(null)} />}
      <ul class="entries">
        {entries.value.map((entry) => (
          <EntryItem key={entry.id} entry={entry} />
        ))}
      </ul>
      {after.value && (
        <div class="buttons">
          <button type="button" onClick={() => void read(after.value)}>
            {m.showMore}
          </button>
        </div>
      )}
    </section>
  );
}

function Lists({ keys, sessions, spendLimits }: Found) {
  const open = (sessions?.nodes ?? []).filter((one) => !isOver(one));
  return (
    <>
      <section class="limits" aria-labelledby="keys">
        <h2 id="keys">{m.keys}</h2>
        {secret.value && <NewSecret text={secret.value} />}
        <div class="buttons">
          <button type="button" onClick={() => (opened.value = "key")}>
            {m.toCreateKey}
          </button>
        </div>
        {keys?.nodes.length === 0 && <p class="muted">{m.noKeys}</p>}
        <ul class="entries">
          {keys?.nodes.map((one) => (
            <KeyItem key={one.prefix} one={one} />
          ))}
        </ul>
      </section>
      {open.length > 0 && (
        <section class="limits" aria-labelledby="sessions">
          <h2 id="sessions">{m.signedIn}</h2>
          <p class="muted">{m.signedInNote}</p>
          <ul class="entries">
            {open.map((one) => (
              <KeyItem key={one.prefix} one={one} />
            ))}
          </ul>
        </section>
      )}
      <section class="limits" aria-labelledby="spendlimits">
        <h2 id="spendlimits">{m.spendLimits}</h2>
        <div class="buttons">
          <button type="button" onClick={() => (opened.value = "limit")}>
            {m.toSetLimit}
          </button>
        </div>
        {spendLimits.length === 0 && <p class="muted">{m.noLimits}</p>}
        <ul class="entries">
          {spendLimits.map((one) => (
            <LimitItem key={one.id} one={one} />
          ))}
        </ul>
      </section>
    </>
  );
}

/** Keys, limits and activity, for keys that manage the account; what operators do besides. */
export function KeysPanel() {
  const id = account.value?.id;
  useEffect(() => {
    const running = new AbortController();
    void load(running.signal);
    return () => running.abort();
  }, [id, changes.value]);

  const shown = found.value?.id === id ? found.value : null;
  return (
    <>
      {viewer.value?.scope === "OPERATOR" && <Acts />}
      {failure.value && <Failed error={failure.value} again={() => void load()} />}
      {shown && <Lists {...shown} />}
      {shown && viewer.value?.scope === "MANAGE" && <Company {...shown} />}
      {shown || failure.value ? null : <div class="bone rows" aria-hidden="true" />}
      {/* What is above has come: nothing moves. */}
      <div hidden={!shown && !failure.value}>
        <Activity />
      </div>
      <Opened />
    </>
  );
}
