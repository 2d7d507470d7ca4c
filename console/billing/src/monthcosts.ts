import { account } from "./account";
import { colourOf, costOf, periodsOf } from "./costgrouping";
import { costPage } from "./costs";
import { amountOf } from "./money";
import { monthKinds } from "./monthkinds";

/** More than the months and kinds that there can be: an answer costs points for as many as are asked for. */
const MOST_KINDS = 100;

/** Reads the kinds of the month bars' costs. They are an extra: what can't be read is shown in one colour. */
export async function loadMonthKinds(): Promise<void> {
  const shown = account.peek();
  const [first] = shown?.months ?? [];
  if (!shown || !first || monthKinds.peek()?.account === shown.id) return;
  try {
    const { nodes } = await costPage(["MONTH", "KIND"], { day: { gte: `${first.month}-01` } }, MOST_KINDS, null);
    const months = periodsOf(nodes, "kind").map(({ time, parts }) => {
      const kinds = parts.map((part, place) => {
        return { name: part.name, colour: colourOf(part, place), cost: amountOf(costOf(part.sums)) };
      });
      return [time, kinds] as const;
    });
    monthKinds.value = { account: shown.id, months: new Map(months) };
  } catch {
    // Asked for again with the next account.
  }
}
