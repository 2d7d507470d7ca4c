import { currency } from "./account";
import { totals } from "./ledger";
import { moneyText } from "./money";
import { address } from "./navigation";
import { t } from "./texts/spoken";

/** Count and sums over the whole filter. */
export function Totals() {
  const { value: sums } = totals;
  if (!sums || address.value.tab !== "transactions") return null;
  const money = (amount: string) => moneyText(amount, currency.value, true);
  return (
    <span>
      {t.totals(sums.count, money(sums.credits), money(sums.debits), money(sums.net), (text) => (
        <strong>{text}</strong>
      ))}
    </span>
  );
}
