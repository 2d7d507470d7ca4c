import { useEffect, useMemo } from "preact/hooks";
import { account, currency } from "./account";
import { type Address, type CostsView, NEWEST_COSTS } from "./address";
import {
  type CostSums,
  type Part,
  type Period,
  type Side,
  behind,
  colourOf,
  costOf,
  costStacksOf,
  daysIn,
  partsOf,
  periodsOf,
  sumsOf,
} from "./costgrouping";
import { type Costs, costs, costsAreLoading, costsFailure, loadCosts } from "./costs";
import { countText } from "./counts";
import { type Days, daysOf } from "./daterange";
import { percents } from "./breakdown";
import { loadMonthKinds } from "./monthkinds";
import { amountOf, approximate, lengthOf, longestTail, moneyParts, roughMoney } from "./money";
import { address, go } from "./navigation";
import { Chart, chartFailure, loadChart, periodText } from "./parts/chart";
import { Failed } from "./parts/failed";
import { LeftOut } from "./parts/leftout";
import { memo } from "./parts/memo";
import { money, moneyProps } from "./parts/money";
import { Days as DaysField } from "./parts/span";
import { Switch } from "./parts/switch";
import { Way, follows } from "./parts/way";
import { p } from "./texts/panels";
import { t } from "./texts/spoken";
import { dayText, daysBetween, monthOf, monthsBefore } from "./times";
import { UnfoldAll, toggle, unfolded } from "./usagetable";

const periodNames = (): Record<CostsView["per"], string> => ({ day: p.day, month: p.month });

function set(change: Partial<CostsView>): void {
  go({ costs: { ...address.peek().costs, ...change } });
}

/** Months of thirty days are one or two: a year of them is more to look at. */
function setPer(per: CostsView["per"]): void {
  const { range } = address.peek().costs;
  set({ per, ...(per === "month" && range === NEWEST_COSTS.range && { range: "year" }) });
}

/** The API key or project that the view is narrowed to. */
function narrowText({ key, project, without }: CostsView): string {
  const none = without && (without === "key" ? p.withoutKey : p.withoutProject);
  return [key && p.ofKey(key), project && p.ofProject(project), none].filter(Boolean).join(", ");
}

function Narrowed({ view }: { readonly view: CostsView }) {
  const text = narrowText(view);
  if (!text) return null;
  return (
    <p class="summaryline">
      {p.onlyCost(text)}{" "}
      <button type="button" class="plain" onClick={() => set({ key: "", project: "", without: "" })}>
        {p.showAll}
      </button>
    </p>
  );
}

interface Figure {
  readonly sums: CostSums;
  readonly to: (side: Side) => Partial<Address>;
}

function Amounts({ sums, to }: Figure) {
  const figures: [Side, bigint][] = [
    ["gross", sums.gross],
    ["refunded", sums.refunded],
    ["cost", costOf(sums)],
  ];
  return (
    <>
      {figures.map(([side, nanos]) => {
        const amount = amountOf(nanos);
        return (
          <td key={side} role="cell" class="amount" data-label={p.sides[side]}>
            {nanos === 0n ? (
              <span {...moneyProps(amount)}>{money(amount)}</span>
            ) : (
              <Way to={to(side)} {...moneyProps(amount)}>
                {money(amount)}
              </Way>
            )}
          </td>
        );
      })}
    </>
  );
}

interface RowProps {
  readonly part: Part;
  readonly colour: number;
  readonly view: CostsView;
  readonly days: Days;
  readonly all: CostSums;
  readonly id: string;
}

function PartRow({ part, colour, view, days, all, id }: RowProps) {
  const whole = approximate(amountOf(costOf(all)));
  const share = whole > 0 ? approximate(amountOf(costOf(part.sums))) / whole : 0;
  return (
    <tr role="row" class="row" data-id={id}>
      <th role="rowheader" scope="row" class={part.name === p.notNamed ? "name muted" : "name"}>
        <span class="swatch" style={{ background: `var(--s${colour})` }} aria-hidden="true" />
        {part.name}
      </th>
      <td role="cell" class="bar">
        <div class="meter">
          <span style={{ width: `${Math.min(Math.max(share * 100, 0), 100)}%`, background: `var(--s${colour})` }} />
        </div>
      </td>
      <td role="cell">{share > 0 && percents.format(share)}</td>
      <Amounts sums={part.sums} to={(side) => behind(view, days, part, side)} />
    </tr>
  );
}

