import type { Signal } from "@preact/signals";
import { useName } from "./names";

interface Props {
  readonly label: string;
  readonly value: Signal<string>;
  readonly placeholder?: string;
  /** What is known: any other text may be typed, too. */
  readonly options?: readonly string[];
}

/** A line of text in a dialog. */
export function Text({ label, value, placeholder, options = [] }: Props) {
  const id = useName();
  return (
    <label class="field">
      {label}
      <input
        value={value}
        placeholder={placeholder}
        autocomplete="off"
        list={options.length > 0 ? id : undefined}
        onInput={(event) => (value.value = event.currentTarget.value)}
      />
      {options.length > 0 && (
        <datalist id={id}>
          {options.map((one) => (
            <option key={one} value={one} />
          ))}
        </datalist>
      )}
    </label>
  );
}
