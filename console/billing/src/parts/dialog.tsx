import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { useName } from "./names";
import { m } from "../texts/managing";

/** There is one at a time. */
let shown: HTMLDialogElement | null = null;

/** As the browser closes it: the focus goes back to where it was. */
export function closeDialog(): void {
  shown?.close();
}

interface Props {
  readonly title: string;
  readonly close: () => void;
  readonly submit: () => void;
  /** Of the button that closes it, where nothing is done that could be cancelled. */
  readonly away?: string;
  readonly children: ComponentChildren;
}

/** A form over the page. The browser keeps the focus in it, and gives it back afterwards. */
export function Dialog({ title, close, submit, away = m.cancel, children }: Props) {
  const id = useName();
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    shown = dialog.current;
    shown?.showModal();
  }, []);
  return (
    <dialog ref={dialog} aria-labelledby={id} onClose={close}>
      <form
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          submit();
        }}
      >
        <h2 id={id}>{title}</h2>
        {children}
        <div class="buttons">
          <button type="button" onClick={closeDialog}>
            {away}
          </button>
        </div>
      </form>
    </dialog>
  );
}