function Head({ names }: { readonly names: readonly string[] }) {
  return (
    <thead role="rowgroup">
      <tr role="row">
        {names.map((name) => (
          <th key={name} role="columnheader" scope="col">
            {name}
          </th>
        ))}
        {Object.values(p.sides).map((name) => (
          <th key={name} role="columnheader" scope="col" class="number">
            {name}
          </th>
        ))}
      </tr>
    </thead>
  );
}

interface TableProps {
  readonly view: CostsView;
  readonly days: Days;
  readonly parts: readonly Part[];
  readonly total: CostSums;
}

function Total({ view, days, total }: Omit<TableProps, "parts">) {
  return (
    <tfoot role="rowgroup">
      <tr role="row">
        <th role="rowheader" scope="row" colSpan={3}>
          {p.total}
        </th>
        <Amounts sums={total} to={(side) => behind(view, days, null, side)} />
      </tr>
    </tfoot>
  );
}

function PartsTable({ view, days, parts, total }: TableProps) {
  const title = p.costBy[view.by];
  return (
    <table role="table" aria-label={title}>
      <Head names={[p.causes[view.by], p.share, p.percent]} />
      <tbody role="rowgroup" style={{ containIntrinsicBlockSize: `auto calc(${parts.length} * var(--row))` }}>
        {parts.map((part, place) => (
          <PartRow
            key={part.key}
            id={`part ${place}`}
            part={part}
            colour={colourOf(part, place)}
            view={view}
            days={days}
            all={total}
          />
        ))}
      </tbody>
      <Total view={view} days={days} total={total} />
    </table>
  );
}

interface PeriodProps {
  readonly period: Period;
  readonly view: CostsView;
  readonly shown: Days;
  readonly colours: ReadonlyMap<string, number>;
  readonly isOpen: boolean;
}

/** Drawn anew only when it is unfolded or folded. */
const PeriodRows = memo(function PeriodRows({ period, view, shown, colours, isOpen }: PeriodProps) {
  const { time, parts, sums } = period;
  const days = daysIn(shown, time);
  const height = `auto calc(${isOpen ? parts.length + 1 : 1} * var(--row))`;
  return (
    <tbody role="rowgroup" style={{ containIntrinsicBlockSize: height }}>
      <tr role="row" class="row group" data-id={time}>
        <th role="rowheader" scope="rowgroup" colSpan={3}>
          <button type="button" aria-expanded={isOpen} onClick={() => toggle(nameOf(view, time))}>
            {periodText(time)} <span class="muted">{p.parts[view.by](parts.length)}</span>
          </button>
        </th>
        <Amounts sums={sums} to={(side) => behind(view, days, null, side)} />
      </tr>
      {isOpen &&
        parts.map((part, place) => (
          <PartRow
            key={part.key}
            id={`${time} ${place}`}
            part={part}
            colour={colours.get(part.key) ?? 7}
            view={view}
            days={days}
            all={sums}
          />
        ))}
    </tbody>
  );
});

function nameOf({ by }: CostsView, time: string): string {
  return `${by} ${time}`;
}

function PeriodsTable(props: TableProps & { readonly periods: readonly Period[] }) {
  const { view, days, parts, total, periods } = props;
  const colours = useMemo(() => new Map(parts.map((part, place) => [part.key, colourOf(part, place)])), [parts]);
  const foldable = useMemo(() => periods.map(({ time, parts: lines }) => ({ key: time, lines })), [periods]);
  return (
    <div>
      <UnfoldAll groups={foldable} nameOf={({ key }) => nameOf(view, key)} />
      <table role="table" aria-label={p.costPer[view.per]}>
        <Head names={[periodNames()[view.per], p.share, p.percent]} />
        {periods.map((period) => (
          <PeriodRows
            key={period.time}
            period={period}
            view={view}
            shown={days}
            colours={colours}
            isOpen={unfolded.value.has(nameOf(view, period.time))}
          />
        ))}
        <Total view={view} days={days} total={total} />
      </table>
    </div>
  );
}

function timesOf({ per }: CostsView, { from, to }: Days): string[] {
  if (per === "day") return daysBetween(from, to);
  const months = [monthOf(to)];
  while ((months[0] as string) > monthOf(from)) months.unshift(monthsBefore(months[0] as string, 1));
  return months;
}

