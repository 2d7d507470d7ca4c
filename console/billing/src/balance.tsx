import { account } from "./account";
import { link } from "./live";
import { Months } from "./months";
import { isNarrow } from "./narrow";
import { isOffline } from "./network";
import { readAt } from "./page";
import { Figure } from "./parts/figure";
import { Paying } from "./paying";
import { RechargeState } from "./rechargenote";
import { Runway } from "./runway";
import { t } from "./texts/spoken";
import { clockText } from "./times";

/** Whether the figure follows what happens, and when it was last so. */
function Pulse() {
  const { value: at } = readAt;
  if (link.value === "live" && !isOffline.value) return <span class="pulse live">{t.live}</span>;
  return at && <span class="pulse">{t.asOf(clockText(at))}</span>;
}

export function Balance() {
  const { value: shown } = account;
  if (!shown) return null;
  return (
    <div class="summary">
      <section class="balance" aria-labelledby="balance">
        <div class="title">
          <h2 id="balance">{t.balance}</h2>
          <Pulse />
        </div>
        <Figure amount={shown.balance} />
        <p class="muted">
          {t.balanceNote} {shown.autoRecharge?.state !== "OFF" && <RechargeState />}
        </p>
        <Runway />
        <Paying />
      </section>
      {!isNarrow.value && <Months months={shown.months} />}
    </div>
  );
}
