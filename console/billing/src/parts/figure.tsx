import { currency } from "../account";
import { lengthOf, moneyParts } from "../money";
import { Money } from "./money";

/** Digits beyond cents are half as large. */
const TAIL = 0.5;
const MARK = 1;

function lengthHere(amount: string): number {
  const shown = moneyParts(amount, currency.peek());
  const { tail } = shown;
  return lengthOf(shown) + Math.max(tail.length * TAIL, tail ? MARK : 0);
}

type Props = { readonly amount: string } | { readonly text: string };

/** A large figure on one line: it is told its length, and is drawn smaller where it would not fit. */
export function Figure(props: Props) {
  const isAmount = "amount" in props;
  return (
    <p class="figure" style={{ "--length": isAmount ? lengthHere(props.amount) : props.text.length }}>
      {isAmount ? <Money amount={props.amount} /> : props.text}
    </p>
  );
}
