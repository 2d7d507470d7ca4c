import { type FormEvent, useId, useState } from "react";
import type { Answer } from "./fetcher";
import { keyIn, prefixOf } from "../../shared/key";

interface Props {
  apiKey: string | null;
  answer: Answer | null;
  onChange: (key: string | null) => void;
}

type Tone = "plain" | "good" | "bad";

function status({ apiKey, answer }: Props, mistyped: boolean): [Tone, string] {
  if (mistyped) return ["bad", "This is not an API key: API keys start with eco_."];
  if (apiKey === null) return ["plain", "No API key yet: paste one to load the schema and run queries."];
  if (answer === null) return ["plain", `Trying ${prefixOf(apiKey)}…`];
  if (!answer.accepted) return ["bad", `${prefixOf(apiKey)} was refused: ${answer.message}`];
  return ["good", `Using ${prefixOf(apiKey)}…, kept until this tab is closed.`];
}

export function KeyBox(props: Props) {
  const { apiKey, onChange } = props;
  const [typed, setTyped] = useState("");
  const [mistyped, setMistyped] = useState(false);
  const inputId = useId();
  const statusId = useId();
  const [tone, message] = status(props, mistyped);

  function submit(event: FormEvent) {
    event.preventDefault();
    const key = keyIn(typed);
    setMistyped(key === null);
    if (key === null) return;
    setTyped("");
    onChange(key);
  }

  function forget() {
    setMistyped(false);
    onChange(null);
  }

  // The input has no name: even a form that is sent by mistake would carry no key in its address.
  return (
    <header className="keybox">
      <h1>Billing GraphQL</h1>
      <form onSubmit={submit}>
        <label htmlFor={inputId}>API key</label>
        <input
          id={inputId}
          type="password"
          value={typed}
          onChange={(event) => setTyped(event.target.value)}
          placeholder={apiKey === null ? "eco_…" : "paste another key"}
          aria-describedby={statusId}
          aria-invalid={tone === "bad"}
          autoComplete="off"
          spellCheck={false}
        />
        <button type="submit">Use key</button>
        {apiKey !== null && (
          <button type="button" className="quiet" onClick={forget}>
            Forget key
          </button>
        )}
      </form>
      <p id={statusId} role="status" data-tone={tone}>
        {message}
      </p>
    </header>
  );
}
