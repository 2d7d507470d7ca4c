import type { TransactionsView } from "./address";
import { fold } from "./folding";
import { nanosOf } from "./money";
import type { Row } from "./rows";

// What the filters of a view mean to a row that has just come in.

/** Whether the gateway would list the row under this view. */
export function matches(row: Row, view: TransactionsView): boolean {
  const { types, from, to, least, most, search, refType, refId } = view;
  const day = row.createdAt.slice(0, 10);
  const nanos = nanosOf(row.amount);
  const sought = fold(search);
  return (
    (types.length === 0 || types.includes(row.type)) &&
    (!from || day >= from) &&
    (!to || day <= to) &&
    (!least || nanos >= nanosOf(least)) &&
    (!most || nanos <= nanosOf(most)) &&
    (!refType || row.refType === refType) &&
    (!refId || row.refId === refId) &&
    (!sought || fold(row.description).includes(sought) || fold(row.refId ?? "").includes(sought))
  );
}
