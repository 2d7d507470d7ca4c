import { useSignal, useSignalEffect } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";
import { useName } from "./names";

interface Props {
  readonly label: ComponentChildren;
  readonly value: string;
  /** Why the text can't be taken; empty where it can. */
  readonly wrong?: (text: string) => string;
  readonly change: (text: string) => void;
  readonly type?: "text" | "date" | "search";
  readonly placeholder?: string;
  readonly hideLabel?: boolean;
  /** Taken this long after the last key, not only when the field is left. */
  readonly pauseMs?: number;
  readonly inputMode?: "decimal" | "text";
  /** A button beside the input that takes its text, as Enter does. */
  readonly action?: string;
}

const fine = () => "";

/** An input whose text is taken once it is whole and right. */
export function Field({
  label,
  value,
  wrong = fine,
  change,
  type = "text",
  placeholder,
  hideLabel = false,
  pauseMs,
  inputMode,
  action,
}: Props) {
  const id = useName();
  const text = useSignal(value);
  const complaint = useSignal("");

  // What came from elsewhere: the way back, or a filter that was cleared.
  useEffect(() => {
    text.value = value;
    complaint.value = "";
  }, [value]);

  function take() {
    const given = text.value.trim();
    complaint.value = given ? wrong(given) : "";
    if (!complaint.value && given !== value) change(given);
  }

  useSignalEffect(() => {
    const { value: given } = text;
    if (pauseMs === undefined || given.trim() === value) return;
    const timer = setTimeout(take, pauseMs);
    return () => clearTimeout(timer);
  });

  return (
    <div class="field">
      <label for={id} class={hideLabel ? "unseen" : ""}>
        {label}
      </label>
      <div class={action ? "joined" : undefined}>
        <input
          id={id}
          // Preact's types tell inputs apart by a type that is known when they are written.
          type={type as "text"}
          value={text}
          placeholder={placeholder}
          inputMode={inputMode}
          autocomplete="off"
          spellcheck={false}
          aria-invalid={!!complaint.value}
          aria-describedby={complaint.value ? `${id}-wrong` : undefined}
          onInput={(event) => (text.value = event.currentTarget.value)}
          onChange={take}
          onKeyDown={(event) => event.key === "Enter" && take()}
        />
        {action && (
          <button type="button" onClick={take}>
            {action}
          </button>
        )}
      </div>
      {complaint.value && (
        <p id={`${id}-wrong`} class="error" role="alert">
          {complaint}
        </p>
      )}
    </div>
  );
}
