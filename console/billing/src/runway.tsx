import { account } from "./account";
import { Money } from "./parts/money";
import { t } from "./texts/spoken";
import { dayText, now, utcText } from "./times";

const TWO_DAYS_MS = 172_800_000;

/** The day, or the minute where that is soon. */
function soonText(at: string): string {
  return Date.parse(at) - now().getTime() < TWO_DAYS_MS ? `${utcText(at)} UTC` : dayText(at.slice(0, 10));
}

/** When the credit runs out, and on opening what that is worked out from. Nothing where nothing is spent. */
export function Runway() {
  const runway = account.value?.runway;
  if (runway?.state !== "ENDS" && runway?.state !== "LASTS") return null;
  const { endsAt, rechargesBefore, lastDay, lastWeek, runningPerHour } = runway;
  return (
    <details class="runway">
      <summary>{endsAt ? t.lastsUntil(soonText(endsAt), rechargesBefore) : t.lastsYears}</summary>
      <p class="muted">
        {t.runwayBasis(<Money amount={lastDay.perDay} />, <Money amount={lastWeek.perDay} />, <Money amount={runningPerHour} />)}
      </p>
    </details>
  );
}
