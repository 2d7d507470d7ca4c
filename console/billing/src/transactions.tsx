import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { heard } from "./heard";
import { Guide } from "./parts/guide";
import { late } from "./parts/late";
import { memo } from "./parts/memo";
import { account } from "./account";
import { NO_FILTER } from "./address";
import { announce } from "./announcer";
import { Arrivals, FreshRows } from "./arrivals";
import { countText } from "./counts";
import { isFiltered, transactionFilter } from "./filterinputs";
import { Filters } from "./filters";
import {
  MOST_ROWS,
  isLoading,
  listFailure,
  listing,
  loadAll,
  loadLedger,
  loadMore,
  rowCount,
  stopLoading,
  widths,
} from "./ledger";
import { address, go } from "./navigation";
import { Failed } from "./parts/failed";
import type { Row } from "./rows";
import { t } from "./texts/spoken";
import { TransactionRows } from "./transactionrow";

const Sought = late(async () => (await import("./panels")).Sought);

/** Rows that were loaded together. They don't change, so neither does what is drawn of them. */
const Page = memo(function Page({ rows }: { readonly rows: readonly Row[] }) {
  return (
    <tbody role="rowgroup" style={{ containIntrinsicBlockSize: `auto calc(${rows.length} * var(--row))` }} {...heard}>
      <TransactionRows rows={rows} />
    </tbody>
  );
});

function Table() {
  const { value: shown } = listing;
  if (!shown) return null;
  return (
    <table
      role="table"
      class="ledger"
      aria-label={t.tabs.transactions}
      aria-busy={isLoading.value === "list"}
      style={widths.value}
    >
      <thead role="rowgroup">
        <tr role="row">
          {t.columns.map((name) => (
            <th key={name} role="columnheader" scope="col">
              {name}
            </th>
          ))}
          <th role="columnheader" scope="col">
            <span class="unseen">{t.details}</span>
          </th>
        </tr>
      </thead>
      <FreshRows rows={shown.fresh} />
      {shown.pages.map((rows, index) => (
        <Page key={rows[0]?.id ?? index} rows={rows} />
      ))}
    </table>
  );
}

function ClearFilters() {
  return (
    <button type="button" onClick={() => go({ transactions: NO_FILTER })}>
      {t.clearFilters}
    </button>
  );
}

function Empty() {
  if (isFiltered(address.value.transactions)) {
    return (
      <div class="empty">
        <p>{t.noMatch}</p>
        <ClearFilters />
      </div>
    );
  }
  return (
    <div class="empty">
      <p>{t.noMoney}</p>
      <p class="muted">{t.willBeListed(<Guide />)}</p>
    </div>
  );
}

function More() {
  const { value: shown } = listing;
  if (!shown) return null;

  async function more(load: typeof loadMore) {
    const before = rowCount.peek();
    await load(transactionFilter(address.peek().transactions));
    announce(t.moreInAll(rowCount.peek() - before, rowCount.peek()));
  }

  return (
    <div class="more">
      {shown.hasMore ? (
        <>
          <button type="button" aria-disabled={isLoading.value !== ""} onClick={() => void more(loadMore)}>
            {isLoading.value === "more" ? t.loading : t.loadMore}
          </button>
          {isLoading.value === "all" && (
            <button type="button" onClick={stopLoading}>
              {t.stop}
            </button>
          )}
          {isLoading.value !== "all" && rowCount.value < MOST_ROWS && (
            <button type="button" onClick={() => void more(loadAll)}>
              {t.loadAll(countText(MOST_ROWS))}
            </button>
          )}
          <span class="muted">{t.shown(rowCount.value)}</span>
        </>
      ) : (
        <span class="muted">{t.thatIsAll(rowCount.value)}</span>
      )}
    </div>
  );
}

/** Comes after the button that was pressed, and would end up below the window or under a notice. */
function InView({ children }: { readonly children: ComponentChildren }) {
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => box.current?.scrollIntoView({ block: "nearest" }), []);
  return <div ref={box}>{children}</div>;
}

export function TransactionsPanel() {
  const { value: failure } = listFailure;
  const again = () => {
    const filter = transactionFilter(address.peek().transactions);
    void (listing.peek()?.filter === JSON.stringify(filter) ? loadMore(filter) : loadLedger(filter));
  };
  return (
    <>
      <Filters />
      {address.value.transaction && <Sought />}
      {!listing.value && !failure && <div class="bone rows" aria-hidden="true" />}
      {rowCount.value > 0 && (
        <>
          <p class="zone muted">{t.allUtc}</p>
          <Arrivals />
          <Table />
        </>
      )}
      {listing.value && rowCount.value === 0 && !isLoading.value && account.value && <Empty />}
      {failure ? (
        <InView>
          <Failed error={failure} again={again}>
            {isFiltered(address.value.transactions) && <ClearFilters />}
          </Failed>
        </InView>
      ) : (
        rowCount.value > 0 && <More />
      )}
    </>
  );
}
