import { signal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import type { GroupBy } from "./address";
import { currency } from "./account";
import { announce } from "./announcer";
import { countText } from "./counts";
import { type Line, type Sums, type UsageGroup, groupsOf, totalOf } from "./grouping";
import { amountOf, lengthOf, longestTail, moneyParts } from "./money";
import { memo } from "./parts/memo";
import { cellMoney, moneyProps } from "./parts/money";
import type { UsageDay } from "./rows";
import { p } from "./texts/panels";
import { dayText } from "./times";

/** Groups whose lines are shown, by group and key. */
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

/** A row of the table that unfolds to lines. */
interface Foldable {
  readonly key: string;
  readonly lines: readonly unknown[];
}

interface UnfoldProps {
  readonly groups: readonly Foldable[];
  readonly nameOf: (group: Foldable) => string;
}

async function unfoldAll({ groups, nameOf }: UnfoldProps): Promise<void> {
  const current = (unfolding.value = ++clicks);
  let names: string[] = [];
  let lines = 0;
  for (const group of groups) {
    names.push(nameOf(group));
    lines += group.lines.length;
    if (lines < LINES_AT_ONCE && group !== groups.at(-1)) continue;
    unfolded.value = new Set([...unfolded.peek(), ...names]);
    [names, lines] = [[], 0];
    await new Promise((drawn) => setTimeout(drawn));
    if (unfolding.peek() !== current) return;
  }
  unfolding.value = 0;
  announce(p.unfolded(groups.reduce((sum, one) => sum + one.lines.length, 0)));
}

export function UnfoldAll(props: UnfoldProps) {
  const { groups, nameOf } = props;
  const all = unfolding.value !== 0 || groups.every((group) => unfolded.value.has(nameOf(group)));
  return (
    <button type="button" class="plain" aria-pressed={all} onClick={() => (all ? foldAll() : void unfoldAll(props))}>
      {all ? p.foldAll : p.unfoldAll}
    </button>
  );
}

const heads = (): Record<GroupBy, readonly [string, string, string]> => ({
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

function lineRow(line: Line, by: GroupBy) {
  return (
    <tr key={line.key} role="row" class="line">
      <td role="cell" />
      <td role="cell" class="name">
        {by === "model" ? dayText(line.day ?? "") : line.model}
      </td>
      <td role="cell" class="kind">
        {line.kind}
      </td>
      <Figures sums={line.sums} />
    </tr>
  );
}

interface GroupProps {
  readonly group: UsageGroup;
  readonly by: GroupBy;
  readonly name: string;
  readonly isOpen: boolean;
}

/** Drawn anew only when it is unfolded or folded. */
const GroupRows = memo(function GroupRows({ group, by, name, isOpen }: GroupProps) {
  const title = by === "day" ? dayText(group.key) : group.key;
  const names = new Set(group.lines.map(({ day, model }) => day ?? model));
  const note = (by === "model" ? p.countDays : p.chosenModels)(names.size);
  const height = `auto calc(${isOpen ? group.lines.length + 1 : 1} * var(--row))`;
  return (
    <tbody role="rowgroup" style={{ containIntrinsicBlockSize: height }}>
      <tr role="row" class="group">
        <th role="rowheader" scope="rowgroup" colSpan={3}>
          <button type="button" aria-expanded={isOpen} onClick={() => toggle(name)}>
            {title} <span class="muted">{note}</span>
          </button>
        </th>
        <Figures sums={group.sums} />
      </tr>
      {isOpen && group.lines.map((line) => lineRow(line, by))}
    </tbody>
  );
});

/** Characters of the longest figures. */
export function widthsOf({ calls, inputTokens, outputTokens, costNanos }: Sums, tail: number) {
  const shown = moneyParts(amountOf(costNanos), currency.peek());
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
  readonly by: GroupBy;
}

/** The figures of the charts, exactly. */
export function UsageTable({ days, by }: Props) {
  const groups = useMemo(() => groupsOf(days, by), [days, by]);
  const total = useMemo(() => totalOf(days), [days]);
  const tail = useMemo(() => longestTail(days.map(({ cost }) => cost)), [days]);
  const nameOf = ({ key }: Foldable) => `${by} ${key}`;
  return (
    <div class="usagetable">
      <UnfoldAll groups={groups} nameOf={nameOf} />
      <table role="table" aria-label={p.usage} style={widthsOf(total, tail)}>
        <Head names={heads()[by]} />
        {groups.map((group) => (
          <GroupRows
            key={group.key}
            group={group}
            by={by}
            name={nameOf(group)}
            isOpen={unfolded.value.has(nameOf(group))}
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
