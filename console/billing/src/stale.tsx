import { useSignal, useSignalEffect } from "@preact/signals";
import { account } from "./account";
import { link, reconnect } from "./live";
import { isOffline } from "./network";
import { readAt } from "./page";
import { t } from "./texts/spoken";
import { clockText } from "./times";

/** A restart of the gateway takes no longer: nobody needs to hear of it. */
const PATIENCE_MS = 2_500;

/** Says that the page no longer follows what happens. It lies over the page, so that it moves nothing. */
export function Stale() {
  const isLate = useSignal(false);
  useSignalEffect(() => {
    isLate.value = false;
    if (link.value === "live") return;
    const timer = setTimeout(() => (isLate.value = true), PATIENCE_MS);
    return () => clearTimeout(timer);
  });
  const shown = account.value && readAt.value && (isOffline.value || isLate.value);
  return (
    <div class="stale" role="status">
      {shown && readAt.value && (
        <p class="notice warn">
          {isOffline.value ? t.offline : t.interrupted}
          {t.stoodAt(clockText(readAt.value))}
          {!isOffline.value && (
            <button type="button" class="plain" onClick={reconnect}>
              {t.tryNow}
            </button>
          )}
        </p>
      )}
    </div>
  );
}
