import type { ComponentChildren } from "preact";
import { Refused } from "../gateway";

interface Props {
  readonly error: Error;
  readonly again: () => void;
  /** Another way out. */
  readonly children?: ComponentChildren;
}

/** What went wrong, what to quote to support, and a way to try again. */
export function Failed({ error, again, children }: Props) {
  const requestId = error instanceof Refused ? error.requestId : null;
  return (
    <div class="failed" role="alert">
      <p>{sentence(error.message)}</p>
      {requestId && (
        <p class="muted">
          Quote <code>{requestId}</code> to support if it stays so.
        </p>
      )}
      <button type="button" onClick={again}>
        Try again
      </button>
      {children}
    </div>
  );
}

function sentence(text: string): string {
  const end = /[.!?…]$/.test(text) ? "" : ".";
  return text.charAt(0).toUpperCase() + text.slice(1) + end;
}
