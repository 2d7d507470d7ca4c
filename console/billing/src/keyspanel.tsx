import { signal, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { AccountActivity } from "../generated/AccountActivity";
import { AccountKeys, type AccountKeysQuery, type SpendWindow } from "../generated/AccountKeys";
import { CreateKey } from "../generated/CreateKey";
import { DeleteLimit } from "../generated/DeleteLimit";
import { RevokeKey } from "../generated/RevokeKey";
import { SetLimit } from "../generated/SetLimit";
import { account, viewer } from "./account";
import { act, changes } from "./acts";
import { announce } from "./announcer";
import { Acts } from "./desk";
import { ask } from "./gateway";
import { spelled } from "./kinds";
import { parseNanos } from "./money";
import { Copy } from "./parts/copy";
import { closeDialog } from "./parts/dialog";
import { type Entry, EntryItem } from "./parts/entries";
import { Failed } from "./parts/failed";
import { moment } from "./parts/moment";
import { Money } from "./parts/money";
import { Text } from "./parts/text";
import { Amount, Form } from "./payingforms";
import { Outdated } from "./post";
import { now } from "./times";

type Found = NonNullable<AccountKeysQuery["account"]>;
type Key = Found["keys"] extends { readonly nodes: readonly (infer One)[] } | null ? One : never;
type Limit = Found["spendLimits"][number];

const WINDOWS: Record<SpendWindow, string> = {
  DAY: "in a UTC day",
  WEEK: "in a UTC week",
  MONTH: "in a UTC month",
  TOTAL: "in all",
};
const DAY_MS = 86_400_000;
const LASTING = ["", "30", "90", "365"];

const found = signal<Found | null>(null);
const failure = signal<Error | null>(null);
/** A key that was just created. It is shown until it is put away. */
const secret = signal<string | null>(null);
const opened = signal<"" | "key" | "limit" | Key | Limit>("");
const close = () => (opened.value = "");

async function load(signal?: AbortSignal): Promise<void> {
  failure.value = null;
  try {
    found.value = (await ask(AccountKeys, { account: account.peek()?.id ?? null }, signal)).account;
  } catch (error) {
    if (!(error instanceof Outdated)) failure.value = error as Error;
  }
}

function isOver({ revokedAt, expiresAt }: Key): boolean {
  return revokedAt !== null || (expiresAt !== null && new Date(expiresAt) <= now());
}

function endOf({ revokedAt, expiresAt }: Key) {
  if (revokedAt) return <>revoked {moment(revokedAt)}</>;
  if (!expiresAt) return "does not expire";
  return (
    <>
      {new Date(expiresAt) <= now() ? "expired" : "until"} {moment(expiresAt)}
    </>
  );
}

function KeyItem({ one }: { readonly one: Key }) {
  return (
    <li>
      <p>
        <strong>{one.owner}</strong> <code>{one.prefix}</code> {spelled(one.scope)}
      </p>
      <p class="muted">
        Created {moment(one.createdAt)}, {one.lastUsedAt ? <>last used {moment(one.lastUsedAt)}</> : "never used"}, {endOf(one)}
      </p>
      {!isOver(one) && (
        <button type="button" aria-label={`Revoke ${one.prefix}`} onClick={() => (opened.value = one)}>
          Revoke…
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
    announce("The key is created. Copy it now.");
    closeDialog();
  }

  return (
    <Form title="Create a key" action="Create" close={close} wrong={() => (owner.value.trim() ? "" : "Say whose key it is.")} run={run}>
      <Text label="Person or program that will use it" value={owner} />
      <label class="field">
        It may
        <select value={scope} onChange={(event) => (scope.value = event.currentTarget.value as "READ" | "MANAGE")}>
          <option value="READ">read the account</option>
          <option value="MANAGE">manage the account, too</option>
        </select>
      </label>
      <label class="field">
        It lasts
        <select value={days} onChange={(event) => (days.value = event.currentTarget.value)}>
          {LASTING.map((one) => (
            <option key={one} value={one}>
              {one ? `${one} days` : bound ? "as long as the key that you use" : "until it is revoked"}
            </option>
          ))}
        </select>
      </label>
      {bound && <p class="muted">It ends no later than the key that you use: {moment(bound)} UTC.</p>}
    </Form>
  );
}

function RevokeForm({ one }: { readonly one: Key }) {
  async function run(dialog: string) {
    await act(RevokeKey, dialog, { prefix: one.prefix });
    announce(`The key ${one.prefix} is revoked.`);
    closeDialog();
  }
  return (
    <Form title={`Revoke ${one.prefix}?`} action="Revoke" close={close} wrong={() => ""} run={run}>
      <p>
        The key of {one.owner} stops working within seconds, and so do sessions that it opened. This cannot be undone.
      </p>
    </Form>
  );
}

function scopeOf({ apiKeyId, project }: Limit): string {
  const parts = [apiKeyId && `key ${apiKeyId}`, project && `project ${project}`].filter(Boolean);
  return parts.length > 0 ? parts.join(", ") : "the whole account";
}

function LimitItem({ one }: { readonly one: Limit }) {
  return (
    <li>
      <p>
        <Money amount={one.amount} /> {WINDOWS[one.window]}, {scopeOf(one)}
      </p>
      <p class="muted">
        <Money amount={one.spent} /> spent
      </p>
      <button type="button" aria-label={`Delete ${one.id}`} onClick={() => (opened.value = one)}>
        Delete…
      </button>
    </li>
  );
}

function LimitForm() {
  const amount = useSignal("");
  const span = useSignal<SpendWindow>("MONTH");
  const apiKeyId = useSignal("");
  const project = useSignal("");

  async function run(dialog: string) {
    await act(SetLimit, dialog, {
      accountId: account.peek()?.id ?? null,
      amount: amount.value,
      window: span.value,
      apiKeyId: apiKeyId.value.trim() || null,
      project: project.value.trim() || null,
    });
    announce("The limit is set.");
    closeDialog();
  }

  const wrong = () => ((parseNanos(amount.value) ?? 0n) > 0n ? "" : "Enter an amount such as 50.00.");
  return (
    <Form title="Set a spend limit" action="Set" close={close} wrong={wrong} run={run}>
      <Amount label="At most" value={amount.value} change={(text) => (amount.value = text)} />
      <label class="field">
        For
        <select value={span} onChange={(event) => (span.value = event.currentTarget.value as SpendWindow)}>
          {(Object.keys(WINDOWS) as SpendWindow[]).map((name) => (
            <option key={name} value={name}>
              {WINDOWS[name]}
            </option>
          ))}
        </select>
      </label>
      <Text label="Only this API key of the platform (optional)" value={apiKeyId} />
      <Text label="Only this project (optional)" value={project} />
      <p class="muted">A limit of the same kind is replaced. What was spent since the start of the window counts.</p>
    </Form>
  );
}

function DeleteForm({ one }: { readonly one: Limit }) {
  async function run(dialog: string) {
    await act(DeleteLimit, dialog, { limitId: one.id });
    announce("The limit is deleted.");
    closeDialog();
  }
  return (
    <Form title="Delete the limit?" action="Delete" close={close} wrong={() => ""} run={run}>
      <p>
        <Money amount={one.amount} /> {WINDOWS[one.window]}, {scopeOf(one)}: it no longer limits anything.
      </p>
    </Form>
  );
}

function Opened() {
  const { value: which } = opened;
  if (which === "") return null;
  if (which === "key") return <KeyForm />;
  if (which === "limit") return <LimitForm />;
  return "prefix" in which ? <RevokeForm one={which} /> : <DeleteForm one={which} />;
}

function NewSecret({ text }: { readonly text: string }) {
  return (
    <div class="notice" role="status">
      <p>Copy the key now: it is shown once.</p>
      <p>
        <code>{text}</code> <Copy text={text} what="key" />{" "}
        <button type="button" onClick={() => (secret.value = null)}>
          Done
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
      <h2 id="activity">Activity</h2>
      {failed.value && <Failed error={failed.value} again={() => void read(null)} />}
      <ul class="entries">
        {entries.value.map((entry) => (
          <EntryItem key={entry.id} entry={entry} />
        ))}
      </ul>
      {after.value && (
        <div class="buttons">
          <button type="button" onClick={() => void read(after.value)}>
            Show more
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
        <h2 id="keys">Keys</h2>
        {secret.value && <NewSecret text={secret.value} />}
        <div class="buttons">
          <button type="button" onClick={() => (opened.value = "key")}>
            Create a key…
          </button>
        </div>
        <ul class="entries">
          {keys?.nodes.map((one) => (
            <KeyItem key={one.prefix} one={one} />
          ))}
        </ul>
      </section>
      {open.length > 0 && (
        <section class="limits" aria-labelledby="sessions">
          <h2 id="sessions">Signed in</h2>
          <p class="muted">People whom the platform signed in, and keys that they created.</p>
          <ul class="entries">
            {open.map((one) => (
              <KeyItem key={one.prefix} one={one} />
            ))}
          </ul>
        </section>
      )}
      <section class="limits" aria-labelledby="spendlimits">
        <h2 id="spendlimits">Spend limits</h2>
        <div class="buttons">
          <button type="button" onClick={() => (opened.value = "limit")}>
            Set a limit…
          </button>
        </div>
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
      <Activity />
      <Opened />
    </>
  );
}
