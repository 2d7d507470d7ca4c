import { account, currency } from "./account";
import { english } from "./language";
import { moneyText } from "./money";
import { t } from "./texts/spoken";
import { utcText } from "./times";

/** What the reason already says. */
const SAYS_WHY = ["NO_SAVED_CARD", "DAILY_LIMIT_REACHED"];

/** What auto-recharge does, or why it cannot and when it tries next. */
export function RechargeState() {
  const set = account.value?.autoRecharge;
  if (!set) return null;
  const { blockedBy, nextTryAt, lastFailure, lastFailureAt } = set;
  const text = (amount: string) => moneyText(amount, currency.value);
  return (
    <span class={blockedBy ? "error" : ""}>
      {blockedBy ? t.cannotCharge(t.blocked[blockedBy](text(set.dailyLimit))) : t.recharges(text(set.amount), text(set.threshold))}
      {set.inFlight && ` ${t.inFlight}`}
      {nextTryAt && ` ${t.nextTry(utcText(nextTryAt))}`}
      {lastFailure && lastFailureAt && !SAYS_WHY.includes(blockedBy ?? "") && (
        <>
          {` ${t.lastFailure(utcText(lastFailureAt))} `}
          <span lang={english}>{lastFailure}</span>
        </>
      )}
    </span>
  );
}
