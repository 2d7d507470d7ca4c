import { currency } from "../account";
import { isNegative, printed } from "../money";

interface Props {
  readonly amount: string;
  /** A plus before what was added, and a colour beside it. */
  readonly signed?: boolean;
}

/** The classes of what holds an amount: how many digits it has beyond cents, and whether it was added. */
export function moneyClass(amount: string, signed = false): string {
  const { tail } = printed(amount, currency.peek(), signed);
  return `money own-${tail.length}${signed && !isNegative(amount) ? " added" : ""}`;
}

/** An exact amount. Digits beyond cents are dimmed, and columns of amounts line up at the point.
 *
 * Lists call it as a function, with the classes on the cell: a component and an element for each of their amounts would
 * cost more than the amount. The currency is not watched, since it changes with the account alone.
 */
export function money(amount: string, signed = false) {
  const { head, tail } = printed(amount, currency.peek(), signed);
  return tail ? [head, <span class="tail">{tail}</span>] : head;
}

export function Money({ amount, signed = false }: Props) {
  return <span class={moneyClass(amount, signed)}>{money(amount, signed)}</span>;
}
