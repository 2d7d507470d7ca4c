import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { ChargeDetail, type ChargeDetailQuery } from "../generated/ChargeDetail";
import type { ChargeState } from "../generated/Resources";
import { account } from "./account";
import { NO_FILTER, type ResourcesView } from "./address";
import { announce } from "./announcer";
import { ChargeRows } from "./charge";
import { References } from "./filters";
import { ask } from "./gateway";
import { heard } from "./heard";
import { RESOURCE_TYPES } from "./kinds";
import { columnsOf } from "./ledger";
import { address, go } from "./navigation";
import { opened } from "./opened";
import { Failed } from "./parts/failed";
import { LeftOut } from "./parts/leftout";
import { Money } from "./parts/money";
import { Way } from "./parts/way";
import { Outdated } from "./post";
import { type Charge, loadMoreOf, listOf, loadResources, nameOf, states } from "./resources";
import { p } from "./texts/panels";
import { t } from "./texts/spoken";
import { utcText } from "./times";

const NO_RESOURCES: ResourcesView = { refType: "", refId: "" };

type Found = Extract<NonNullable<ChargeDetailQuery["node"]>, { state: unknown }>;

async function chargeOf(id: string, first: number, after: string | null, signal?: AbortSignal): Promise<Found> {
  const { node } = await ask(ChargeDetail, { id, first, after }, signal);
  if (!node || !("state" in node)) throw new Outdated();
  return node;
}

/** Rows that say in words what they did. */
function explainedRows({ transactions: { edges, pageInfo } }: Found) {
  return { nodes: edges.map(({ node }) => ({ ...node, description: node.explanation })), pageInfo };
}

function Detail({ charge }: { readonly charge: Charge }) {
  const { id, refType, refId } = charge;
  const found = useSignal<Found | null>(null);
  const failure = useSignal<Error | null>(null);

  async function load(signal?: AbortSignal) {
    failure.value = null;
    try {
      found.value = await chargeOf(id, 50, null, signal);
    } catch (error) {
      if (!(error instanceof Outdated)) failure.value = error as Error;
    }
  }

  useEffect(() => {
    const left = new AbortController();
    void load(left.signal);
    return () => left.abort();
  }, [id, charge.net, charge.state]);

  if (failure.value) return <Failed error={failure.value} again={() => void load()} />;
  if (!found.value) return null;
  const charged = { ...found.value, transactions: explainedRows(found.value) };
  return (
    <div class="facts">
      <ChargeRows
        key={`${charged.net} ${charged.state}`}
        charge={charged}
        page={async (first, after) => explainedRows(await chargeOf(id, first, after))}
      />
      <p>
        <Way to={{ tab: "transactions", transactions: { ...NO_FILTER, refType, refId } }}>
          {p.allIts}
        </Way>{" "}
        <span class="muted">{p.charge(<code>{id}</code>)}</span>
      </p>
    </div>
  );
}

function rowsOf(charge: Charge, isOpen: boolean) {
  const { id, refType, refId, openedAt, apiKeyId, project } = charge;
  const name = `${t.refTypes[refType]} ${refId}`;
  const spender = [apiKeyId && p.key(apiKeyId), project && p.project(project)].filter(Boolean).join(", ");
  const held = heldOf(charge);
  const row = (
    <tr key={id} role="row" class={isOpen ? "row open" : "row"} data-id={id}>
      <td role="cell" class="date">
        <time dateTime={openedAt}>{utcText(openedAt)}</time>
      </td>
      <td role="cell" class="name">
        {name}
      </td>
      <td role="cell" class="amount" data-label={p.held}>
        <Money amount={held} />
      </td>
      <td role="cell" class="after" data-label={p.cost}>
        <Money amount={charge.net} />
      </td>
      <td role="cell" class="description">
        {spender || <span class="muted">{p.notNamed}</span>}
      </td>
      <td role="cell" class="toggle">
        <button
          type="button"
          aria-expanded={isOpen}
          aria-controls={isOpen ? `detail-${id}` : undefined}
          aria-label={t.detailsOf(name)}
        />
      </td>
    </tr>
  );
  if (!isOpen) return row;
  return [
    row,
    <tr key={`detail-${id}`} role="row" class="detail" id={`detail-${id}`}>
      <td role="cell" colSpan={6}>
        <Detail charge={charge} />
      </td>
    </tr>,
  ];
}

