import { currency } from "../account";
import { isNegative, printed } from "../money";

interface Props {
  readonly amount: string;
  /** A plus before what was added, and a colour beside it. */
  readonly signed?: boolean;
}

/** An exact amount. Digits beyond cents are dimmed, and columns of amounts line up at the point. */
export function Money({ amount, signed = false }: Props) {
  const { head, tail } = printed(amount, currency.value, signed);
  const added = signed && !isNegative(amount);
  return (
    <span class={`money own-${tail.length}${added ? " added" : ""}`}>
      {head}
      {tail && <span class="tail">{tail}</span>}
    </span>
  );
}
