import type { ComponentChildren } from "preact";
import type { Address } from "../address";
import { go, hrefOf } from "../navigation";

interface Props {
  readonly to: Partial<Address>;
  readonly children: ComponentChildren;
  readonly class?: string;
  readonly "data-cents"?: string | undefined;
}

/** A link to another view of the page. The focus goes to the view's tab: the link is there no more. */
export function Way({ to, children, ...attributes }: Props) {
  function follow(event: MouseEvent) {
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    follows(to);
  }
  return (
    <a {...attributes} href={hrefOf(to)} onClick={follow}>
      {children}
    </a>
  );
}

export function follows(to: Partial<Address>): void {
  go(to);
  document.getElementById(`tab-${to.tab}`)?.focus();
}