/** What an open charge holds now; what others held in all. */
function heldOf({ state, heldNow, held }: Charge): string {
  return state === "OPEN" ? heldNow : held;
}

function Section({ state, view }: { readonly state: ChargeState; readonly view: ResourcesView }) {
  const { failure, isLoading } = states[state];
  const shown = listOf(state);

  async function more() {
    await loadMoreOf(state, view);
    announce(p.resourcesAre(listOf(state)?.charges.length ?? 0));
  }

  if (!shown || shown.charges.length === 0) return null;
  const columns = columnsOf(
    shown.charges.map((charge) => [heldOf(charge), charge.net]),
    false,
  );
  const names = [p.since, p.resource, ...(state === "OPEN" ? [p.heldNow, p.costSoFar] : [p.held, p.cost])];
  return (
    <section aria-labelledby={`state-${state}`}>
      <h2 id={`state-${state}`} class="more">
        {p.states[state]}
      </h2>
      <table
        role="table"
        class="ledger resources"
        aria-label={p.tables[state]}
        aria-busy={shown.name !== nameOf(view)}
        style={columns}
      >
        <thead role="rowgroup">
          <tr role="row">
            {[...names, p.spender].map((name) => (
              <th key={name} role="columnheader" scope="col">
                {name}
              </th>
            ))}
            <th role="columnheader" scope="col">
              <span class="unseen">{t.details}</span>
            </th>
          </tr>
        </thead>
        <tbody
          role="rowgroup"
          style={{ containIntrinsicBlockSize: `auto calc(${shown.charges.length} * var(--row))` }}
          {...heard}
        >
          {shown.charges.flatMap((charge) => rowsOf(charge, opened.value.has(charge.id)))}
        </tbody>
      </table>
      {failure.value && <Failed error={failure.value} again={() => loadResources(view)} />}
      <div class="more">
        {shown.hasMore && (
          <button type="button" aria-disabled={isLoading.value} onClick={() => void more()}>
            {t.loadMore}
          </button>
        )}
        <span class="muted">
          {(shown.hasMore ? p.resourcesShown : p.allResources)(shown.charges.length)}
        </span>
      </div>
    </section>
  );
}

function Lists({ view }: { readonly view: ResourcesView }) {
  const all = (Object.keys(states) as ChargeState[]).map((state) => [listOf(state), states[state].failure.value] as const);
  const failed = all.find(([list, failure]) => !list && failure)?.[1];
  if (failed) return <Failed error={failed} again={() => loadResources(view)} />;
  if (all.some(([list]) => !list)) return <div class="bone rows" aria-hidden="true" />;
  if (all.every(([list]) => list?.charges.length === 0)) {
    const isNarrowed = view.refType || view.refId;
    return (
      <div class="empty">
        <p>{isNarrowed ? p.noMatch : p.noResource}</p>
        <p class="muted">{p.noResourceNote}</p>
      </div>
    );
  }
  return (
    <>
      {(Object.keys(states) as ChargeState[]).map((state) => (
        <Section key={state} state={state} view={view} />
      ))}
    </>
  );
}

export function ResourcesPanel() {
  const { resources: view } = address.value;
  const { value: shown } = account;
  useEffect(() => loadResources(view), [JSON.stringify(view), shown?.id, shown?.thisMonth]);
  return (
    <>
      <div class="filters">
        <References title={p.resource} view={view} types={RESOURCE_TYPES} change={(some) => go({ resources: { ...view, ...some } })} />
        {(view.refType || view.refId) && (
          <button type="button" class="plain" onClick={() => go({ resources: NO_RESOURCES })}>
            {t.clearFilters}
          </button>
        )}
        <LeftOut />
      </div>
      <Lists view={view} />
    </>
  );
}
