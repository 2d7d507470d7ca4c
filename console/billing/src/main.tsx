// First of all: see firstquery.ts.
import { catalogue } from "./opening";
import { effect } from "@preact/signals";
import { render } from "preact";
import { NO_VIEWS, read } from "./address";
import { App } from "./app";
import { countArrivals } from "./arrivals";
import { followDays } from "./days";
import { shareKey } from "./handover";
import { language } from "./language";
import { followBalance } from "./live";
import { address, followHistory } from "./navigation";
import { followNetwork } from "./network";
import { follow, phase } from "./page";
import { noticeReturn } from "./paid";
// Of parts that are fetched later, more than one: by itself it would be one more file to fetch.
import "./parts/copy";
import { key } from "./session";
import { followLink } from "./signinlink";
import { speak, t } from "./texts/spoken";

/** An answer that takes longer is waited for with the whole page. */
const PATIENCE_MS = 400;

/** Meanwhile the page's shape is there, which stands in its HTML: to draw it anew would only keep the answer waiting. */
function somethingToShow(): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, PATIENCE_MS);
    effect(() => {
      if (key.value === null || phase.value !== "loading") resolve();
    });
  });
}

/** What was read of the address before the texts came is said anew. */
async function speakLanguage(): Promise<void> {
  const texts = await catalogue;
  if (!texts) return;
  speak(texts);
  document.documentElement.lang = language;
  document.title = t.billing;
  address.value = read(location.search, NO_VIEWS);
}

async function start(): Promise<void> {
  await speakLanguage();
  await followLink();
  await shareKey();
  noticeReturn();
  followHistory();
  followNetwork();
  countArrivals();
  follow();
  await somethingToShow();
  const root = document.getElementById("root") as HTMLElement;
  root.replaceChildren();
  render(<App />, root);
  // The stream is opened once the page is there to be followed: painted, too.
  requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(followBalance)));
  followDays();
}

// Not awaited: parts that are fetched later import from this script, and would wait for its end.
void start();
