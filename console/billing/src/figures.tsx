import { account } from "./account";
import { CardRow } from "./cards";
import { Months } from "./months";
import { isNarrow } from "./narrow";
import { Money } from "./parts/money";
import { t } from "./texts/spoken";

/** Cards and months: below the balance, or on a phone behind a line that says the most of them. */
export function Figures() {
  const { value: shown } = account;
  if (!shown || !isNarrow.value) return <CardRow />;
  const { totalCost, apiCalls } = shown.thisMonth;
  return (
    <details class="folded">
      <summary>{t.thisMonth(<Money amount={totalCost} />, apiCalls)}</summary>
      <Months months={shown.months} />
      <CardRow />
    </details>
  );
}
