import { account } from "./account";
import { daysText, filterText, usageText } from "./filtertext";
import { listing, rowCount } from "./ledger";
import { address } from "./navigation";
import { readAt } from "./page";
import { t } from "./texts/spoken";
import { utcSecondsText } from "./times";
import { Totals } from "./totals";

/** The head of the page on paper. */
export function Statement() {
  const { value: shown } = account;
  if (!shown) return null;
  const { tab, costs, transactions, usage } = address.value;
  return (
    <div class="statement" aria-hidden="true">
      <p class="title">{t.papers[tab]}</p>
      <p>{t.paperNote([shown.name, shown.id, shown.externalId].filter(Boolean).join(", "), shown.currency)}</p>
      <p>
        {tab === "transactions" && filterText(transactions)}
        {tab === "usage" && usageText(usage)}
        {tab === "costs" && daysText(costs)} <Totals />
        {tab === "transactions" && listing.value?.hasMore && t.onlyNewest(rowCount.value)}
      </p>
      {readAt.value && <p>{t.paperTime(utcSecondsText(readAt.value.toISOString()))}</p>}
    </div>
  );
}
