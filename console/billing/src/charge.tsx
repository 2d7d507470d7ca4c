import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { MoreTransactions } from "../generated/MoreTransactions";
import type { ChargeState, TransactionExplainedQuery } from "../generated/TransactionExplained";
import { account } from "./account";
import { announce } from "./announcer";
import { counted } from "./counts";
import { ask } from "./gateway";
import { REF_TYPES, typeOf } from "./kinds";
import { moment } from "./parts/moment";
import { Money } from "./parts/money";
import { Outdated } from "./post";

export type Explained = NonNullable<TransactionExplainedQuery["transaction"]>;
type Charge = NonNullable<Explained["charge"]>;

const STATES: Record<ChargeState, string> = {
  OPEN: "open: more rows may follow, and part of the hold may be returned",
  SETTLED: "settled",
  EXPIRED: "expired: the whole hold counts as used",
};

/** Of the sums, those that are there: a charge has holds, or is billed by the day. */
function Sums({ charge }: { readonly charge: Omit<Charge, "transactions"> }) {
  const sums: [string, string, ComponentChildren?][] = [
    ["Held", charge.held, charge.cycles !== "0" && charge.cycles !== "1" && ` in ${counted(charge.cycles, "cycle")}`],
    ["Returned", charge.refunded],
    ["Charged on top", charge.overage],
    ["Billed by the day", charge.billed],
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
        <span class="muted">Net</span>{" "}
        <strong>
          <Money amount={charge.net} />
        </strong>
      </span>
    </p>
  );
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
  const title = `${REF_TYPES[refType]} ${refId}`;
  const rows = useSignal<readonly ChargeRow[]>(charge.transactions.nodes);
  const hasMore = useSignal(charge.transactions.pageInfo.hasNextPage);
  // Of the account's rows about the resource, which are the same ones: none before the second page.
  const [end] = useState<{ cursor: string | null }>({ cursor: null });
  const isBusy = useSignal(false);
  const failure = useSignal("");

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
      announce(`${rows.value.length - before} more transactions, ${rows.value.length} in all.`);
    } catch (error) {
      if (!(error instanceof Outdated)) failure.value = (error as Error).message;
    }
    isBusy.value = false;
  }

  return (
    <section class="charge" aria-label={`The charge of ${title}`}>
      <h3>
        {title} <span class="muted">is {STATES[charge.state]}</span>
      </h3>
      <Sums charge={charge} />
      <table role="table" aria-label={`Transactions of ${title}`}>
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
              <td role="cell" class="description">
                {row.description}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {hasMore.value && (
        <div class="buttons">
          <button type="button" aria-disabled={isBusy.value} onClick={() => void more()}>
            Load more of them
          </button>
          <span class="muted">The newest {rows.value.length} are shown.</span>
        </div>
      )}
      {failure.value && (
        <p class="error" role="alert">
          {failure}
        </p>
      )}
    </section>
  );
}
