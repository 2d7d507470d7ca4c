import { currency } from "../account";
import { isExact } from "../exactness";
import { isNegative, moneyText, moneyParts } from "../money";

interface Props {
  readonly amount: string;
  /** A plus before what was added, and a colour beside it. */
  readonly signed?: boolean;
}

/** The attributes of what holds an amount: its digits beyond cents, whether it was added, and what it is in cents,
 * with the mark of what was rounded. */
export function moneyProps(amount: string, signed = false, name = "") {
  const { tail, cents } = moneyParts(amount, currency.peek(), signed);
  const added = signed && !isNegative(amount) && amount !== "0.00" ? " added" : "";
  return { class: `${name}money own-${tail.length}${added}`, "data-cents": cents ? `≈${cents}` : undefined };
}

/** Of the amount, the digits beyond cents in an element of their own. */
function dimmed(amount: string, signed: boolean) {
  const { head, tail, end } = moneyParts(amount, currency.peek(), signed);
  if (!tail) return head + end;
  return (
    <>
      {head}
      <span class="tail">{tail}</span>
      {end || null}
    </>
  );
}

/** An exact amount, whose digits beyond cents are dimmed. Lists show its cents instead, by style alone: what is copied,
 * printed or read aloud is exact. The currency is not watched, since it changes with the account alone. */
export function money(amount: string, signed = false) {
  const exact = dimmed(amount, signed);
  return typeof exact === "string" ? exact : <span class="exact">{exact}</span>;
}

/** The same for a list's cell, which has the attributes. Where it shows cents it has only the text of the exact amount:
 * a component, or elements, for each amount of a list would cost more than the amount. */
export function cellMoney(amount: string, signed = false) {
  return isExact.value ? dimmed(amount, signed) : moneyText(amount, currency.peek(), signed);
}

export function Money({ amount, signed = false }: Props) {
  return <span {...moneyProps(amount, signed)}>{money(amount, signed)}</span>;
}
