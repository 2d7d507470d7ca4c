import { currency } from "../account";
import { printed } from "../money";
import { Money } from "./money";

/** Digits beyond cents are half as large. */
const TAIL = 0.5;
const MARK = 1;

function lengthOf(amount: string): number {
  const { head, tail } = printed(amount, currency.peek());
  return head.length + Math.max(tail.length * TAIL, tail ? MARK : 0);
}

type Props = { readonly amount: string } | { readonly text: string };

/** A large figure on one line: it is told its length, and is drawn smaller where it would not fit. */
export function Figure(props: Props) {
  const isAmount = "amount" in props;
  return (
    <p class="figure" style={{ "--length": isAmount ? lengthOf(props.amount) : props.text.length }}>
      {isAmount ? <Money amount={props.amount} /> : props.text}
    </p>
  );
}
