import { useSignal } from "@preact/signals";
import { keyIn } from "../../shared/key";
import { farewell, signIn } from "./session";

export function SignIn() {
  const typed = useSignal("");
  const mistyped = useSignal(false);

  function submit(event: Event) {
    event.preventDefault();
    const key = keyIn(typed.value);
    mistyped.value = key === null;
    if (key !== null) signIn(key);
  }

  // The input has no name: even a form that is sent by mistake would carry no key in its address.
  return (
    <main class="signin">
      <h1>Billing</h1>
      {farewell.value && (
        <p class="notice" role="alert">
          {farewell}
        </p>
      )}
      <form onSubmit={submit} noValidate>
        <label for="key">API key</label>
        <input
          id="key"
          type="password"
          value={typed}
          onInput={(event) => (typed.value = event.currentTarget.value)}
          placeholder="eco_…"
          autocomplete="off"
          spellcheck={false}
          autofocus
          aria-invalid={mistyped.value}
          aria-describedby="key-help"
        />
        <p id="key-help" class={mistyped.value ? "error" : "muted"} role={mistyped.value ? "alert" : undefined}>
          {mistyped.value ? "This is not an API key: API keys start with eco_." : "The key stays in the open tabs of this page and is deleted when you close the last one."}
        </p>
        <button type="submit" class="primary">
          Sign in
        </button>
      </form>
      <p class="muted">
        Any key reads; a key of the scope <code>manage</code> also adds credit. See{" "}
        <a href="/console/how-billing-works">how billing works</a>.
      </p>
    </main>
  );
}
