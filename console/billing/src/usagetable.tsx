import { signal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import type { Group } from "./address";
import { currency } from "./account";
import { announce } from "./announcer";
import { countText } from "./counts";
import { type Bundle, type Line, type Sums, bundlesOf, totalOf } from "./grouping";
import { amountOf, lengthOf, longestTail, printed } from "./money";
import { memo } from "./parts/memo";
import { cellMoney, moneyProps } from "./parts/money";
import type { UsageDay } from "./rows";
import { p } from "./texts/panels";
import { dayText } from "./times";

/** Bundles whose lines are shown, by group and key. */
export const unfolded = signal<ReadonlySet<string>>(new Set());

export function toggle(name: string): void {
  const next = new Set(unfolded.peek());
  if (!next.delete(name)) next.add(name);
  unfolded.value = next;
}

/** Lines that are drawn before the browser may do something else: all of them at once would block it for seconds. */
const LINES_AT_ONCE = 150;

/** Which unfolding goes on: each click on the button ends the one before. */
const unfolding = signal(0);
let clicks = 0;

function foldAll(): void {
  unfolding.value = 0;
  unfolded.value = new Set();
}

/** What is unfolded to lines. */
interface Folded {
  readonly key: string;
  readonly lines: readonly unknown[];
}

interface UnfoldProps {
  readonly bundles: readonly Folded[];
  readonly nameOf: (bundle: Folded) => string;
}

async function unfoldAll({ bundles, nameOf }: UnfoldProps): Promise<void> {
  const current = (unfolding.value = ++clicks);
  let names: string[] = [];
  let lines = 0;
  for (const bundle of bundles) {
    names.push(nameOf(bundle));
    lines += bundle.lines.length;
    if (lines < LINES_AT_ONCE && bundle !== bundles.at(-1)) continue;
    unfolded.value = new Set([...unfolded.peek(), ...names]);
    [names, lines] = [[], 0];
    await new Promise((drawn) => setTimeout(drawn));
    if (unfolding.peek() !== current) return;
  }
  unfolding.value = 0;
  announce(p.unfolded(bundles.reduce((sum, one) => sum + one.lines.length, 0)));
}

export function UnfoldAll(props: UnfoldProps) {
  const { bundles, nameOf } = props;
  const all = unfolding.value !== 0 || bundles.every((bundle) => unfolded.value.has(nameOf(bundle)));
  return (
    <button type="button" class="plain" aria-pressed={all} onClick={() => (all ? foldAll() : void unfoldAll(props))}>
      {all ? p.foldAll : p.unfoldAll}
    </button>
  );
}

const heads = (): Record<Group, readonly [string, string, string]> => ({
  day: [p.date, p.model, p.type],
  model: [p.model, p.date, p.type],
  category: [p.type, p.model, p.origin],
});

/** The columns before the figures, and those of the figures. */
export function Head({ names }: { readonly names: readonly string[] }) {
  return (
    <thead role="rowgroup">
      <tr role="row">
        {names.map((name) => (
          <th key={name} role="columnheader" scope="col">
            {name}
          </th>
        ))}
        {[p.calls, p.tokens, p.cost].map((name) => (
          <th key={name} role="columnheader" scope="col" class="number">
            {name}
          </th>
        ))}
      </tr>
    </thead>
  );
}

export function Figures({ sums }: { readonly sums: Sums }) {
  const { calls, inputTokens, outputTokens, costNanos } = sums;
  const cost = amountOf(costNanos);
  return (
    <>
      <td role="cell" class="count" data-label={p.calls}>
        {countText(calls)}
      </td>
      <td
        role="cell"
        class="count"
        data-label={p.tokens}
        title={p.inOut(countText(inputTokens), countText(outputTokens))}
      >
        {countText(inputTokens + outputTokens)}
      </td>
      <td role="cell" data-label={p.cost} {...moneyProps(cost, false, "amount ")}>
        {cellMoney(cost)}
      </td>
    </>
  );
}

function lineRow(line: Line, group: Group) {
  return (
    <tr key={line.key} role="row" class="line">
      <td role="cell" />
      <td role="cell" class="name">
        {group === "model" ? dayText(line.day ?? "") : line.model}
      </td>
      <td role="cell" class="kind">
        {line.kind}
      </td>
      <Figures sums={line.sums} />
    </tr>
  );
}

interface BundleProps {
  readonly bundle: Bundle;
  readonly group: Group;
  readonly name: string;
  readonly isOpen: boolean;
}

/** Drawn anew only when it is unfolded or folded. */
const BundleRows = memo(function BundleRows({ bundle, group, name, isOpen }: BundleProps) {
  const title = group === "day" ? dayText(bundle.key) : bundle.key;
  const names = new Set(bundle.lines.map(({ day, model }) => day ?? model));
  const note = (group === "model" ? p.countDays : p.chosenModels)(names.size);
  const height = `auto calc(${isOpen ? bundle.lines.length + 1 : 1} * var(--row))`;
  return (
    <tbody role="rowgroup" style={{ containIntrinsicBlockSize: height }}>
      <tr role="row" class="bundle">
        <th role="rowheader" scope="rowgroup" colSpan={3}>
          <button type="button" aria-expanded={isOpen} onClick={() => toggle(name)}>
            {title} <span class="muted">{note}</span>
          </button>
        </th>
        <Figures sums={bundle.sums} />
      </tr>
      {isOpen && bundle.lines.map((line) => lineRow(line, group))}
    </tbody>
  );
});

/** Characters of the longest figures. */
export function widthsOf({ calls, inputTokens, outputTokens, costNanos }: Sums, tail: number) {
  const shown = printed(amountOf(costNanos), currency.peek());
  const length = lengthOf(shown);
  return {
    "--calls": countText(calls).length,
    "--tokens": countText(inputTokens + outputTokens).length,
    "--cost": length + tail,
    "--cents-cost": Math.max(length, shown.cents.length) + 1,
    "--tail": tail,
  };
}

interface Props {
  readonly days: readonly UsageDay[];
  readonly group: Group;
}

/** The figures of the charts, exactly. */
export function UsageTable({ days, group }: Props) {
  const bundles = useMemo(() => bundlesOf(days, group), [days, group]);
  const total = useMemo(() => totalOf(days), [days]);
  const tail = useMemo(() => longestTail(days.map(({ cost }) => cost)), [days]);
  const nameOf = ({ key }: Folded) => `${group} ${key}`;
  return (
    <div class="usagetable">
      <UnfoldAll bundles={bundles} nameOf={nameOf} />
      <table role="table" aria-label={p.usage} style={widthsOf(total, tail)}>
        <Head names={heads()[group]} />
        {bundles.map((bundle) => (
          <BundleRows
            key={bundle.key}
            bundle={bundle}
            group={group}
            name={nameOf(bundle)}
            isOpen={unfolded.value.has(nameOf(bundle))}
          />
        ))}
        <tfoot role="rowgroup">
          <tr role="row">
            <th role="rowheader" scope="row" colSpan={3}>
              {p.total}
            </th>
            <Figures sums={total} />
          </tr>
        </tfoot>
      </table>
    </div>
  );
}
