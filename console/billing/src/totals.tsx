import { totals } from "./ledger";
import { address } from "./navigation";
import { Money } from "./parts/money";
import { t } from "./texts/spoken";

/** Count and sums over the whole filter. */
export function Totals() {
  const { value: sums } = totals;
  if (!sums || address.value.tab !== "transactions") return null;
  const { count, credits, debits, net } = sums;
  const [added, deducted, all] = [credits, debits, net].map((amount) => <Money amount={amount} signed />);
  return <span>{t.totals(count, added, deducted, all, (text) => <strong>{text}</strong>)}</span>;
}
