import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { SpendLimits, type SpendLimitsQuery } from "../generated/SpendLimits";
import { account, mayManage } from "./account";
import { ask } from "./gateway";
import { approximate, isNegative } from "./money";
import { Money } from "./parts/money";
import { Way } from "./parts/way";
import { p } from "./texts/panels";
import { utcText } from "./times";

type Limit = NonNullable<SpendLimitsQuery["account"]>["spendLimits"][number];

const limits = signal<{ readonly account: string; readonly all: readonly Limit[] } | null>(null);

async function load(id: string): Promise<void> {
  try {
    const found = (await ask(SpendLimits, { account: id })).account;
    if (found) limits.value = { account: found.id, all: found.spendLimits };
  } catch {
    // The usage is there; its limits are asked for again with the next change of the balance.
  }
}

/** Whose spending counts. */
function scopeOf({ apiKeyId, project }: Limit): string {
  const parts = [apiKeyId && p.key(apiKeyId), project && p.project(project)].filter(Boolean);
  return parts.length > 0 ? parts.join(", ") : p.wholeAccount;
}

/** Of the limit's amount, as far as the bar reaches. */
function percentOf(part: string, { amount }: Limit, room = 100): number {
  return Math.min(Math.max((approximate(part) / approximate(amount)) * 100, 0), room);
}

function isSpent({ remaining }: Limit): boolean {
  return isNegative(remaining) || remaining === "0.00";
}

function Bar({ limit, name }: { readonly limit: Limit; readonly name: string }) {
  const spent = percentOf(limit.spent, limit);
  const reserved = percentOf(limit.reserved, limit, 100 - spent);
  return (
    <div
      class={isSpent(limit) ? "meter over" : "meter"}
      role="meter"
      aria-label={name}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={Math.round(spent + reserved)}
    >
      <span style={{ width: `${spent}%` }} />
      <span class="reserved" style={{ width: `${reserved}%` }} />
    </div>
  );
}

function One({ limit }: { readonly limit: Limit }) {
  const name = `${p.windows[limit.window]}, ${scopeOf(limit)}`;
  return (
    <li>
      <p class="name">{name}</p>
      <Bar limit={limit} name={name} />
      <p class="muted">
        {p.spent(<Money amount={limit.spent} />, <Money amount={limit.amount} />)}
        {limit.reserved !== "0.00" && p.reserved(<Money amount={limit.reserved} />)}
        {isSpent(limit) ? (
          <strong class="error">{p.nothingPasses}</strong>
        ) : (
          p.left(<Money amount={limit.remaining} />)
        )}
        {limit.resetsAt && p.startsAnew(utcText(limit.resetsAt))}
      </p>
    </li>
  );
}

/** The account's spend limits, each with a bar of what is spent and reserved, and the way to where they are set. Nothing
 * where there are none and the key sets none. */
export function Limits() {
  const { value: shown } = account;
  const id = shown?.id;
  // What the balance has come to may have been spent under a limit.
  useEffect(() => {
    if (id) void load(id);
  }, [id, shown?.thisMonth]);
  const { value: found } = limits;
  const all = found && found.account === id ? found.all : [];
  // The way is there at once: what is below would move.
  if (all.length === 0 && !mayManage.value) return null;
  return (
    <section class="limits" aria-labelledby="limits">
      <h2 id="limits">{p.spendLimits}</h2>
      {all.length > 0 && (
        <ul>
          {all.map((limit) => (
            <One key={limit.id} limit={limit} />
          ))}
        </ul>
      )}
      {mayManage.value && (
        <p>
          {all.length === 0 && found && `${p.noLimits} `}
          <Way to={{ tab: "keys" }}>{p.toLimits}</Way>
        </p>
      )}
    </section>
  );
}
