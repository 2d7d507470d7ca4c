import "./workers";
import { HISTORY_PLUGIN, GraphiQL } from "graphiql";
import { StrictMode, useCallback, useEffect, useMemo, useState } from "react";
import { createRoot } from "react-dom/client";
import { EXAMPLES_PLUGIN } from "./examples";
import { type Answer, askerFor, fetcherFor } from "./fetcher";
import { type Found, FoundContext, find, NOTHING } from "./found";
import { storeKey, storedKey } from "../../shared/key";
import { KeyBox } from "./keybox";

const PLUGINS = [EXAMPLES_PLUGIN, HISTORY_PLUGIN];

// What a first visit opens with; later visits find the tabs that were left.
const TABS = ["BillingPage", "Viewer"].flatMap((name) =>
  EXAMPLES.filter((example) => example.name === name).map(({ query }) => ({ query })),
);

function Page() {
  const [key, setKey] = useState(storedKey);
  // With the key that was answered: a late answer says nothing of the key that took its place.
  const [answered, setAnswered] = useState<{ key: string | null; answer: Answer } | null>(null);
  const fetcher = useMemo(() => fetcherFor(key, (answer) => setAnswered({ key, answer })), [key]);

  const [found, setFound] = useState<Found>(NOTHING);
  useEffect(() => {
    let current = true;
    setFound(NOTHING);
    if (key !== null) find(askerFor(key)).then((one) => current && setFound(one));
    return () => {
      current = false;
    };
  }, [key]);

  const change = useCallback((given: string | null) => {
    storeKey(given);
    setAnswered(null);
    setKey(given);
  }, []);

  // A new fetcher makes GraphiQL ask for the schema anew; null keeps it from asking.
  // Headers have no editor: the key goes into its box, and GraphiQL would keep headers for longer than the tab.
  return (
    <>
      <KeyBox apiKey={key} answer={answered?.key === key ? answered.answer : null} onChange={change} />
      <main>
        <FoundContext value={found}>
          <GraphiQL
            fetcher={fetcher}
            {...(key === null && { schema: null })}
            plugins={PLUGINS}
            visiblePlugin={EXAMPLES_PLUGIN.title}
            {...(TABS.length > 0 && { defaultTabs: TABS })}
            isHeadersEditorEnabled={false}
            shouldPersistHeaders={false}
            showPersistHeadersSettings={false}
            defaultEditorToolsVisibility="variables"
            inputValueDeprecation
            schemaDescription
          >
            <GraphiQL.Logo> </GraphiQL.Logo>
          </GraphiQL>
        </FoundContext>
      </main>
    </>
  );
}

createRoot(document.getElementById("root") as HTMLElement).render(
  <StrictMode>
    <Page />
  </StrictMode>,
);
