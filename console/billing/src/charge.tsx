import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { MoreTransactions } from "../generated/MoreTransactions";
import type { TransactionExplainedQuery } from "../generated/TransactionExplained";
import { account } from "./account";
import { announce } from "./announcer";
import { ask } from "./gateway";
import { typeOf } from "./kinds";
import { english } from "./language";
import { type Complaint, Complained } from "./parts/complained";
import { moment } from "./parts/moment";
import { Money } from "./parts/money";
import { Outdated } from "./post";
import { p } from "./texts/panels";
import { t } from "./texts/spoken";

export type Explained = NonNullable<TransactionExplainedQuery["transaction"]>;
type Charge = NonNullable<Explained["charge"]>;

/** Of the sums, those that are there: a charge has holds, or is billed by the day. */
function Sums({ charge }: { readonly charge: Omit<Charge, "transactions"> }) {
  const sums: [string, string, ComponentChildren?][] = [
    [p.heldSum, charge.held, charge.cycles !== "0" && charge.cycles !== "1" && p.inCycles(charge.cycles)],
    [p.returned, charge.refunded],
    [p.onTop, charge.overage],
    [p.byTheDay, charge.billed],
  ];
  return (
    <p class="sums">
      {sums
        .filter(([, amount]) => amount !== "0.00")
        .map(([name, amount, more]) => (
          <span key={name}>
            <span class="muted">{name}</span> <Money amount={amount} />
            {more}
          </span>
        ))}
      <span>
        <span class="muted">{p.net}</span>{" "}
        <strong>
          <Money amount={charge.net} />
        </strong>
      </span>
    </p>
  );
}

/** What is billed by the day has no hold that could be returned. */
function stateOf({ state, held }: Omit<Charge, "transactions">) {
  return state === "OPEN" && held === "0.00" ? "DAILY" : state;
}

const PAGE_ROWS = 50;

type ChargeRow = Charge["transactions"]["nodes"][number];

interface Rows {
  readonly nodes: readonly ChargeRow[];
  readonly pageInfo: { readonly hasNextPage: boolean; readonly endCursor: string | null };
}

interface Props {
  readonly charge: Omit<Charge, "transactions"> & {
    readonly transactions: Pick<Rows, "nodes"> & { readonly pageInfo: Pick<Rows["pageInfo"], "hasNextPage"> };
  };
  /** The row that is marked. */
  readonly current?: string;
  /** Reads further rows: those of the account about the resource, if it is not said. */
  readonly page?: (first: number, after: string | null) => Promise<Rows>;
}

async function rowsAbout({ refType, refId }: Props["charge"], first: number, after: string | null): Promise<Rows> {
  const id = account.peek()?.id ?? null;
  const found = await ask(MoreTransactions, { account: id, after, first, filter: { refType, refId } });
  if (!found.account) throw new Outdated();
  const { edges, pageInfo } = found.account.transactions;
  return { nodes: edges.map(({ node }) => node), pageInfo };
}

/** All rows of the resource that a row is about, the row itself marked. */
export function ChargeRows({ charge, current, page = (...asked) => rowsAbout(charge, ...asked) }: Props) {
  const { refType, refId } = charge;
  const title = `${t.refTypes[refType]} ${refId}`;
  const rows = useSignal<readonly ChargeRow[]>(charge.transactions.nodes);
  const hasMore = useSignal(charge.transactions.pageInfo.hasNextPage);
  // Of the account's rows about the resource, which are the same ones: none before the second page.
  const [end] = useState<{ cursor: string | null }>({ cursor: null });
  const isBusy = useSignal(false);
  const failure = useSignal<Complaint>("");

  async function more() {
    if (isBusy.value) return;
    isBusy.value = true;
    failure.value = "";
    const [before, after] = [rows.value.length, end.cursor];
    const first = after === null ? before + PAGE_ROWS : PAGE_ROWS;
    try {
      const { nodes, pageInfo } = await page(first, after);
      rows.value = [...(after === null ? [] : rows.value), ...nodes];
      hasMore.value = pageInfo.hasNextPage;
      end.cursor = pageInfo.endCursor;
      announce(t.moreInAll(rows.value.length - before, rows.value.length));
    } catch (error) {
      if (!(error instanceof Outdated)) failure.value = error as Error;
    }
    isBusy.value = false;
  }

  return (
    <section class="charge" aria-label={p.chargeOf(title)}>
      <h3>
        {title} <span class="muted">{p.chargeStates[stateOf(charge)]}</span>
      </h3>
      <Sums charge={charge} />
      <table role="table" aria-label={p.rowsOf(title)}>
        <tbody role="rowgroup">
          {rows.value.map((row) => (
            <tr key={row.id} role="row" aria-current={row.id === current || undefined}>
              <td role="cell" class="date">
                {moment(row.createdAt)}
              </td>
              <td role="cell">{typeOf({ type: row.type, refType })}</td>
              <td role="cell" class="amount">
                <Money amount={row.amount} signed />
              </td>
              <td role="cell" class="description" lang={english}>
                {row.description}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {hasMore.value && (
        <div class="buttons">
          <button type="button" aria-disabled={isBusy.value} onClick={() => void more()}>
            {p.loadMoreRows}
          </button>
          <span class="muted">{p.newestShown(rows.value.length)}</span>
        </div>
      )}
      <Complained of={failure.value} />
    </section>
  );
}
