import type { ComponentChildren } from "preact";
import { spelled } from "../kinds";
import { moment } from "./moment";
import { english } from "../language";
import { m } from "../texts/managing";

export interface Entry {
  readonly id: string;
  readonly at: string;
  readonly act: string;
  readonly actor: string;
  readonly scope: string | null;
  readonly owner: string | null;
  readonly keyPrefix: string | null;
  readonly description: string | null;
  readonly oldValue: string | null;
  readonly newValue: string | null;
}

const TIME = /(\d{4}-\d\d-\d\dT[\d:.]+Z)/;

/** The gateway's text, with its times as the page writes them. */
function timed(text: string) {
  return text.split(TIME).map((part, place) => (place % 2 ? <>{moment(part)} UTC</> : part));
}

function Value({ text }: { readonly text: string | null }) {
  return <span lang={text === null ? undefined : english}>{text === null ? m.none : timed(text)}</span>;
}

function Values({ oldValue, newValue }: Entry) {
  if (oldValue === null && newValue === null) return null;
  return (
    <p>
      <Value text={oldValue} /> → <Value text={newValue} />
    </p>
  );
}

interface Props {
  readonly entry: Entry;
  /** Beside the name of the act. */
  readonly children?: ComponentChildren;
}

/** What was done, by whom, and what it changed. */
export function EntryItem({ entry, children }: Props) {
  const { at, act, actor, scope, owner, keyPrefix, description } = entry;
  const key = scope ? ` (${[owner, m.keyOf(spelled(scope))].filter(Boolean).join(", ")})` : "";
  return (
    <li>
      <p>
        <strong>{(m.acts as Record<string, string>)[act] ?? act}</strong> {keyPrefix && <code>{keyPrefix}</code>} {children}
      </p>
      {description && <p lang={english}>{timed(description)}</p>}
      <Values {...entry} />
      <p class="muted">{m.by(moment(at), <code>{actor}</code>, key)}</p>
    </li>
  );
}
