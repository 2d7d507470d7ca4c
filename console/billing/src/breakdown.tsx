import { signal, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { UsageFilter } from "../generated/ConsolePage";
import { UsageTotals, type UsageTotalsFilter, type UsageTotalsQuery } from "../generated/UsageTotals";
import { account } from "./account";
import { countText } from "./counts";
import { ask } from "./gateway";
import { totalOf } from "./grouping";
import { locale } from "./locale";
import { approximate, longestTail } from "./money";
import { Failed } from "./parts/failed";
import { Outdated } from "./post";
import type { UsageDay } from "./rows";
import { p } from "./texts/panels";
import { t } from "./texts/spoken";
import { dayAfter, dayText, utcText } from "./times";
import { usage } from "./usage";
import { Figures, Head, widthsOf } from "./usagetable";

type Totals = NonNullable<UsageTotalsQuery["account"]>["usageTotals"];
type Group = Totals["nodes"][number];
type Dimension = "API_KEY" | "PROJECT" | "HOUR";

/** Groups of a table: those with the highest cost. */
const MOST_GROUPS = 100;
/** Of a day, and one of the usage whose hour is not known. */
const HOURS = 25;

const isUnfolded = signal(false);
const chosen = signal("");

interface Asked {
  readonly by: Dimension;
  readonly filter: UsageTotalsFilter;
  readonly first: number;
}

/** Sums of the gateway's, read again whenever the usage that is shown is. */
function useTotals({ by, filter, first }: Asked) {
  const found = useSignal<Totals | null>(null);
  const failure = useSignal<Error | null>(null);
  const tries = useSignal(0);
  const name = JSON.stringify(filter);

  async function load(signal: AbortSignal) {
    failure.value = null;
    try {
      const variables = { account: account.peek()?.id ?? null, by: [by], filter, first };
      found.value = (await ask(UsageTotals, variables, signal)).account?.usageTotals ?? null;
    } catch (error) {
      if (!(error instanceof Outdated)) failure.value = error as Error;
    }
  }

  useEffect(() => {
    const running = new AbortController();
    void load(running.signal);
    return () => running.abort();
  }, [usage.value, name, tries.value]);

  return { totals: found.value, failure: failure.value, again: () => void tries.value++ };
}

export const percents = new Intl.NumberFormat(locale, { style: "percent", maximumFractionDigits: 1 });

function nameOf(group: Group, by: Dimension): string {
  if (by === "HOUR") return group.hour?.slice(11, 16) ?? p.notKnown;
  return (by === "API_KEY" ? group.apiKeyId : group.project) ?? p.notNamed;
}

function GroupRow({ group, by }: { readonly group: Group; readonly by: Dimension }) {
  const share = approximate(group.shareOfCost ?? "0");
  return (
    <tr role="row">
      <th role="rowheader" scope="row" class="name">
        {nameOf(group, by)}
      </th>
      <td role="cell" class="bar">
        <div class="meter">
          <span style={{ width: `${Math.max(share * 100, 0)}%` }} />
        </div>
      </td>
      <td role="cell">{group.shareOfCost && percents.format(share)}</td>
      <Figures sums={totalOf([group])} />
    </tr>
  );
}

function Groups({ totals, by }: { readonly totals: Totals; readonly by: Dimension }) {
  const { nodes, totalCount } = totals;
  const tail = longestTail(nodes.map(({ cost }) => cost));
  return (
    <div class="usagetable">
      <h2>{p.titles[by]}</h2>
      <table role="table" aria-label={p.titles[by]} style={widthsOf(totalOf(nodes), tail)}>
        <Head names={[p.heads[by], p.share, p.percent]} />
        <tbody role="rowgroup" style={{ containIntrinsicBlockSize: `auto calc(${nodes.length} * var(--row))` }}>
          {nodes.map((group) => (
            <GroupRow key={nameOf(group, by)} group={group} by={by} />
          ))}
        </tbody>
      </table>
      {BigInt(totalCount) > nodes.length && (
        <p class="muted">{p.highest(countText(nodes.length), countText(totalCount))}</p>
      )}
    </div>
  );
}

function By(asked: Asked) {
  const { totals, failure, again } = useTotals(asked);
  if (failure) return <Failed error={failure} again={again} />;
  return totals && <Groups totals={totals} by={asked.by} />;
}

/** Days one after the other are told by the first and the last. */
function rangesText(days: readonly string[]): string {
  const ranges: [string, string][] = [];
  for (const day of [...days].sort()) {
    const last = ranges.at(-1);
    if (last && dayAfter(last[1], 1) === day) last[1] = day;
    else ranges.push([day, day]);
  }
  return ranges.map(([from, to]) => (from === to ? dayText(from) : t.fromTo(dayText(from), dayText(to)))).join("; ");
}

function completenessText({ isOpen, completeUntil }: Totals): string {
  if (!isOpen) return p.complete;
  if (!completeUntil) return p.incomplete;
  return p.completeUntil(utcText(completeUntil));
}

interface HoursProps {
  readonly filter: UsageTotalsFilter;
  readonly day: string;
}

/** Without a day: only which days have hours. */
function Hours({ filter, day }: HoursProps) {
  const end = day && dayAfter(day, 1);
  const ofDay = { ...filter, day: { gte: day, ...(end && { lt: end }) } };
  const asked = day ? { filter: ofDay, first: HOURS } : { filter, first: 1 };
  const { totals, failure, again } = useTotals({ by: "HOUR", ...asked });
  if (failure) return <Failed error={failure} again={again} />;
  if (!totals) return null;
  const { undividedDays } = totals;
  return (
    <>
      {day && <Groups totals={totals} by="HOUR" />}
      <p class="muted">
        {undividedDays.length > 0 && p.undivided(rangesText(undividedDays))}
        {completenessText(totals)}
      </p>
    </>
  );
}

function HoursOfDay({ filter, days }: { readonly filter: UsageTotalsFilter; readonly days: readonly string[] }) {
  const day = days.find((one) => one === chosen.value) ?? "";
  return (
    <>
      <div class="field">
        <label for="hours">{p.hoursOf}</label>
        <select id="hours" value={day} onChange={(event) => (chosen.value = event.currentTarget.value)}>
          <option value="">{p.chooseDay}</option>
          {days.map((one) => (
            <option key={one} value={one}>
              {dayText(one)}
            </option>
          ))}
        </select>
      </div>
      <Hours key={day} filter={filter} day={day} />
    </>
  );
}

interface Props {
  /** The usage days that are shown. */
  readonly days: readonly UsageDay[];
  /** Only of these models; none for all. */
  readonly models: readonly string[];
}

function Parts({ days, models }: Props) {
  // The period is that of the figures which are there, not the one that is being read.
  const { day } = JSON.parse(usage.value?.filter ?? "{}") as UsageFilter;
  const filter = { day, ...(models.length > 0 && { models: [...models] }) };
  return (
    <div class="parts">
      <By by="API_KEY" filter={filter} first={MOST_GROUPS} />
      <By by="PROJECT" filter={filter} first={MOST_GROUPS} />
      <HoursOfDay filter={filter} days={[...new Set(days.map((one) => one.day))].sort().reverse()} />
    </div>
  );
}

/** Usage by API key, project and hour, which is asked for only once it is unfolded. */
export function Breakdown(props: Props) {
  return (
    <details
      class="breakdown"
      open={isUnfolded.value}
      onToggle={(event) => (isUnfolded.value = event.currentTarget.open)}
    >
      <summary>{p.whoSpent}</summary>
      {isUnfolded.value && <Parts {...props} />}
    </details>
  );
}
