import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { UsageFilter } from "../generated/ConsolePage";
import { UsageDifference, type UsageDifferenceQuery } from "../generated/UsageDifference";
import { account } from "./account";
import { ask } from "./gateway";
import { amountOf, nanosOf } from "./money";
import { Money } from "./parts/money";
import { p } from "./texts/panels";
import type { Usage } from "./usage";

type Figures = NonNullable<UsageDifferenceQuery["account"]>["costTotals"]["usageDifference"];

interface Known {
  readonly filter: string;
  readonly figures: Figures;
}

async function read({ filter }: Usage, signal: AbortSignal): Promise<Known | null> {
  const { day } = JSON.parse(filter) as UsageFilter;
  const found = await ask(UsageDifference, { account: account.peek()?.id ?? null, day: day ?? null }, signal);
  return found.account && { filter, figures: found.account.costTotals.usageDifference };
}

/** Why the costs differ from what was deducted; none if they do not. */
function reasonsOf({ imported, shifted }: Figures) {
  const [copied, later] = [nanosOf(imported), nanosOf(shifted)];
  return [
    copied !== 0n && p.imported(<Money amount={imported} />),
    later > 0n && p.deductedLater(<Money amount={shifted} />),
    later < 0n && p.ofEarlier(<Money amount={amountOf(-later)} />),
  ].filter((reason) => reason !== false);
}

/** Says by how much the costs of the days differ from what left the balance in them, and why. */
export function Difference({ shown }: { readonly shown: Usage }) {
  const known = useSignal<Known | null>(null);
  useEffect(() => {
    const running = new AbortController();
    // An explanation of what is there already: without an answer, nothing is said.
    read(shown, running.signal).then((found) => (known.value = found), () => {});
    return () => running.abort();
  }, [shown]);
  const { value: found } = known;
  if (found?.filter !== shown.filter) return null;
  const [reason, other] = reasonsOf(found.figures);
  if (!reason) return null;
  const { usageCost, charged, imported } = found.figures;
  return (
    <p class={nanosOf(imported) === 0n ? "muted" : "notice"}>
      {p.difference(
        <Money amount={usageCost} />,
        <Money amount={charged} />,
        other ? p.bothReasons(reason, other) : reason,
      )}
    </p>
  );
}
