import { account } from "./account";
import { isNegative } from "./money";
import { hasPaid } from "./paid";

/** What has to be known before the figures are read. */
export function Notices() {
  const { value: shown } = account;
  return (
    <div class="notices" role="status">
      {hasPaid.value && <p class="notice">Thank you. The credit is here as soon as Stripe confirms the payment.</p>}
      {shown?.status === "SUSPENDED" && (
        <p class="notice warn">
          This account is suspended: nothing new can be launched. What runs is still charged.
        </p>
      )}
      {shown && isNegative(shown.balance) && (
        <p class="notice warn">The balance is below zero: what was used beyond the credit is owed.</p>
      )}
    </div>
  );
}
