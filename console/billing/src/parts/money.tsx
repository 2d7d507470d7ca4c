import { currency } from "../account";
import { isNegative, printed } from "../money";

interface Props {
  readonly amount: string;
  /** A plus before what was added, and a colour beside it. */
  readonly signed?: boolean;
}

/** An exact amount. Digits beyond cents are dimmed, and columns of amounts line up at the point.
 *
 * Lists call it as a function: a component for each of their amounts would cost more than the amount. The currency
 * is not watched, since it changes with the account alone.
 */
export function money(amount: string, signed = false) {
  const { head, tail } = printed(amount, currency.peek(), signed);
  const added = signed && !isNegative(amount);
  return (
    <span class={`money own-${tail.length}${added ? " added" : ""}`}>
      {head}
      {tail && <span class="tail">{tail}</span>}
    </span>
  );
}

export function Money({ amount, signed = false }: Props) {
  return money(amount, signed);
}
