import type { ComponentChildren } from "preact";
import { Refused } from "../gateway";
import { languageIn } from "./complained";
import { t } from "../texts/spoken";

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
      <p lang={languageIn(error)}>{sentence(error.message)}</p>
      {requestId && <p class="muted">{t.quote(<code>{requestId}</code>)}</p>}
      <button type="button" onClick={again}>
        {t.tryAgain}
      </button>
      {children}
    </div>
  );
}

function sentence(text: string): string {
  const end = /[.!?…。]$/.test(text) ? "" : ".";
  return text.charAt(0).toUpperCase() + text.slice(1) + end;
}
