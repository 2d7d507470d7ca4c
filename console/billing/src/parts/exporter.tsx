import { useSignal } from "@preact/signals";
import { announce } from "../announcer";
import { download } from "../export";
import { Outdated } from "../post";
import { type Complaint, Complained } from "./complained";
import { t } from "../texts/spoken";

/** Downloads the CSV at the address, which a key would have to be sent to. */
export function Exporter({ address }: { readonly address: () => string }) {
  const isBusy = useSignal(false);
  const failure = useSignal<Complaint>("");

  async function run() {
    if (isBusy.value) return;
    isBusy.value = true;
    failure.value = "";
    try {
      await download(address());
      announce(t.exportStarted);
    } catch (error) {
      if (!(error instanceof Outdated)) failure.value = error as Error;
    }
    isBusy.value = false;
  }

  return (
    <div class="exporter">
      <button type="button" aria-disabled={isBusy.value} onClick={() => void run()}>
        {t.exportCsv}
      </button>
      <Complained of={failure.value} />
    </div>
  );
}
