import { toggle } from "./opened";
import { showLocal } from "./parts/moment";

/** A click on the row opens it, except one that ends a selection of text. */
function click({ target }: MouseEvent): void {
  if (!(target instanceof Element)) return;
  const id = target.closest<HTMLElement>("tr.row")?.dataset.id;
  if (id && (target.closest("button") || !getSelection()?.toString())) toggle(id);
}

/** What is done to a row is heard by its table's body, which has these. */
export const heard = { onClick: click, onMouseOver: showLocal };
