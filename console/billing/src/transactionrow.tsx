import { useComputed } from "@preact/signals";
import { Detail } from "./detail";
import { TYPES } from "./kinds";
import { opened, toggle } from "./opened";
import { moment } from "./parts/moment";
import { money, moneyClass } from "./parts/money";
import type { Row } from "./rows";
import { utcText } from "./times";

function isPlainClick(event: MouseEvent): boolean {
  const on = event.target instanceof Element ? event.target.closest("a, button, input") : null;
  return on === null && !getSelection()?.toString();
}

export function TransactionRow({ row }: { readonly row: Row }) {
  const isOpen = useComputed(() => opened.value.has(row.id)).value;
  const detailId = `detail-${row.id}`;
  return (
    <>
      <tr role="row" class={isOpen ? "row open" : "row"} onClick={(event) => isPlainClick(event) && toggle(row.id)}>
        <td role="cell" class="date">
          {moment(row.createdAt)}
        </td>
        <td role="cell" class={`type ${row.type.toLowerCase()}`}>
          {TYPES[row.type]}
        </td>
        <td role="cell" class={`amount ${moneyClass(row.amount, true)}`}>
          {money(row.amount, true)}
        </td>
        <td role="cell" class={`after ${moneyClass(row.balanceAfter)}`}>
          {money(row.balanceAfter)}
        </td>
        <td role="cell" class="description">
          {row.description}
        </td>
        <td role="cell" class="toggle">
          <button
            type="button"
            aria-expanded={isOpen}
            aria-controls={isOpen ? detailId : undefined}
            aria-label={`Details of ${TYPES[row.type]}, ${utcText(row.createdAt)}`}
            onClick={() => toggle(row.id)}
          />
        </td>
      </tr>
      {isOpen && (
        <tr role="row" class="detail" id={detailId}>
          <td role="cell" colSpan={6}>
            <Detail row={row} />
          </td>
        </tr>
      )}
    </>
  );
}
