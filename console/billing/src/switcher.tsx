import { account, viewer } from "./account";
import { late } from "./parts/late";
import { t } from "./texts/spoken";

const SwitchBox = late(async () => (await import("./managing")).SwitchBox, <span class="accountbox" />);

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
          <SwitchBox />
          <a href="/console/">{t.desk}</a>
        </>
      )}
    </span>
  );
}
