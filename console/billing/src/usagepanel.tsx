import { computed } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { UsageFilter } from "../generated/ConsolePage";
import {
  GROUPS,
  type Group,
  LONGEST_DAYS,
  MOST_MODELS,
  NEWEST_USAGE,
  RANGES,
  type Range,
  type UsageView,
} from "./address";
import { wrongDay } from "./checks";
import { daysOf, usageFilter } from "./criteria";
import { roughCount } from "./counts";
import { usageExport } from "./export";
import { usageText } from "./filtertext";
import { type Stack, stacksOf, totalOf } from "./grouping";
import { amountOf, nanosOf, roughMoney } from "./money";
import { Chart, chartFailure, loadChart } from "./parts/chart";
import { Choices } from "./parts/choices";
import { Exporter } from "./parts/exporter";
import { Failed } from "./parts/failed";
import { Field } from "./parts/field";
import { LeftOut } from "./parts/leftout";
import { Money } from "./parts/money";
import { currency } from "./account";
import { Breakdown } from "./breakdown";
import { Limits } from "./limits";
import { address, go } from "./navigation";
import { dayAfter, daysBetween } from "./times";
import { deducted, loadDeducted, loadUsage, usage, usageFailure, usageIsLoading } from "./usage";
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

/** Of the chosen models. */
const days = computed(() => {
  const { models } = address.value.usage;
  const all = usage.value?.days ?? [];
  return models.length > 0 ? all.filter(({ model }) => models.includes(model)) : all;
});

const charted = computed(() => {
  const { usage: view } = address.value;
  const { from, to } = daysOf(view);
  const shown = daysBetween(from, to);
  return { days: shown, stacks: stacksOf(days.value, shown, view.group, MOST_STACKS) };
});

function set(change: Partial<UsageView>): void {
  go({ usage: { ...address.peek().usage, ...change } });
}

function Ranges({ view }: { readonly view: UsageView }) {
  const { from, to } = daysOf(view);
  const custom = (change: { from?: string; to?: string }) => set({ range: "custom", from, to, ...change });
  const wrong = (other: string, isFrom: boolean) => (day: string) => {
    const isWrong = wrongDay(day);
    if (isWrong) return isWrong;
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

function Models({ view }: { readonly view: UsageView }) {
  const { models } = view;
  // A chosen one without calls in these days is there to be let go.
  const known = [...new Set([...(usage.value?.days ?? []).map(({ model }) => model), ...models])].sort();
  if (known.length === 0) return null;
  return (
    <Choices
      title="Model"
      words={known}
      chosen={models}
      most={MOST_MODELS}
      name={(model) => model}
      change={(some) => set({ models: some })}
    >
      {models.length > 0 && (
        <div class="buttons">
          <button type="button" onClick={() => set({ models: [] })}>
            All models
          </button>
        </div>
      )}
    </Choices>
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
  const { days, stacks } = charted.value;
  if (chartFailure.value) return <Failed error={chartFailure.value} again={loadChart} />;
  const by = view.group === "category" ? "type" : "model";
  return (
    <div class="charts">
      <Chart
        title={`Cost by day and ${by}`}
        days={days}
        stacks={stacks}
        valuesOf={({ cost }) => cost}
        label={(value) => roughMoney(value, currency.value)}
      />
      <Chart
        title={`Tokens by day and ${by}`}
        days={days}
        stacks={stacks}
        valuesOf={({ tokens }) => tokens}
        label={roughCount}
      />
      <Legend stacks={stacks} />
    </div>
  );
}

/** Batches are deducted soon after their hour, some of them on the day after: less of a difference is of no interest. */
const USUAL_PERCENT = 90n;

/** Says that the costs below are more than what left the balance. */
function NotDeducted() {
  const { value: shown } = usage;
  useEffect(() => {
    if (shown) void loadDeducted(JSON.parse(shown.filter) as UsageFilter);
  }, [shown]);
  const { value: taken } = deducted;
  if (!shown || taken?.filter !== shown.filter) return null;
  const cost = totalOf(shown.days).costNanos;
  const paid = -nanosOf(taken.amount);
  if (paid * 100n >= cost * USUAL_PERCENT) return null;
  return (
    <p class="notice">
      The calls of these days cost <Money amount={amountOf(cost)} />, and <Money amount={amountOf(paid)} /> was deducted
      from the balance for API calls. Imported usage is listed here with its cost, but is not deducted.
    </p>
  );
}

function Content({ view }: { readonly view: UsageView }) {
  if (usageFailure.value) {
    return (
      <Failed error={usageFailure.value} again={() => void loadUsage(usageFilter(address.peek().usage))}>
        <button type="button" class="plain" onClick={() => set(NEWEST_USAGE)}>
          Clear filters
        </button>
      </Failed>
    );
  }
  if (!usage.value) return <div class="bone rows" aria-hidden="true" />;
  if (days.value.length === 0 && !usageIsLoading.value) {
    return (
      <div class="empty">
        <p>No API calls from {usageText(view)}</p>
        <p class="muted">Calls appear here on the day they are made. Instances are on the Transactions tab.</p>
      </div>
    );
  }
  return (
    <div class="below" aria-busy={usageIsLoading.value}>
      <NotDeducted />
      <Charts view={view} />
      <Breakdown days={days.value} models={view.models} />
      <UsageTable days={days.value} group={view.group} />
    </div>
  );
}

export function UsagePanel() {
  const { usage: view } = address.value;
  return (
    <>
      <div class="filters">
        <Ranges view={view} />
        <Models view={view} />
        <Groups view={view} />
        <Exporter address={() => usageExport(address.peek().usage)} />
        <LeftOut />
      </div>
      <Limits />
      <Content view={view} />
    </>
  );
}
