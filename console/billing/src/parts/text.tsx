import type { Signal } from "@preact/signals";

interface Props {
  readonly label: string;
  readonly value: Signal<string>;
  readonly placeholder?: string;
}

/** A line of text in a dialog. */
export function Text({ label, value, placeholder }: Props) {
  return (
    <label class="field">
      {label}
      <input
        value={value}
        placeholder={placeholder}
        autocomplete="off"
        onInput={(event) => (value.value = event.currentTarget.value)}
      />
    </label>
  );
}
