import { account } from "./account";
import type { Tab } from "./address";
import { counted } from "./counts";
import { daysText, filterText, usageText } from "./filtertext";
import { listing, rowCount } from "./ledger";
import { address } from "./navigation";
import { readAt } from "./page";
import { utcSecondsText } from "./times";
import { Totals } from "./totals";

const TITLES: Record<Tab, string> = {
  transactions: "Account statement",
  costs: "Cost statement",
  resources: "Resources",
  usage: "Usage statement",
  keys: "Keys and activity",
};

/** The head of the page on paper. */
export function Statement() {
  const { value: shown } = account;
  if (!shown) return null;
  const { tab, costs, transactions, usage } = address.value;
  return (
    <div class="statement" aria-hidden="true">
      <p class="title">{TITLES[tab]}</p>
      <p>
        {shown.name}, {shown.id}
        {shown.externalId && `, ${shown.externalId}`}. All amounts in {shown.currency}, all days and times in UTC.
      </p>
      <p>
        {tab === "transactions" && filterText(transactions)}
        {tab === "usage" && usageText(usage)}
        {tab === "costs" && daysText(costs)} <Totals />
        {tab === "transactions" && listing.value?.hasMore && (
          <> Only the newest {counted(rowCount.value, "row")}: print by the page's button, or export all.</>
        )}
      </p>
      {readAt.value && <p>As of {utcSecondsText(readAt.value.toISOString())}.</p>}
    </div>
  );
}
