import { type GraphiQLPlugin, pick, useGraphiQL, useGraphiQLActions } from "@graphiql/react";
import { useContext } from "react";
import { FoundContext, filled, isFor } from "./found";

function Icon() {
  return (
    <svg viewBox="0 0 24 24" fill="none" stroke="currentColor" strokeWidth="1.7" aria-hidden="true">
      <path d="M4 5h2M4 12h2M4 19h2M10 5h10M10 12h10M10 19h10" strokeLinecap="round" />
    </svg>
  );
}

function Examples() {
  const { queryEditor, variableEditor } = useGraphiQL(pick("queryEditor", "variableEditor"));
  const { addTab } = useGraphiQLActions();
  const found = useContext(FoundContext);
  const offered = EXAMPLES.filter((example) => isFor(example, found) && filled(example, found) !== null);

  // In a tab of its own: what the user wrote stays.
  function open(example: Example) {
    if (queryEditor?.getValue().trim()) addTab();
    queryEditor?.setValue(example.query);
    variableEditor?.setValue(filled(example, found) ?? "");
    queryEditor?.focus();
  }

  return (
    <section aria-label="Example queries" className="examples">
      <div className="graphiql-doc-explorer-title">Examples</div>
      {offered.length === 0 && <p>There are no examples.</p>}
      <ul>
        {offered.map((example) => (
          <li key={example.name}>
            <button type="button" disabled={!queryEditor} onClick={() => open(example)}>
              <strong>{example.name}</strong>
              {example.about && <span>{example.about}</span>}
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}

export const EXAMPLES_PLUGIN: GraphiQLPlugin = { title: "Examples", icon: Icon, content: Examples };
