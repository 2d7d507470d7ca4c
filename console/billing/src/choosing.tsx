import { useSignal } from "@preact/signals";
import { viewer } from "./account";
import { late } from "./parts/late";
import { AccountBox } from "./parts/accountbox";
import { openAccount } from "./switcher";

const Desk = late(async () => (await import("./managing")).Desk);

/** A key of no single account has to name one. */
export function Choosing() {
  return (
    <>
    <section class="choosing">
      <h2>Which account?</h2>
      {viewer.value?.scope === "OPERATOR" ? (
        <>
          <p class="muted">This key sees every account. Search by name, external id or id.</p>
          <AccountBox label="Account" placeholder="Name or id" choose={openAccount} />
        </>
      ) : (
        <ById />
      )}
    </section>
    {viewer.value?.scope === "OPERATOR" && <Desk />}
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
      <label for="account">The account's id</label>
      <input
        id="account"
        placeholder="acct_7"
        autocomplete="off"
        spellcheck={false}
        value={id}
        onInput={(event) => (id.value = event.currentTarget.value)}
      />
      <button type="submit" class="primary">
        Open
      </button>
    </form>
  );
}
