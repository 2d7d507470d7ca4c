import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { type Found, found, search, searchFailure, sought } from "../accounts";
import { moneyText } from "../money";
import { languageIn } from "./complained";
import { useName } from "./names";
import { m } from "../texts/managing";

interface Props {
  readonly label: string;
  readonly placeholder?: string;
  readonly choose: (id: string) => void;
  /** For a text that no account has. */
  readonly find?: (text: string) => void;
}

const PAUSE_MS = 200;

type Choice = Found["nodes"][number];

function Option({ id, choice, active, choose }: { id: string; choice: Choice; active: boolean; choose: () => void }) {
  const line = useRef<HTMLLIElement>(null);
  useEffect(() => {
    if (active) line.current?.scrollIntoView({ block: "nearest" });
  }, [active]);
  // The mouse must not take the focus from the box before its click is done.
  return (
    <li ref={line} id={id} role="option" aria-selected={active} onMouseDown={(event) => event.preventDefault()} onClick={choose}>
      <span>
        {choice.name} <span class="muted">{[choice.id, choice.externalId].filter(Boolean).join(" · ")}</span>
        {choice.status === "SUSPENDED" && <span class="tag warn">{m.suspended}</span>}
      </span>
      <span class="money">{moneyText(choice.balance, "USD")}</span>
    </li>
  );
}

function summaryOf({ nodes, totalCount }: Found): string {
  if (nodes.length === 0) return m.noAccount;
  const more = BigInt(totalCount) > BigInt(nodes.length);
  return more ? m.newestAccounts(nodes.length, totalCount) : "";
}

/** A combobox over the accounts that the key covers. */
export function AccountBox({ label, placeholder = label, choose, find }: Props) {
  const id = useName();
  const box = useRef<HTMLInputElement>(null);
  const text = useSignal("");
  const isOpen = useSignal(false);
  const active = useSignal(-1);
  const choices = found.value?.nodes ?? [];

  useEffect(() => {
    const timer = setTimeout(() => isOpen.value && void search(text.value), text.value ? PAUSE_MS : 0);
    return () => clearTimeout(timer);
  }, [text.value, isOpen.value]);

  function take(choice: Choice | undefined) {
    if (!choice) return;
    isOpen.value = false;
    text.value = "";
    choose(choice.id);
  }

  /** Takes the account that is marked, or else the first; without any, looks for something else of this id. */
  async function enter() {
    if (active.value >= 0) return take(found.value?.nodes[active.value]);
    const typed = text.value;
    if (sought !== typed) await search(typed);
    // The accounts of another text must not be taken for those of this one.
    if (sought !== typed || text.value !== typed) return;
    const first = found.value?.nodes[0];
    if (first || !find || !typed.trim()) return take(first);
    isOpen.value = false;
    find(typed.trim());
  }

  function move(event: KeyboardEvent) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      isOpen.value = true;
      const from = active.value < 0 && step < 0 ? 0 : active.value;
      if (choices.length) active.value = (from + step + choices.length) % choices.length;
    } else if (event.key === "Enter") {
      event.preventDefault();
      void enter();
    } else if (event.key === "Escape") {
      isOpen.value = false;
    }
  }

  return (
    <div class="accountbox">
      <input
        ref={box}
        type="text"
        role="combobox"
        aria-label={label}
        aria-expanded={isOpen.value}
        aria-controls={`${id}-list`}
        aria-autocomplete="list"
        aria-activedescendant={isOpen.value && active.value >= 0 ? `${id}-${active.value}` : undefined}
        placeholder={placeholder}
        autocomplete="off"
        spellcheck={false}
        value={text}
        onInput={(event) => {
          text.value = event.currentTarget.value;
          active.value = -1;
          isOpen.value = true;
        }}
        onFocus={() => (isOpen.value = true)}
        onClick={() => (isOpen.value = true)}
        onBlur={() => (isOpen.value = false)}
        onKeyDown={move}
      />
      <div class="choices" hidden={!isOpen.value}>
        <p class="muted" role="status" lang={languageIn(searchFailure.value ?? "")}>
          {searchFailure.value?.message ?? (found.value ? summaryOf(found.value) : m.looking)}
        </p>
        <ul id={`${id}-list`} role="listbox" aria-label={m.accounts}>
          {choices.map((choice, index) => (
            <Option
              key={choice.id}
              id={`${id}-${index}`}
              choice={choice}
              active={index === active.value}
              choose={() => take(choice)}
            />
          ))}
        </ul>
      </div>
    </div>
  );
}
