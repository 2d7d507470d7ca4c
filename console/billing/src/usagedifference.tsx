import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
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

/** Milliseconds. An explanation that takes longer appears later. */
const LONGEST_WAIT = 1000;

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

function Sentence({ figures, isOld }: { readonly figures: Figures; readonly isOld: boolean }) {
  const [reason, other] = reasonsOf(figures);
  if (!reason) return null;
  const { usageCost, charged, imported } = figures;
  return (
    <p
      class={nanosOf(imported) === 0n ? "muted" : "notice"}
      // It keeps its room, so that nothing below moves.
      style={{ visibility: isOld ? "hidden" : "visible" }}
    >
      {p.difference(
        <Money amount={usageCost} />,
        <Money amount={charged} />,
        other ? p.bothReasons(reason, other) : reason,
      )}
    </p>
  );
}

interface Props {
  readonly shown: Usage;
  readonly children: ComponentChildren;
}

/**
 * Says by how much the costs of the days differ from what left the balance in them, and why. What is below is drawn at
 * the same time: it would move under a pointer.
 */
export function Explained({ shown, children }: Props) {
  const known = useSignal<Known | null | undefined>(undefined);
  useEffect(() => {
    const running = new AbortController();
    const draw = () => (known.value ??= null);
    const patience = setTimeout(draw, LONGEST_WAIT);
    read(shown, running.signal)
      .then((found) => (known.value = found))
      // Without an answer, nothing is said.
      .catch(() => running.signal.aborted || draw());
    return () => {
      clearTimeout(patience);
      running.abort();
    };
  }, [shown]);
  const { value: found } = known;
  if (found === undefined) return <div class="bone rows" aria-hidden="true" />;
  return (
    <>
      {found && <Sentence figures={found.figures} isOld={found.filter !== shown.filter} />}
      {children}
    </>
  );
}
