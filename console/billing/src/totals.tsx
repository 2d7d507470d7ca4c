import { currency } from "./account";
import { counted } from "./counts";
import { totals } from "./ledger";
import { moneyText } from "./money";
import { address } from "./navigation";

/** Count and sums over the whole filter. */
export function Totals() {
  const { value: sums } = totals;
  if (!sums || address.value.tab !== "transactions") return null;
  const money = (amount: string) => moneyText(amount, currency.value, true);
  return (
    <span>
      <strong>{counted(sums.count, "transaction")}</strong>, {money(sums.credits)} added, {money(sums.debits)} deducted,{" "}
      <strong>{money(sums.net)}</strong> in all.
    </span>
  );
}
