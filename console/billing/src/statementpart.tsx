import { signal, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { Statement, type StatementQuery } from "../generated/Statement";
import { account } from "./account";
import { NO_FILTER } from "./address";
import { transactionFilter } from "./filterinputs";
import { countText } from "./counts";
import { download } from "./export";
import { ask } from "./gateway";
import { language } from "./language";
import { listing, loadLedger } from "./ledger";
import { address, go } from "./navigation";
import { type Complaint, Complained } from "./parts/complained";
import { Dialog, closeDialog } from "./parts/dialog";
import { Field } from "./parts/field";
import { Money } from "./parts/money";
import { Outdated } from "./post";
import { isChoosing, printAll } from "./printing";
import { m } from "./texts/managing";
import { dayAfter, dayText, isDay, lastDayOf, monthOf, monthText, today } from "./times";

type Found = NonNullable<StatementQuery["account"]>["statement"];

const MONTHS = 24;
/** The gateway's bounds. */
const MOST_DAYS = 366;
const MOST_PDF_ROWS = 100_000;
const MOST_PRINTED_ROWS = 10_000;

/** The days of the newest statement that was read, and its figures. */
const shown = signal<{ readonly first: string; readonly last: string; readonly figures: Found } | null>(null);

/** The newest months, back to that in which the account was opened. */
function monthsUntil(month: string): string[] {
  const opened = monthOf(account.peek()?.createdAt ?? "");
  const found = [month];
  for (let last = month; found.length < MONTHS && last > opened; found.push(last)) last = monthOf(dayAfter(`${last}-01`, -1));
  return found;
}

function wrongPeriod(first: string, last: string): string {
  if (!isDay(first) || !isDay(last)) return m.enterDays;
  if (last < first) return m.lastBeforeFirst;
  return dayAfter(first, MOST_DAYS) <= last ? m.mostDays(MOST_DAYS) : "";
}

function Figures({ figures }: { readonly figures: Found }) {
  return (
    <table class="figures">
      <caption class="unseen">{m.statement}</caption>
      <thead>
        <tr>
          <th scope="col">{m.balance}</th>
          <th scope="col" class="part">
            {m.gross}
          </th>
          <th scope="col" class="part">
            {m.returned}
          </th>
          <th scope="col">{m.net}</th>
        </tr>
      </thead>
      <tbody>
        <tr>
          <th scope="row">{m.opening}</th>
          <td colSpan={3}>
            <Money amount={figures.opening} />
          </td>
        </tr>
        {figures.movements.map(({ kind, gross, refunded, net }) => (
          <tr key={kind}>
            <th scope="row">{m.movements[kind]}</th>
            <td class="part">
              <Money amount={gross} />
            </td>
            <td class="part">{refunded !== "0.00" && <Money amount={refunded} />}</td>
            <td>
              <Money amount={net} />
            </td>
          </tr>
        ))}
        <tr>
          <th scope="row">{m.closing}</th>
          <td colSpan={3}>
            <Money amount={figures.closing} />
          </td>
        </tr>
      </tbody>
    </table>
  );
}

function Choice() {
  const first = useSignal(`${monthOf(today())}-01`);
  const last = useSignal(lastDayOf(monthOf(today())));
  const failure = useSignal<Complaint>("");
  const figures = useSignal<Found | null>(null);
  const month = monthOf(first.value);
  const isMonth = first.value === `${month}-01` && last.value === lastDayOf(month);
  const months = monthsUntil(monthOf(today()));

  useEffect(() => {
    const stop = new AbortController();
    figures.value = null;
    failure.value = wrongPeriod(first.value, last.value);
    if (!failure.value) void read(stop.signal);
    return () => stop.abort();
  }, [first.value, last.value]);

  async function read(signal: AbortSignal) {
    try {
      const id = account.peek()?.id ?? null;
      const end = dayAfter(last.peek(), 1);
      const found = await ask(Statement, { account: id, start: first.peek(), end }, signal);
      if (!found.account) throw new Outdated();
      figures.value = found.account.statement;
      shown.value = { first: first.peek(), last: last.peek(), figures: found.account.statement };
    } catch (error) {
      if (!(error instanceof Outdated) && !signal.aborted) failure.value = error as Error;
    }
  }

  async function fetched(from: string | null | undefined) {
    if (!from) return;
    failure.value = "";
    try {
      await download(from);
    } catch (error) {
      if (!(error instanceof Outdated)) failure.value = error as Error;
    }
  }

  async function printPeriod() {
    const view = { ...NO_FILTER, from: first.peek(), to: last.peek() };
    closeDialog();
    go({ tab: "transactions", transactions: view });
    const filter = transactionFilter(view);
    if (listing.peek()?.filter !== JSON.stringify(filter)) await loadLedger(filter);
    await printAll();
  }

  const { value: found } = figures;
  const count = Number(found?.rows ?? 0);
  return (
    <Dialog title={m.statement} close={() => (isChoosing.value = false)} submit={() => void fetched(found && `${found.pdfUrl}&lang=${language}`)} away={m.close}>
      <label class="field">
        {m.month}
        <select
          value={isMonth ? month : ""}
          onChange={(event) => {
            const { value } = event.currentTarget;
            if (value) [first.value, last.value] = [`${value}-01`, lastDayOf(value)];
          }}
        >
          {!(isMonth && months.includes(month)) && <option value={isMonth ? month : ""}>{m.otherPeriod}</option>}
          {months.map((one) => (
            <option key={one} value={one}>
              {monthText(one)}
            </option>
          ))}
        </select>
      </label>
      <div class="buttons">
        <Field label={m.firstDay} type="date" value={first.value} change={(day) => (first.value = day)} />
        <Field label={m.lastDay} type="date" value={last.value} change={(day) => (last.value = day)} />
      </div>
      {found && <Figures figures={found} />}
      {found && (
        <p class="muted">
          {m.transactions(found.rows)}
          {!found.isFinal && m.notEnded}
          {count > MOST_PDF_ROWS && m.mostPdf(countText(MOST_PDF_ROWS))}
          {count > MOST_PRINTED_ROWS && m.mostPrinted}
        </p>
      )}
      <Complained of={failure.value} />
      <div class="buttons">
        <button type="submit" class="primary" aria-disabled={!found || count > MOST_PDF_ROWS}>
          {m.pdf}
        </button>
        <button type="button" aria-disabled={!found} onClick={() => void fetched(found?.csvUrl)}>
          {m.csv}
        </button>
        <button type="button" aria-disabled={!found || count > MOST_PRINTED_ROWS} onClick={() => void printPeriod()}>
          {m.print}
        </button>
      </div>
    </Dialog>
  );
}

/** On paper, above the rows of the period. */
function Paper() {
  const { value: chosen } = shown;
  const { tab, transactions } = address.value;
  if (!chosen || tab !== "transactions") return null;
  const period = JSON.stringify({ ...NO_FILTER, from: chosen.first, to: chosen.last });
  if (JSON.stringify(transactions) !== period) return null;
  return (
    <div class="statement" aria-hidden="true">
      <p>{m.period(dayText(chosen.first), dayText(chosen.last))}</p>
      <Figures figures={chosen.figures} />
    </div>
  );
}

export function StatementPart() {
  return (
    <>
      {isChoosing.value && <Choice />}
      <Paper />
    </>
  );
}
