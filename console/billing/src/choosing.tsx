import { useSignal } from "@preact/signals";
import { viewer } from "./account";
import { Desk, Finder } from "./desk";
import { openAccount } from "./navigation";
import { AccountBox } from "./parts/accountbox";
import { m } from "./texts/managing";

export function SwitchBox() {
  return <AccountBox label={m.switchAccount} choose={openAccount} />;
}

/** A key of no single account has to name one. */
export function Choosing() {
  if (viewer.value?.scope !== "OPERATOR") {
    return (
      <section class="choosing">
        <h2>{m.whichAccount}</h2>
        <ById />
      </section>
    );
  }
  return (
    <>
      <Finder />
      <Desk />
    </>
  );
}

function ById() {
  const id = useSignal("");
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        if (id.value.trim()) openAccount(id.value.trim());
      }}
    >
      <label for="account">{m.accountId}</label>
      <input
        id="account"
        placeholder="acct_7"
        autocomplete="off"
        spellcheck={false}
        value={id}
        onInput={(event) => (id.value = event.currentTarget.value)}
      />
      <button type="submit" class="primary">
        {m.open}
      </button>
    </form>
  );
}
