import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";
import { TransactionExplained } from "../generated/TransactionExplained";
import { NO_FILTER } from "./address";
import { ChargeRows, type Explained } from "./charge";
import { ask } from "./gateway";
import { spelled, typeOf } from "./kinds";
import { english } from "./language";
import { go, linkTo } from "./navigation";
import { Copy } from "./parts/copy";
import { Failed } from "./parts/failed";
import { Guide } from "./parts/guide";
import { moment } from "./parts/moment";
import { Money } from "./parts/money";
import { Outdated } from "./post";
import type { Row } from "./rows";
import { p } from "./texts/panels";
import { t } from "./texts/spoken";
import { localText, utcSecondsText, utcText } from "./times";

function Fact({ name, children }: { name: string; children: ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function StripePage({ url, name }: { readonly url: string | null | undefined; readonly name: string }) {
  return url ? (
    <a href={url} target="_blank" rel="noreferrer">
      {name}
    </a>
  ) : null;
}

function Reference({ row, found }: { readonly row: Row; readonly found: Explained | null }) {
  const { refType, refId } = row;
  if (!refType || !refId) return null;
  const alike = () => go({ tab: "transactions", transactions: { ...NO_FILTER, refType, refId } });
  return (
    <Fact name={t.reference}>
      {t.refTypes[refType]} <code>{refId}</code> <Copy text={refId} what={p.ofReference} />{" "}
      <button type="button" class="plain" onClick={alike}>
        {p.allIts}
      </button>
      <StripePage url={found?.receiptUrl} name={p.receipt} /> <StripePage url={found?.stripeUrl} name={p.openInStripe} />
    </Fact>
  );
}

function FoundFacts({ found }: { readonly found: Explained }) {
  const { balanceBefore, balanceAfter, periodStart, periodEnd, corrects } = found;
  return (
    <>
      <Fact name={p.balanceChange}>
        <Money amount={balanceBefore} /> → <Money amount={balanceAfter} />
      </Fact>
      {periodStart && periodEnd && (
        <Fact name={p.timeCovered}>
          {t.fromTo(utcText(periodStart), utcText(periodEnd))}
        </Fact>
      )}
      {corrects && (
        <Fact name={p.answers}>
          {p.answered(
            typeOf({ type: corrects.type, refType: null }),
            <Money amount={corrects.amount} signed />,
            moment(corrects.createdAt),
            <>
              <span lang={english}>{corrects.description}</span> <code>{corrects.id}</code>
            </>,
          )}
        </Fact>
      )}
    </>
  );
}

interface Props {
  readonly row: Row;
  /** If it is known already. */
  readonly explained?: Explained;
}

/** What there is to know of a row, and what to quote where that is not enough. */
export function Detail({ row, explained }: Props) {
  const found = useSignal<Explained | null>(explained ?? null);
  const failure = useSignal<Error | null>(null);

  async function load(signal?: AbortSignal) {
    failure.value = null;
    try {
      found.value = (await ask(TransactionExplained, { id: row.id }, signal)).transaction;
    } catch (error) {
      if (!(error instanceof Outdated)) failure.value = error as Error;
    }
  }

  useEffect(() => {
    if (explained) return;
    const left = new AbortController();
    void load(left.signal);
    return () => left.abort();
  }, [row.id]);

  return (
    <div class="facts">
      {failure.value && <Failed error={failure.value} again={() => void load()} />}
      {found.value && <p class="explanation" lang={english}>{found.value.explanation}</p>}
      <dl>
        <Fact name={p.transaction}>
          <code>{row.id}</code> <Copy text={row.id} what={p.transactionId} />
          <Copy text={linkTo(row.id)} what={p.linkToIt} label={p.copyLink} />
        </Fact>
        <Fact name={p.recorded}>
          {utcSecondsText(row.createdAt)}
          <br />
          <span class="muted">{p.yours(localText(row.createdAt))}</span>
        </Fact>
        <Fact name={t.type}>
          {typeOf(row)} <code>{spelled(row.type)}</code>
        </Fact>
        <Fact name={p.source}>
          {p.sources[row.source]} <code>{spelled(row.source)}</code>
        </Fact>
        <Fact name={t.amount}>
          <Money amount={row.amount} signed />
        </Fact>
        <Reference row={row} found={found.value} />
        {found.value && <FoundFacts found={found.value} />}
      </dl>
      {found.value?.charge && <ChargeRows charge={found.value.charge} current={row.id} />}
      <p class="muted">{p.unclear(<Guide />, <code>{row.id}</code>)}</p>
    </div>
  );
}
