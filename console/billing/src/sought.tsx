import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { TransactionExplained } from "../generated/TransactionExplained";
import { currency } from "./account";
import { announce } from "./announcer";
import type { Explained } from "./charge";
import { Detail } from "./detail";
import { Refused, ask } from "./gateway";
import { typeOf } from "./kinds";
import { english } from "./language";
import { lengthOf, longestTail, moneyParts } from "./money";
import { address, go } from "./navigation";
import { Failed } from "./parts/failed";
import { Money } from "./parts/money";
import { Outdated } from "./post";
import { p } from "./texts/panels";

/** As the ledger's: the rows of its charge stand in the same columns. */
function widthsOf({ charge, amount }: Explained) {
  const amounts = [amount, ...(charge?.transactions.nodes ?? []).map((row) => row.amount)];
  const tail = longestTail(amounts);
  const heads = amounts.map((one) => lengthOf(moneyParts(one, currency.peek(), true)));
  return { "--amount": Math.max(...heads) + tail, "--tail": tail };
}

/** The transaction that the address names, by itself. */
export function Sought() {
  const { transaction: id } = address.value;
  return id ? <One key={id} id={id} /> : null;
}

function One({ id }: { readonly id: string }) {
  const found = useSignal<Explained | null | undefined>(undefined);
  const failure = useSignal<Error | null>(null);

  async function load(signal?: AbortSignal) {
    failure.value = null;
    try {
      const { transaction } = await ask(TransactionExplained, { id }, signal);
      found.value = transaction;
      if (transaction) announce(p.isShown(id));
    } catch (error) {
      if (error instanceof Refused && error.code === "NOT_FOUND") found.value = null;
      else if (!(error instanceof Outdated)) failure.value = error as Error;
    }
  }

  useEffect(() => {
    const left = new AbortController();
    void load(left.signal);
    return () => left.abort();
  }, [id]);

  const { value: row } = found;
  return (
    <section class="sought" aria-label={p.soughtTransaction(id)}>
      <div class="title">
        <h2>
          {p.transaction} <code>{id}</code>
        </h2>
        <button type="button" onClick={() => go({})}>
          {p.close}
        </button>
      </div>
      {failure.value && <Failed error={failure.value} again={() => void load()} />}
      {row === null && <p role="alert">{p.notSeen}</p>}
      {row && (
        <div class="ledger" style={widthsOf(row)}>
          <p>{p.typeOf(typeOf(row), <Money amount={row.amount} signed />, <span lang={english}>{row.description}</span>)}</p>
          <Detail row={row} explained={row} />
        </div>
      )}
    </section>
  );
}
