import type { ComponentChildren } from "preact";
import type { ChargeState, TransactionExplainedQuery } from "../generated/TransactionExplained";
import { counted } from "./counts";
import { REF_TYPES, TYPES } from "./kinds";
import { moment } from "./parts/moment";
import { Money } from "./parts/money";

export type Explained = NonNullable<TransactionExplainedQuery["transaction"]>;
type Charge = NonNullable<Explained["charge"]>;

const STATES: Record<ChargeState, string> = {
  OPEN: "open: more may come, and a part of what is held may come back",
  SETTLED: "settled",
  EXPIRED: "expired: what was held counts as used",
};

/** Of the sums, those that are there: a charge has holds, or is billed by the day. */
function Sums({ charge }: { readonly charge: Charge }) {
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

/** All rows of the resource that a row is about, the row itself marked. */
export function ChargeRows({ charge, current }: { readonly charge: Charge; readonly current: string }) {
  const { nodes, pageInfo } = charge.transactions;
  const title = `${REF_TYPES[charge.refType]} ${charge.refId}`;
  return (
    <section class="charge" aria-label={`The charge of ${title}`}>
      <h3>
        {title} <span class="muted">is {STATES[charge.state]}</span>
      </h3>
      <Sums charge={charge} />
      <table role="table" aria-label={`Transactions of ${title}`}>
        <tbody role="rowgroup">
          {nodes.map((row) => (
            <tr key={row.id} role="row" aria-current={row.id === current || undefined}>
              <td role="cell" class="date">
                {moment(row.createdAt)}
              </td>
              <td role="cell">{TYPES[row.type]}</td>
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
      {pageInfo.hasNextPage && <p class="muted">The newest {nodes.length}. The reference above leads to all of them.</p>}
    </section>
  );
}
