import type { ComponentType } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { mayManage } from "./account";
import { TABS, type Tab } from "./address";
import { isExact, setExact } from "./exactness";
import { address, go } from "./navigation";
import { LanguageChoice } from "./parts/languagechoice";
import { late } from "./parts/late";
import { lateTexts, t } from "./texts/spoken";
import { TransactionsPanel } from "./transactions";

const PANELS: Record<Tab, ComponentType> = {
  transactions: TransactionsPanel,
  costs: late(async () => (await import("./panels")).CostsPanel),
  resources: late(async () => (await import("./panels")).ResourcesPanel),
  usage: late(async () => (await import("./panels")).UsagePanel),
  keys: late(async () => (await import("./managing")).KeysPanel),
};

let isAsked = false;

function fetchPanels(): void {
  if (isAsked) return;
  isAsked = true;
  Promise.all([import("./panels"), lateTexts()]).catch(() => (isAsked = false));
}

/** Tabs and rows that are pointed at or focused may be pressed: what they open is fetched meanwhile. */
const ahead = { onPointerOver: fetchPanels, onFocusIn: fetchPanels };

function Exactness() {
  return (
    <label class="check exactness">
      <input type="checkbox" checked={isExact.value} onChange={() => setExact(!isExact.peek())} />
      {t.exactAmounts}
    </label>
  );
}

export function Tabs() {
  const list = useRef<HTMLDivElement>(null);
  const { tab: asked } = address.value;
  const shown = TABS.filter((name) => name !== "keys" || mayManage.value);
  const tab = shown.includes(asked) ? asked : "transactions";
  const Panel = PANELS[tab];

  // A key that only reads has no such tab, and its page has loaded nothing for another.
  useEffect(() => {
    if (tab !== asked) go({ tab }, { replace: true });
  }, [asked, tab]);

  function move(event: KeyboardEvent) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = shown[(shown.indexOf(tab) + step + shown.length) % shown.length] as Tab;
    go({ tab: next });
    list.current?.querySelector<HTMLElement>(`#tab-${next}`)?.focus();
  }

  return (
    <>
      <div class="tabs">
        <div ref={list} role="tablist" aria-label={t.details} onKeyDown={move} {...ahead}>
          {shown.map((name) => (
            <button
              key={name}
              type="button"
              role="tab"
              id={`tab-${name}`}
              aria-selected={name === tab}
              aria-controls={`panel-${name}`}
              tabIndex={name === tab ? 0 : -1}
              onClick={() => go({ tab: name })}
            >
              {t.tabs[name]}
            </button>
          ))}
        </div>
        <div class="settings">
          <Exactness />
          <LanguageChoice />
        </div>
      </div>
      {shown.map((name) => (
        <div
          key={name}
          class="panel"
          role="tabpanel"
          id={`panel-${name}`}
          aria-labelledby={`tab-${name}`}
          hidden={name !== tab}
          {...ahead}
        >
          {name === tab && <Panel />}
        </div>
      ))}
    </>
  );
}
