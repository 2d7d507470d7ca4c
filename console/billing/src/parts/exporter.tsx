import { useSignal } from "@preact/signals";
import { announce } from "../announcer";
import { download } from "../export";
import { Outdated } from "../post";

/** Downloads the CSV at the address, which a key would have to be sent to. */
export function Exporter({ address }: { readonly address: () => string }) {
  const isBusy = useSignal(false);
  const failure = useSignal("");

  async function run() {
    if (isBusy.value) return;
    isBusy.value = true;
    failure.value = "";
    try {
      await download(address());
      announce("The download has started.");
    } catch (error) {
      if (!(error instanceof Outdated)) failure.value = (error as Error).message;
    }
    isBusy.value = false;
  }

  return (
    <div class="exporter">
      <button type="button" aria-disabled={isBusy.value} onClick={() => void run()}>
        Export CSV
      </button>
      {failure.value && (
        <p class="error" role="alert">
          {failure}
        </p>
      )}
    </div>
  );
}
