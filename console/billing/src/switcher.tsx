import { account, viewer } from "./account";
import { NEWEST_USAGE, NO_FILTER } from "./address";
import { go } from "./navigation";
import { AccountBox } from "./parts/accountbox";

/** Another account begins without the filters of the one before. */
export function openAccount(id: string): void {
  go({ account: id, transactions: NO_FILTER, usage: NEWEST_USAGE });
}

/** For keys that see more than one account. Only an operator's may search them. */
export function Switcher() {
  const { value: shown } = account;
  return (
    <span class="who">
      {shown && (
        <>
          {shown.name} <span class="muted">{shown.id}</span>
        </>
      )}
      {shown && viewer.value?.scope === "OPERATOR" && (
        <>
          <AccountBox label="Switch account" placeholder="Switch account" choose={openAccount} />
          <a href="/console/">Desk</a>
        </>
      )}
    </span>
  );
}
