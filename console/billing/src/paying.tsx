import { useEffect } from "preact/hooks";
import { viewer } from "./account";
import { form } from "./paid";
import { late } from "./parts/late";
import { t } from "./texts/spoken";

const TopUpForm = late(async () => (await import("./managing")).TopUpForm, null);
const RechargeForm = late(async () => (await import("./managing")).RechargeForm, null);

/** For keys that may pay. */
export function Paying() {
  // Of another key or account, no form is open.
  useEffect(() => () => void (form.value = ""), []);
  if (viewer.value?.scope !== "MANAGE") return null;
  return (
    <div class="buttons paying">
      <button type="button" class="primary" onClick={() => (form.value = "topup")}>
        {t.addCredit}
      </button>
      <button type="button" onClick={() => (form.value = "recharge")}>
        {t.autoRecharge}
      </button>
      {form.value === "topup" && <TopUpForm />}
      {form.value === "recharge" && <RechargeForm />}
    </div>
  );
}
