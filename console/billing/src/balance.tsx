import { account } from "./account";
import { Months } from "./months";
import { readAt } from "./page";
import { Money } from "./parts/money";
import { clockText } from "./times";

export function Balance() {
  const { value: shown } = account;
  if (!shown) return null;
  return (
    <div class="summary">
      <section class="balance" aria-labelledby="balance">
        <h2 id="balance">Credit balance</h2>
        <p class="figure">
          <Money amount={shown.balance} />
        </p>
        <p class="muted">
          For new launches and API calls. {readAt.value && <>As of {clockText(readAt.value)}.</>}
        </p>
      </section>
      <Months months={shown.months} />
    </div>
  );
}
