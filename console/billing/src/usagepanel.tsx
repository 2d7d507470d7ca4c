import { useComputed } from "@preact/signals";
import { GROUPS, type Group, LONGEST_DAYS, RANGES, type Range, type UsageView } from "./address";
import { daysOf, usageFilter } from "./criteria";
import { roughCount } from "./counts";
import { usageExport } from "./export";
import { type Stack, stacksOf } from "./grouping";
import { roughMoney } from "./money";
import { Chart, chartFailure, loadChart } from "./parts/chart";
import { Exporter } from "./parts/exporter";
import { Failed } from "./parts/failed";
import { Field } from "./parts/field";
import { currency } from "./account";
import { address, go } from "./navigation";
import { dayAfter, dayText, daysBetween, isDay } from "./times";
import { loadUsage, usage, usageFailure, usageIsLoading } from "./usage";
import { UsageTable } from "./usagetable";

const RANGE_NAMES: Record<Range, string> = {
  "7": "Last 7 days",
  "30": "Last 30 days",
  "90": "Last 90 days",
  month: "This month",
  "last-month": "Last month",
  custom: "Other days",
};

const GROUP_NAMES: Record<Group, string> = { day: "Day", model: "Model", category: "Type" };

/** As many stacks as there are colours. */
const MOST_STACKS = 8;

function set(change: Partial<UsageView>): void {
  go({ usage: { ...address.peek().usage, ...change } });
}

function Ranges({ view }: { readonly view: UsageView }) {
  const { from, to } = daysOf(view);
  const custom = (change: { from?: string; to?: string }) => set({ range: "custom", from, to, ...change });
  const wrong = (other: string, isFrom: boolean) => (day: string) => {
    if (!isDay(day)) return "This is no day.";
    const [first, last] = isFrom ? [day, other] : [other, day];
    if (first > last) return "The first day is after the last.";
    return last >= dayAfter(first, LONGEST_DAYS) ? `${LONGEST_DAYS} days at most.` : "";
  };
  return (
    <>
      <div class="field">
        <label for="range">Days</label>
        <select
          id="range"
          value={view.range}
          onChange={(event) => {
            const range = event.currentTarget.value as Range;
            if (range === "custom") custom({});
            else set({ range, from: "", to: "" });
          }}
        >
          {RANGES.map((range) => (
            <option key={range} value={range}>
              {RANGE_NAMES[range]}
            </option>
          ))}
        </select>
      </div>
      <Field label="From" type="date" value={from} wrong={wrong(to, true)} change={(day) => custom({ from: day })} />
      <Field label="To" type="date" value={to} wrong={wrong(from, false)} change={(day) => custom({ to: day })} />
    </>
  );
}

function Groups({ view }: { readonly view: UsageView }) {
  return (
    <fieldset class="switch">
      <legend>Group by</legend>
      {GROUPS.map((group) => (
        <label key={group}>
          <input type="radio" name="group" checked={group === view.group} onChange={() => set({ group })} />
          <span>{GROUP_NAMES[group]}</span>
        </label>
      ))}
    </fieldset>
  );
}

function Legend({ stacks }: { readonly stacks: readonly Stack[] }) {
  return (
    <ul class="legend">
      {stacks.map(({ name }, index) => (
        <li key={name}>
          <span class="swatch" style={{ background: `var(--s${index})` }} aria-hidden="true" />
          {name}
        </li>
      ))}
    </ul>
  );
}

function Charts({ view }: { readonly view: UsageView }) {
  const stacks = useComputed(() => {
    const { from, to } = daysOf(address.value.usage);
    const days = daysBetween(from, to);
    return { days, stacks: stacksOf(usage.value?.days ?? [], days, address.value.usage.group, MOST_STACKS) };
  }).value;
  if (chartFailure.value) return <Failed error={chartFailure.value} again={loadChart} />;
  const by = view.group === "category" ? "type" : "model";
  return (
    <div class="charts">
      <Chart
        title={`Cost by day and ${by}`}
        days={stacks.days}
        stacks={stacks.stacks}
        valuesOf={({ cost }) => cost}
        label={(value) => roughMoney(value, currency.value)}
      />
      <Chart
        title={`Tokens by day and ${by}`}
        days={stacks.days}
        stacks={stacks.stacks}
        valuesOf={({ tokens }) => tokens}
        label={roughCount}
      />
      <Legend stacks={stacks.stacks} />
    </div>
  );
}

function Content({ view }: { readonly view: UsageView }) {
  const { from, to } = daysOf(view);
  if (usageFailure.value) {
    return <Failed error={usageFailure.value} again={() => void loadUsage(usageFilter(address.peek().usage))} />;
  }
  if (!usage.value) return <div class="bone rows" aria-hidden="true" />;
  if (usage.value.days.length === 0 && !usageIsLoading.value) {
    return (
      <div class="empty">
        <p>
          No API calls from {dayText(from)} to {dayText(to)}.
        </p>
        <p class="muted">Calls appear here on the day they are made. Instances are on the Transactions tab.</p>
      </div>
    );
  }
  return (
    <div class="beside" aria-busy={usageIsLoading.value}>
      <Charts view={view} />
      <UsageTable days={usage.value.days} group={view.group} />
    </div>
  );
}

export function UsagePanel() {
  const { usage: view } = address.value;
  return (
    <>
      <div class="filters">
        <Ranges view={view} />
        <Groups view={view} />
        <Exporter address={() => usageExport(address.peek().usage)} />
      </div>
      <Content view={view} />
    </>
  );
}
