import type { RefType } from "../generated/ConsolePage";
import { NO_FILTER, type TransactionsView } from "./address";
import { isTransactionId, wrongDay, wrongName, wrongOrder, wrongSearch, wrongTyped } from "./checks";
import { isFiltered } from "./filterinputs";
import { transactionsExport } from "./export";
import { filterText, rangeText } from "./filtertext";
import { spelled, wordsOf } from "./kinds";
import { nanosOf } from "./money";
import { address, go, openTransaction } from "./navigation";
import { Choices } from "./parts/choices";
import { Exporter } from "./parts/exporter";
import { Field } from "./parts/field";
import { LeftOut } from "./parts/leftout";
import { Menu } from "./parts/menu";
import { t } from "./texts/spoken";
import { dayText, lastDayOf, monthOf, today, dayAfter } from "./times";
import { StatementButtons } from "./statements";
import { Totals } from "./totals";
import { canonical, typed } from "./typed";

const itself = (text: string) => text;

type Change = (change: Partial<TransactionsView>) => void;
interface Props {
  readonly view: TransactionsView;
  readonly change: Change;
}

function Types({ view, change }: Props) {
  return (
    <Choices
      title={t.type}
      words={wordsOf(t.types)}
      chosen={view.types}
      name={(type) => t.types[type]}
      many={t.chosenTypes}
      label={(type) => (
        <>
          {t.types[type]} <code>{spelled(type)}</code>
        </>
      )}
      change={(types) => change({ types })}
    />
  );
}

function Dates({ view, change }: Props) {
  const { from, to } = view;
  const month = monthOf(today());
  const before = monthOf(dayAfter(`${month}-01`, -1));
  const yesterday = dayAfter(today(), -1);
  const whole = (one: string) => change({ from: `${one}-01`, to: lastDayOf(one) });
  const chosen = rangeText(from && dayText(from), to && dayText(to), t.from, t.to);
  return (
    <Menu title={t.date} chosen={chosen} isDoneByButton>
      <Field
        label={t.fromUtc}
        type="date"
        value={from}
        wrong={(day) => wrongDay(day) || wrongOrder(day, to, itself)}
        change={(day) => change({ from: day })}
      />
      <Field
        label={t.toUtc}
        type="date"
        value={to}
        wrong={(day) => wrongDay(day) || wrongOrder(from, day, itself)}
        change={(day) => change({ to: day })}
      />
      <div class="buttons">
        <button type="button" onClick={() => change({ from: yesterday, to: yesterday })}>
          {t.yesterday}
        </button>
        <button type="button" onClick={() => whole(month)}>
          {t.thisMonthOnly}
        </button>
        <button type="button" onClick={() => whole(before)}>
          {t.lastMonth}
        </button>
        <button type="button" onClick={() => change({ from: "", to: "" })}>
          {t.anyTime}
        </button>
      </div>
    </Menu>
  );
}

function Amounts({ view, change }: Props) {
  const { least, most } = view;
  const chosen = rangeText(typed(least), typed(most), t.from, t.to);
  const field = { inputMode: "text", placeholder: t.exampleAmount } as const;
  return (
    <Menu title={t.amount} chosen={chosen}>
      <Field
        {...field}
        label={t.atLeast}
        value={typed(least)}
        wrong={(amount) => wrongTyped(amount) || wrongOrder(canonical(amount), most, nanosOf)}
        change={(amount) => change({ least: canonical(amount) })}
      />
      <Field
        {...field}
        label={t.atMost}
        value={typed(most)}
        wrong={(amount) => wrongTyped(amount) || wrongOrder(least, canonical(amount), nanosOf)}
        change={(amount) => change({ most: canonical(amount) })}
      />
      <div class="buttons">
        <button type="button" onClick={() => change({ least: "0", most: "" })}>
          {t.added}
        </button>
        <button type="button" onClick={() => change({ least: "", most: "0" })}>
          {t.deducted}
        </button>
        <button type="button" onClick={() => change({ least: "", most: "" })}>
          {t.anyAmount}
        </button>
      </div>
    </Menu>
  );
}

interface ReferencesProps {
  readonly title?: string;
  readonly view: Pick<TransactionsView, "refType" | "refId">;
  readonly change: (change: Partial<Pick<TransactionsView, "refType" | "refId">>) => void;
  readonly types?: readonly RefType[];
}

export function References({ title = t.reference, view, change, types = wordsOf(t.refTypes) }: ReferencesProps) {
  const { refType, refId } = view;
  const chosen = [refType && t.refTypes[refType], refId].filter(Boolean).join(" ");
  return (
    <Menu title={title} chosen={chosen}>
      <div class="field">
        <label for="ref-type">{t.kind}</label>
        <select
          id="ref-type"
          value={refType}
          onChange={(event) => change({ refType: event.currentTarget.value as RefType | "" })}
        >
          <option value="">{t.any}</option>
          {types.map((type) => (
            <option key={type} value={type}>
              {t.refTypes[type]}
            </option>
          ))}
        </select>
      </div>
      <Field label={t.idExactly} value={refId} placeholder="132" wrong={wrongName} change={(id) => change({ refId: id })} />
    </Menu>
  );
}

export function Filters() {
  const { transactions: view } = address.value;
  const change: Change = (some) => go({ transactions: { ...address.peek().transactions, ...some } });
  return (
    <div class="filters">
      <Field
        label={t.search}
        hideLabel
        type="search"
        placeholder={t.searchExample}
        action={t.doSearch}
        value={view.search}
        wrong={wrongSearch}
        change={(text) => (isTransactionId(text) ? openTransaction(text) : change({ search: text }))}
      />
      <Types view={view} change={change} />
      <Dates view={view} change={change} />
      <Amounts view={view} change={change} />
      <References view={view} change={change} />
      {isFiltered(view) && (
        <button type="button" class="plain" onClick={() => go({ transactions: NO_FILTER })}>
          {t.clearFilters}
        </button>
      )}
      <div class="buttons actions">
        <StatementButtons />
        <Exporter address={() => transactionsExport(address.peek().transactions)} />
      </div>
      <LeftOut />
      {isFiltered(view) && (
        <p class="summaryline">
          {filterText(view)} <Totals />
        </p>
      )}
    </div>
  );
}
