import { account, mayChoose, viewer } from "./account";
import { leave } from "./handover";
import { Switcher } from "./switcher";
import { t } from "./texts/spoken";
import { dayText } from "./times";

function KeyNote() {
  const { value: found } = viewer;
  if (!found) return null;
  const ends = found.keyExpiresAt ? t.until(dayText(found.keyExpiresAt.slice(0, 10))) : "";
  return (
    <span class="muted keynote">
      <code>{found.keyPrefix}</code> {found.scope.toLowerCase()}
      {ends}
    </span>
  );
}

export function Header() {
  return (
    <header class="top">
      <a class="skip" href="#content">
        {t.skip}
      </a>
      <h1 class="brand">{t.billing}</h1>
      {mayChoose.value ? <Switcher /> : <AccountName />}
      <KeyNote />
      <button type="button" onClick={leave}>
        {t.signOut}
      </button>
    </header>
  );
}

function AccountName() {
  if (!account.value) return null;
  return (
    <span class="who">
      {account.value.name} <span class="muted">{account.value.id}</span>
    </span>
  );
}
