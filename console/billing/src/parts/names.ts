import { useState } from "preact/hooks";

let count = 0;

/** An id for an element that another one names. Preact's own useId weighs more, for pages made on a server. */
export function useName(): string {
  return useState(() => `n${++count}`)[0];
}