function Bars({ view, days, parts, periods }: Omit<TableProps, "total"> & { readonly periods: readonly Period[] }) {
  const drawn = useMemo(() => {
    const times = timesOf(view, days);
    const stacks = costStacksOf(parts, periods, times);
    return { times, stacks, values: stacks.map(({ values }) => values) };
  }, [view, days, parts, periods]);
  const { times, stacks, values } = drawn;
  if (chartFailure.value) return <Failed error={chartFailure.value} again={loadChart} />;

  function open(index: number, stack: number | null) {
    const time = times[index];
    const key = stack === null ? null : stacks[stack]?.key;
    const part = periods.find((one) => one.time === time)?.parts.find((one) => one.key === key) ?? null;
    if (time) follows(behind(view, daysIn(days, time), part));
  }

  return (
    <div>
      <Chart
        title={p.costBoth[view.per][view.by]}
        days={times}
        stacks={stacks}
        values={values}
        label={(value) => roughMoney(value, currency.value)}
        open={open}
      />
      <p class="muted">{p.barOpens}</p>
    </div>
  );
}

/** Characters of the longest figures. */
function widthsOf(total: CostSums, tail: number) {
  const nanos = [total.gross, total.refunded, costOf(total)].map((one) => moneyParts(amountOf(one), currency.peek()));
  const head = Math.max(...nanos.map(lengthOf));
  return {
    "--cost": head + tail,
    "--cents-cost": Math.max(head, ...nanos.map(({ cents }) => cents.length)) + 1,
    "--tail": tail,
  };
}

function Tables({ shown }: { readonly shown: Costs }) {
  const { view, groups, isWhole, totalCount } = shown;
  const days = useMemo(() => daysOf(view), [view]);
  const parts = useMemo(() => partsOf(groups, view.by), [groups, view]);
  const periods = useMemo(() => periodsOf(groups, view.by), [groups, view]);
  const tail = useMemo(() => longestTail(groups.flatMap(({ gross, refunded }) => [gross, refunded])), [groups]);
  const total = sumsOf(shown.totals);
  return (
    <div class="below costs" aria-busy={costsAreLoading.value}>
      {isWhole ? (
        <Bars view={view} days={days} parts={parts} periods={periods} />
      ) : (
        <p class="notice">{p.tooMany(countText(groups.length), countText(totalCount))}</p>
      )}
      <div class="usagetable" style={widthsOf(total, tail)}>
        <PartsTable view={view} days={days} parts={parts} total={total} />
        {parts.length === 1 && parts[0]?.name === p.notNamed && <p class="muted">{p.noneNamed}</p>}
        {isWhole && <PeriodsTable view={view} days={days} parts={parts} total={total} periods={periods} />}
      </div>
    </div>
  );
}

function Content({ view }: { readonly view: CostsView }) {
  const shown = costs.value?.account === account.value?.id ? costs.value : null;
  if (costsFailure.value) {
    return (
      <Failed error={costsFailure.value} again={() => void loadCosts(view)}>
        <button type="button" class="plain" onClick={() => set(NEWEST_COSTS)}>
          {t.clearFilters}
        </button>
      </Failed>
    );
  }
  if (!shown) return <div class="bone rows" aria-hidden="true" />;
  if (shown.groups.length > 0 || costsAreLoading.value) return <Tables shown={shown} />;
  const { from, to } = daysOf(shown.view);
  return (
    <div class="empty">
      <p>{p.noCost(dayText(from), dayText(to))}</p>
      <p class="muted">{p.noCostNote}</p>
    </div>
  );
}

export function CostsPanel() {
  const { costs: view } = address.value;
  const { value: shown } = account;
  // A change of the cards: what the balance has come to may be cost.
  useEffect(() => void loadCosts(view), [JSON.stringify(view), shown?.id, shown?.thisMonth]);
  useEffect(() => void loadMonthKinds(), [shown?.id]);
  return (
    <>
      <div class="filters">
        <DaysField view={view} change={set} />
        <Switch legend={p.groupBy} name="by" words={p.causes} chosen={view.by} change={(by) => set({ by })} />
        <Switch legend={p.bars} name="per" words={periodNames()} chosen={view.per} change={setPer} />
        <LeftOut />
        <Narrowed view={view} />
      </div>
      <Content view={view} />
    </>
  );
}
