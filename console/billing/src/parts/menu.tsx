import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";
import { useName } from "./names";

interface Props {
  readonly title: string;
  /** What is chosen, beside the title; empty for nothing. */
  readonly chosen?: string;
  /** A button of the panel is the last that is wanted of it. */
  readonly isDoneByButton?: boolean;
  /** Drawn while it is open. */
  readonly children: ComponentChildren;
}

const MARGIN_PX = 16;

/** Moves the panel back by what it would stick out of the window. */
function keepInWindow(pane: HTMLElement): void {
  pane.style.translate = "";
  const over = pane.getBoundingClientRect().right + MARGIN_PX - document.documentElement.clientWidth;
  if (over > 0) pane.style.translate = `${-over}px`;
}

/** A button with a panel under it, which closes when the focus leaves it or at Escape. */
export function Menu({ title, chosen = "", isDoneByButton, children }: Props) {
  const id = useName();
  const isOpen = useSignal(false);
  const button = useRef<HTMLButtonElement>(null);
  const pane = useRef<HTMLDivElement>(null);

  useLayoutEffect(() => {
    if (isOpen.value && pane.current) keepInWindow(pane.current);
  }, [isOpen.value]);

  function leave(event: FocusEvent) {
    const next = event.relatedTarget;
    if (next instanceof Node && !(event.currentTarget as Node).contains(next)) isOpen.value = false;
  }

  function close() {
    isOpen.value = false;
    button.current?.focus();
  }

  function closeOnEscape(event: KeyboardEvent) {
    if (event.key === "Escape" && isOpen.value) close();
  }

  function closeAfter({ target }: MouseEvent) {
    if (isDoneByButton && target instanceof HTMLButtonElement) close();
  }

  return (
    <div class="menu" onFocusOut={leave} onKeyDown={closeOnEscape}>
      <button
        ref={button}
        type="button"
        class={chosen ? "chosen" : ""}
        aria-expanded={isOpen.value}
        aria-controls={id}
        onClick={() => (isOpen.value = !isOpen.value)}
      >
        {title}
        {chosen && <span class="choice"> {chosen}</span>}
      </button>
      <div
        ref={pane}
        id={id}
        class="pane"
        role="group"
        aria-label={title}
        tabIndex={-1}
        hidden={!isOpen.value}
        onClick={closeAfter}
      >
        {isOpen.value && children}
      </div>
    </div>
  );
}
