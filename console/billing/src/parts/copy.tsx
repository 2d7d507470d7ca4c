import { useSignal } from "@preact/signals";
import { announce } from "../announcer";
import { t } from "../texts/spoken";

interface Props {
  readonly text: string;
  readonly what: string;
  readonly label?: string;
}

/** Puts the text on the clipboard. */
export function Copy({ text, what, label = t.copy }: Props) {
  const copied = useSignal(false);

  async function copy() {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      announce(t.copyRefused(what));
      return;
    }
    copied.value = true;
    announce(t.copiedOf(what));
    setTimeout(() => (copied.value = false), 2000);
  }

  return (
    <button type="button" class="copy" aria-label={t.copyOf(what)} onClick={() => void copy()}>
      {copied.value ? t.copied : label}
    </button>
  );
}
