import { computed } from "@preact/signals";
import { useMemo } from "preact/hooks";
import { typeOf } from "./kinds";
import { english } from "./language";
import { opened } from "./opened";
import { late } from "./parts/late";
import { cellMoney, moneyProps } from "./parts/money";
import type { Row } from "./rows";
import { t } from "./texts/spoken";
import { utcText } from "./times";

const Detail = late<{ readonly row: Row }>(async () => (await import("./panels")).Detail, null);

function rowOf(row: Row, isOpen: boolean) {
  const [type, time] = [typeOf(row), utcText(row.createdAt)];
  return (
    <tr key={row.id} role="row" class={isOpen ? "row open" : "row"} data-id={row.id}>
      <td role="cell" class="date">
        <time dateTime={row.createdAt}>{time}</time>
      </td>
      <td role="cell" class={`type ${row.type.toLowerCase()}`}>
        {type}
      </td>
      <td role="cell" {...moneyProps(row.amount, true, "amount ")}>
        {cellMoney(row.amount, true)}
      </td>
      <td role="cell" {...moneyProps(row.balanceAfter, false, "after ")}>
        {cellMoney(row.balanceAfter)}
      </td>
      <td role="cell" class="description" lang={english}>
        {row.description}
      </td>
      <td role="cell" class="toggle">
        <button
          type="button"
          aria-expanded={isOpen}
          aria-controls={isOpen ? `detail-${row.id}` : undefined}
          aria-label={t.detailsOf(`${type}, ${time}`)}
        />
      </td>
    </tr>
  );
}

/** The rows of a table's body. They are parts of one component: one for each would cost more than what it draws. */
export function TransactionRows({ rows }: { readonly rows: readonly Row[] }) {
  const openIds = useMemo(
    () => computed(() => rows.flatMap(({ id }) => (opened.value.has(id) ? id : [])).join(" ")),
    [rows],
  ).value.split(" ");
  return (
    <>
      {rows.flatMap((row) =>
        openIds.includes(row.id)
          ? [
              rowOf(row, true),
              <tr key={`detail-${row.id}`} role="row" class="detail" id={`detail-${row.id}`}>
                <td role="cell" colSpan={6}>
                  <Detail row={row} />
                </td>
              </tr>,
            ]
          : rowOf(row, false),
      )}
    </>
  );
}
