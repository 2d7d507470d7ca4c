import { currency } from "../account";
import { isNegative, printed } from "../money";

interface Props {
  readonly amount: string;
  /** A plus before what was added, and a colour beside it. */
  readonly signed?: boolean;
}

/** The attributes of what holds an amount: its digits beyond cents, whether it was added, and what it is in cents,
 * with the mark of what was rounded. */
export function moneyProps(amount: string, signed = false, name = "") {
  const { tail, cents } = printed(amount, currency.peek(), signed);
  const added = signed && !isNegative(amount) && amount !== "0.00" ? " added" : "";
  return { class: `${name}money own-${tail.length}${added}`, "data-cents": cents ? `≈${cents}` : undefined };
}

/** An exact amount, whose digits beyond cents are dimmed. Lists show its cents instead, by style alone: what is copied,
 * printed or read aloud is exact.
 *
 * Lists call it as a function, with the attributes on the cell: a component and an element for each of their amounts
 * would cost more than the amount. The currency is not watched, since it changes with the account alone.
 */
export function money(amount: string, signed = false) {
  const { head, tail, end } = printed(amount, currency.peek(), signed);
  if (!tail) return head + end;
  return (
    <span class="exact">
      {head}
      <span class="tail">{tail}</span>
      {end}
    </span>
  );
}

export function Money({ amount, signed = false }: Props) {
  return <span {...moneyProps(amount, signed)}>{money(amount, signed)}</span>;
}
