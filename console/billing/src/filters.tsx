import type { RefType } from "../generated/ConsolePage";
import { NO_FILTER, type TransactionsView } from "./address";
import { isTransactionId, wrongAmount, wrongDay, wrongName, wrongOrder, wrongSearch } from "./checks";
import { isFiltered } from "./criteria";
import { transactionsExport } from "./export";
import { filterText } from "./filtertext";
import { REF_TYPES, TYPES, spelled, wordsOf } from "./kinds";
import { nanosOf } from "./money";
import { address, go, openTransaction } from "./navigation";
import { Choices } from "./parts/choices";
import { Exporter } from "./parts/exporter";
import { Field } from "./parts/field";
import { LeftOut } from "./parts/leftout";
import { Menu } from "./parts/menu";
import { dayText, lastDayOf, monthOf, today, dayAfter } from "./times";
import { StatementButtons } from "./statements";
import { Totals } from "./totals";

const itself = (text: string) => text;

type Change = (change: Partial<TransactionsView>) => void;
interface Props {
  readonly view: TransactionsView;
  readonly change: Change;
}

function Types({ view, change }: Props) {
  return (
    <Choices
      title="Type"
      words={wordsOf(TYPES)}
      chosen={view.types}
      name={(type) => TYPES[type]}
      label={(type) => (
        <>
          {TYPES[type]} <code>{spelled(type)}</code>
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
  const whole = (one: string) => change({ from: `${one}-01`, to: lastDayOf(one) });
  const chosen = [from && `from ${dayText(from)}`, to && `to ${dayText(to)}`].filter(Boolean).join(" ");
  return (
    <Menu title="Date" chosen={chosen}>
      <Field
        label="From (UTC day)"
        type="date"
        value={from}
        wrong={(day) => wrongDay(day) || wrongOrder(day, to, itself)}
        change={(day) => change({ from: day })}
      />
      <Field
        label="To, included"
        type="date"
        value={to}
        wrong={(day) => wrongDay(day) || wrongOrder(from, day, itself)}
        change={(day) => change({ to: day })}
      />
      <div class="buttons">
        <button type="button" onClick={() => whole(month)}>
          This month
        </button>
        <button type="button" onClick={() => whole(before)}>
          Last month
        </button>
        <button type="button" onClick={() => change({ from: "", to: "" })}>
          Any time
        </button>
      </div>
    </Menu>
  );
}

function Amounts({ view, change }: Props) {
  const { least, most } = view;
  const chosen = [least && `from ${least}`, most && `to ${most}`].filter(Boolean).join(" ");
  const field = { inputMode: "text", placeholder: "-1.25" } as const;
  return (
    <Menu title="Amount" chosen={chosen}>
      <Field
        {...field}
        label="At least, with its sign"
        value={least}
        wrong={(amount) => wrongAmount(amount) || wrongOrder(amount, most, nanosOf)}
        change={(amount) => change({ least: amount })}
      />
      <Field
        {...field}
        label="At most"
        value={most}
        wrong={(amount) => wrongAmount(amount) || wrongOrder(least, amount, nanosOf)}
        change={(amount) => change({ most: amount })}
      />
      <div class="buttons">
        <button type="button" onClick={() => change({ least: "0", most: "" })}>
          Added
        </button>
        <button type="button" onClick={() => change({ least: "", most: "0" })}>
          Deducted
        </button>
        <button type="button" onClick={() => change({ least: "", most: "" })}>
          Any amount
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

export function References({ title = "Reference", view, change, types = wordsOf(REF_TYPES) }: ReferencesProps) {
  const { refType, refId } = view;
  const chosen = [refType && REF_TYPES[refType], refId].filter(Boolean).join(" ");
  return (
    <Menu title={title} chosen={chosen}>
      <div class="field">
        <label for="ref-type">Kind</label>
        <select
          id="ref-type"
          value={refType}
          onChange={(event) => change({ refType: event.currentTarget.value as RefType | "" })}
        >
          <option value="">Any</option>
          {types.map((type) => (
            <option key={type} value={type}>
              {REF_TYPES[type]}
            </option>
          ))}
        </select>
      </div>
      <Field label="Id, exactly" value={refId} placeholder="132" wrong={wrongName} change={(id) => change({ refId: id })} />
    </Menu>
  );
}

export function Filters() {
  const { transactions: view } = address.value;
  const change: Change = (some) => go({ transactions: { ...address.peek().transactions, ...some } });
  return (
    <div class="filters">
      <Field
        label="Search descriptions and references"
        hideLabel
        type="search"
        placeholder="Text, or a txn_… id"
        action="Search"
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
          Clear filters
        </button>
      )}
      <StatementButtons />
      <Exporter address={() => transactionsExport(address.peek().transactions)} />
      <LeftOut />
      {isFiltered(view) && (
        <p class="summaryline">
          {filterText(view)} <Totals />
        </p>
      )}
    </div>
  );
}
