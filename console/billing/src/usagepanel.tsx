import { computed } from "@preact/signals";
import { type GroupBy, MOST_MODELS, NEWEST_USAGE, type UsageView } from "./address";
import { daysOf } from "./daterange";
import { usageFilter } from "./filterinputs";
import { roughCount } from "./counts";
import { usageExport } from "./export";
import { usageText } from "./filtertext";
import { type Stack, stacksOf } from "./grouping";
import { roughMoney } from "./money";
import { Chart, chartFailure, loadChart } from "./parts/chart";
import { Choices } from "./parts/choices";
import { Exporter } from "./parts/exporter";
import { Failed } from "./parts/failed";
import { LeftOut } from "./parts/leftout";
import { Days } from "./parts/span";
import { Switch } from "./parts/switch";
import { currency } from "./account";
import { Breakdown } from "./breakdown";
import { Limits } from "./limits";
import { address, go } from "./navigation";
import { p } from "./texts/panels";
import { t } from "./texts/spoken";
import { daysBetween } from "./times";
import { loadUsage, usage, usageFailure, usageIsLoading } from "./usage";
import { Explained } from "./usagedifference";
import { UsageTable } from "./usagetable";

const groupNames = (): Record<GroupBy, string> => ({ day: p.day, model: p.model, category: p.type });

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

function Models({ view }: { readonly view: UsageView }) {
  const { models } = view;
  // A chosen one without calls in these days is there to be let go.
  const known = [...new Set([...(usage.value?.days ?? []).map(({ model }) => model), ...models])].sort();
  if (known.length === 0) return null;
  return (
    <Choices
      title={p.model}
      words={known}
      chosen={models}
      most={MOST_MODELS}
      name={(model) => model}
      many={p.chosenModels}
      change={(some) => set({ models: some })}
    >
      {models.length > 0 && (
        <div class="buttons">
          <button type="button" onClick={() => set({ models: [] })}>
            {p.allModels}
          </button>
        </div>
      )}
    </Choices>
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
  const by = view.group === "category" ? "category" : "model";
  return (
    <div class="charts">
      <Chart
        title={p.costCharts[by]}
        days={days}
        stacks={stacks}
        values={stacks.map(({ cost }) => cost)}
        label={(value) => roughMoney(value, currency.value)}
      />
      <Chart
        title={p.tokenCharts[by]}
        days={days}
        stacks={stacks}
        values={stacks.map(({ tokens }) => tokens)}
        label={roughCount}
      />
      <Legend stacks={stacks} />
    </div>
  );
}

function Content({ view }: { readonly view: UsageView }) {
  if (usageFailure.value) {
    return (
      <Failed error={usageFailure.value} again={() => void loadUsage(usageFilter(address.peek().usage))}>
        <button type="button" class="plain" onClick={() => set(NEWEST_USAGE)}>
          {t.clearFilters}
        </button>
      </Failed>
    );
  }
  if (!usage.value) return <div class="bone rows" aria-hidden="true" />;
  if (days.value.length === 0 && !usageIsLoading.value) {
    return (
      <div class="empty">
        <p>{p.noCalls(usageText(view))}</p>
        <p class="muted">{p.noCallsNote}</p>
      </div>
    );
  }
  return (
    <div class="below" aria-busy={usageIsLoading.value}>
      <Explained shown={usage.value}>
        <Charts view={view} />
        <Breakdown days={days.value} models={view.models} />
        <UsageTable days={days.value} by={view.group} />
      </Explained>
    </div>
  );
}

export function UsagePanel() {
  const { usage: view } = address.value;
  return (
    <>
      <div class="filters">
        <Days view={view} change={set} />
        <Models view={view} />
        <Switch
          legend={p.groupBy}
          name="group"
          words={groupNames()}
          chosen={view.group}
          change={(group) => set({ group })}
        />
        <Exporter address={() => usageExport(address.peek().usage)} />
        <LeftOut />
      </div>
      <Limits />
      <Content view={view} />
    </>
  );
}
