import { account } from "./account";
import { counted } from "./counts";
import { filterText, usageText } from "./filtertext";
import { listing, rowCount } from "./ledger";
import { address } from "./navigation";
import { readAt } from "./page";
import { utcSecondsText } from "./times";
import { Totals } from "./totals";

/** The head of the page on paper. */
export function Statement() {
  const { value: shown } = account;
  if (!shown) return null;
  const { tab, transactions, usage } = address.value;
  return (
    <div class="statement" aria-hidden="true">
      <p class="title">{tab === "usage" ? "Usage statement" : "Account statement"}</p>
      <p>
        {shown.name}, {shown.id}
        {shown.externalId && `, ${shown.externalId}`}. All amounts in {shown.currency}, all days and times in UTC.
      </p>
      <p>
        {tab === "usage" ? usageText(usage) : filterText(transactions)} <Totals />
        {tab === "transactions" && listing.value?.hasMore && (
          <> Only the newest {counted(rowCount.value, "row")}: load more before printing for older ones.</>
        )}
      </p>
      {readAt.value && <p>As of {utcSecondsText(readAt.value.toISOString())}.</p>}
    </div>
  );
}
