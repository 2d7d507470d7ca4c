import { useSignal } from "@preact/signals";
import { announce } from "../announcer";

interface Props {
  readonly text: string;
  readonly what: string;
  readonly label?: string;
}

/** Puts the text on the clipboard. */
export function Copy({ text, what, label = "Copy" }: Props) {
  const copied = useSignal(false);

  async function copy() {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      announce(`The browser does not let this page copy the ${what}: select it instead.`);
      return;
    }
    copied.value = true;
    announce(`Copied the ${what}.`);
    setTimeout(() => (copied.value = false), 2000);
  }

  return (
    <button type="button" class="copy" aria-label={`Copy the ${what}`} onClick={() => void copy()}>
      {copied.value ? "Copied" : label}
    </button>
  );
}
