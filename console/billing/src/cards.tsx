import type { ComponentChildren } from "preact";
import { account } from "./account";
import { countText } from "./counts";
import { longestTail } from "./money";
import { Figure } from "./parts/figure";
import { Money } from "./parts/money";
import { t } from "./texts/spoken";
import { monthText } from "./times";

interface Props {
  readonly title: string;
  readonly figure: ComponentChildren;
  /** Beside what the figure is made of. */
  readonly note?: ComponentChildren;
  readonly parts?: readonly (readonly [string, ComponentChildren])[];
  /** The same figure of the whole month before, to compare with. */
  readonly before: ComponentChildren;
  /** Digits beyond cents in the parts' amounts. */
  readonly tail?: number;
}

function Card({ title, figure, note, parts = [], before, tail = 0 }: Props) {
  const month = account.value?.months.at(-2)?.month;
  return (
    <section class="card">
      <h2>{title}</h2>
      {figure}
      <dl style={{ "--tail": tail }}>
        {parts.map(([name, part]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{part}</dd>
          </div>
        ))}
        {month && (
          <div class="before">
            <dt>{t.allOf(monthText(month))}</dt>
            <dd>{before}</dd>
          </div>
        )}
      </dl>
      {note && <p class="muted">{note}</p>}
    </section>
  );
}

function taken(amount: string): string {
  return amount === "0.00" ? amount : `-${amount}`;
}

/** The cards of this UTC month. */
export function CardRow() {
  const { value: shown } = account;
  if (!shown) return null;
  const month = shown.thisMonth;
  const before = shown.months.at(-2);
  return (
    <div class="cards">
      <Card
        title={t.totalCost}
        figure={<Figure amount={month.totalCost} />}
        tail={longestTail([month.grossCost, month.refunded, before?.totalCost ?? "0.00"])}
        parts={[
          [t.gross, <Money amount={month.grossCost} />],
          [t.refunded, <Money amount={taken(month.refunded)} />],
        ]}
        // No part of the sum: it was deducted when it was held, in this month or before.
        note={month.heldInOpenCharges !== "0.00" && t.held(<Money amount={month.heldInOpenCharges} />)}
        before={before && <Money amount={before.totalCost} />}
      />
      <Card
        title={t.apiCalls}
        figure={<Figure text={countText(month.apiCalls)} />}
        parts={[
          [t.platformModels, countText(month.platformCalls)],
          [t.ownInference, countText(month.userInferenceCalls)],
        ]}
        before={before && countText(before.apiCalls)}
      />
      <Card
        title={t.totalTokens}
        figure={<Figure text={countText(month.totalTokens)} />}
        note={t.tokensNote(monthText(month.month))}
        before={before && countText(before.totalTokens)}
      />
    </div>
  );
}
