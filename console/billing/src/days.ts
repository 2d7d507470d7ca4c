import { effect, untracked } from "@preact/signals";
import { refresh } from "./changes";
import { address } from "./navigation";
import { aheadMs, msToMidnight, today } from "./times";

/** The gateway's day has begun a moment after midnight, too. */
const MARGIN_MS = 1_000;

/** At midnight UTC a new day begins, and maybe a month: cards, months and the days of usage are those of another day. */
export function followDays(): void {
  let day = today();
  let timer: ReturnType<typeof setTimeout> | undefined;

  function look(): void {
    clearTimeout(timer);
    timer = setTimeout(look, msToMidnight() + MARGIN_MS);
    if (today() === day) return;
    day = today();
    void refresh();
    // Its days are counted from today.
    address.value = { ...address.peek() };
  }

  // How far the gateway's clock is ahead is known from its answers.
  effect(() => {
    void aheadMs.value;
    untracked(look);
  });
  // A machine that was asleep has missed it.
  document.addEventListener("visibilitychange", look);
}
