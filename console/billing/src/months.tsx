import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { account, currency } from "./account";
import { NO_FILTER } from "./address";
import { approximate, moneyText } from "./money";
import { loadMonthKinds, monthKinds } from "./monthkinds";
import { go } from "./navigation";
import { Money } from "./parts/money";
import type { Months as Given } from "./rows";
import { t } from "./texts/spoken";
import { lastDayOf, monthLabel, monthText } from "./times";

/** The kinds of the bars' costs are read when the page has been drawn, on a slow machine, too. */
const SOON_MS = 800;

/** What the kinds of a month have cost, once that is known. */
function kindsOf(month: string) {
  const { value: known } = monthKinds;
  return (known?.account === account.value?.id && known?.months.get(month)) || [];
}

function kindsText(month: string): string {
  return kindsOf(month)
    .map(({ name, cost }) => `, ${name} ${moneyText(cost, currency.value)}`)
    .join("");
}

function openMonth(month: string): void {
  go({ tab: "transactions", transactions: { ...NO_FILTER, from: `${month}-01`, to: lastDayOf(month) } });
}

/** A bar for each month, which opens the month's transactions. */
export function Months({ months }: { readonly months: Given }) {
  const shown = useSignal(months.length - 1);
  const { month, totalCost } = months[shown.value] ?? (months.at(-1) as Given[number]);
  const id = account.value?.id;
  useEffect(() => {
    const soon = setTimeout(() => void loadMonthKinds(), SOON_MS);
    return () => clearTimeout(soon);
  }, [id]);
  const highest = Math.max(...months.map((one) => approximate(one.totalCost)), 0);
  return (
    <section class="months" aria-labelledby="months">
      <h2 id="months">
        {t.costByMonth} <span class="muted">UTC</span>
      </h2>
      <p aria-hidden="true">
        {monthText(month)} <Money amount={totalCost} />
      </p>
      <ol>
        {months.map((one, index) => (
          <li key={one.month}>
            <button
              type="button"
              class={index === shown.value ? "shown" : ""}
              title={kindsText(one.month).slice(2) || undefined}
              onMouseEnter={() => (shown.value = index)}
              onFocus={() => (shown.value = index)}
              onClick={() => openMonth(one.month)}
            >
              <span class="track">
                <span
                  class="bar"
                  style={{ height: `${highest > 0 ? (Math.max(approximate(one.totalCost), 0) / highest) * 100 : 0}%` }}
                >
                  {kindsOf(one.month).map(({ name, colour, cost }) => (
                    <span
                      key={name}
                      style={{ background: `var(--s${colour})`, flexGrow: Math.max(approximate(cost), 0) }}
                    />
                  ))}
                </span>
              </span>
              <span class="label">{monthLabel(one.month)}</span>
              <span class="unseen">
                {` ${one.month.slice(0, 4)}: ${moneyText(one.totalCost, currency.value)}${kindsText(one.month)}. `}
                {t.showIts}
              </span>
            </button>
          </li>
        ))}
      </ol>
    </section>
  );
}
