import { account } from "./account";
import { isNegative } from "./money";
import { hasPaid } from "./paid";
import { t } from "./texts/spoken";

/** What has to be known before the figures are read. */
export function Notices() {
  const { value: shown } = account;
  return (
    <div class="notices" role="status">
      {hasPaid.value && <p class="notice">{t.thanks}</p>}
      {shown?.status === "SUSPENDED" && <p class="notice warn">{t.suspended}</p>}
      {shown && isNegative(shown.balance) && <p class="notice warn">{t.owed}</p>}
    </div>
  );
}
