import { useSignal } from "@preact/signals";
import { keyIn } from "../../shared/key";
import { Guide } from "./parts/guide";
import { LanguageChoice } from "./parts/languagechoice";
import { farewell, signIn } from "./session";
import { t } from "./texts/spoken";

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
      <h1>{t.billing}</h1>
      {farewell.value && (
        <p class="notice" role="alert">
          {farewell}
        </p>
      )}
      <form onSubmit={submit} noValidate>
        <label for="key">{t.apiKey}</label>
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
          {mistyped.value ? t.noKey : t.keyStays}
        </p>
        <button type="submit" class="primary">
          {t.signIn}
        </button>
      </form>
      <p class="muted">
        {t.anyKey(<code>manage</code>, <Guide />)}
      </p>
      <LanguageChoice />
    </main>
  );
}
