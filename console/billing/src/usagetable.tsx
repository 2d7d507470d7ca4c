import { signal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import type { Group } from "./address";
import { countText, counted } from "./counts";
import { type Bundle, type Line, type Sums, bundlesOf, totalOf } from "./grouping";
import { amountOf, longestTail } from "./money";
import { Money } from "./parts/money";
import type { UsageDay } from "./rows";
import { dayText } from "./times";

/** Bundles whose lines are shown, by group and key. */
const unfolded = signal<ReadonlySet<string>>(new Set());

function toggle(name: string): void {
  const next = new Set(unfolded.peek());
  if (!next.delete(name)) next.add(name);
  unfolded.value = next;
}

const HEADS: Record<Group, readonly [string, string, string]> = {
  day: ["Date", "Model", "Type"],
  model: ["Model", "Date", "Type"],
  category: ["Type", "Model", "Origin"],
};

function Figures({ sums }: { readonly sums: Sums }) {
  const { calls, inputTokens, outputTokens, costNanos } = sums;
  return (
    <>
      <td role="cell" class="count" data-label="Calls">
        {countText(calls)}
      </td>
      <td
        role="cell"
        class="count"
        data-label="Tokens"
        title={`${countText(inputTokens)} in, ${countText(outputTokens)} out`}
      >
        {countText(inputTokens + outputTokens)}
      </td>
      <td role="cell" class="amount" data-label="Cost">
        <Money amount={amountOf(costNanos)} />
      </td>
    </>
  );
}

function LineRow({ line, group }: { readonly line: Line; readonly group: Group }) {
  return (
    <tr role="row" class="line">
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

function BundleRows({ bundle, group }: { readonly bundle: Bundle; readonly group: Group }) {
  const name = `${group} ${bundle.key}`;
  const isOpen = unfolded.value.has(name);
  const title = group === "day" ? dayText(bundle.key) : bundle.key;
  const names = new Set(bundle.lines.map(({ day, model }) => day ?? model));
  const note = counted(names.size, group === "model" ? "day" : "model");
  return (
    <tbody role="rowgroup">
      <tr role="row" class="bundle">
        <th role="rowheader" scope="rowgroup" colSpan={3}>
          <button type="button" aria-expanded={isOpen} onClick={() => toggle(name)}>
            {title} <span class="muted">{note}</span>
          </button>
        </th>
        <Figures sums={bundle.sums} />
      </tr>
      {isOpen && bundle.lines.map((line) => <LineRow key={line.key} line={line} group={group} />)}
    </tbody>
  );
}

interface Props {
  readonly days: readonly UsageDay[];
  readonly group: Group;
}

/** The figures of the charts, exactly. */
export function UsageTable({ days, group }: Props) {
  const bundles = useMemo(() => bundlesOf(days, group), [days, group]);
  const names = bundles.map(({ key }) => `${group} ${key}`);
  const tail = useMemo(() => longestTail(days.map(({ cost }) => cost)), [days]);
  const all = names.every((name) => unfolded.value.has(name));
  return (
    <div class="usagetable">
      <button
        type="button"
        class="plain"
        aria-pressed={all}
        onClick={() => (unfolded.value = new Set(all ? [] : names))}
      >
        {all ? "Fold all" : "Unfold all"}
      </button>
      <table role="table" aria-label="Usage" style={{ "--tail": tail }}>
        <thead role="rowgroup">
          <tr role="row">
            {HEADS[group].map((name) => (
              <th key={name} role="columnheader" scope="col">
                {name}
              </th>
            ))}
            {["Calls", "Tokens", "Cost"].map((name) => (
              <th key={name} role="columnheader" scope="col" class="number">
                {name}
              </th>
            ))}
          </tr>
        </thead>
        {bundles.map((bundle) => (
          <BundleRows key={bundle.key} bundle={bundle} group={group} />
        ))}
        <tfoot role="rowgroup">
          <tr role="row">
            <th role="rowheader" scope="row" colSpan={3}>
              Total
            </th>
            <Figures sums={totalOf(days)} />
          </tr>
        </tfoot>
      </table>
    </div>
  );
}
