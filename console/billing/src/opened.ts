import { signal } from "@preact/signals";

/** Ids of the rows whose details are shown. */
export const opened = signal<ReadonlySet<string>>(new Set());

export function toggle(id: string): void {
  const next = new Set(opened.peek());
  if (!next.delete(id)) next.add(id);
  opened.value = next;
}
