import { signal } from "@preact/signals";

/** What a screen reader is told of changes that it would not notice. */
export const announcement = signal("");

export function announce(text: string): void {
  // The same text twice is no change: a space makes it one.
  announcement.value = announcement.peek() === text ? `${text} ` : text;
}
