import { account } from "./account";
import { CardRow } from "./cards";
import { counted } from "./counts";
import { Months } from "./months";
import { isNarrow } from "./narrow";
import { Money } from "./parts/money";

/** Cards and months: below the balance, or on a phone behind a line that says the most of them. */
export function Figures() {
  const { value: shown } = account;
  if (!shown || !isNarrow.value) return <CardRow />;
  const { totalCost, apiCalls } = shown.thisMonth;
  return (
    <details class="folded">
      <summary>
        This month: <Money amount={totalCost} />, {counted(apiCalls, "API call")}
      </summary>
      <Months months={shown.months} />
      <CardRow />
    </details>
  );
}
