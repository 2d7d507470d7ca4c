// Checks the whole ledger of an account over REST: seq, times, balances and the hash chain (docs/rest.md).
//
//   URL=https://billing.example KEY=eco_… node verify-ledger.ts
//
// Node.js 22.18 or newer runs it as it is. Operators and services set ACCOUNT=acct_7 as well. It needs no packages,
// reads the newest rows first, and keeps two rows in memory. The exit code is 1 if a row does not fit.
import { createHash } from "node:crypto";

const COLUMNS = [
  ...["id", "account", "seq", "created_at", "type", "amount", "balance_after", "description", "source"],
  ...["ref_type", "ref_id", "actor", "corrects", "period_start", "period_end"],
] as const;

type Row = {
  readonly id: string;
  readonly seq: number;
  readonly created_at: string;
  readonly amount: string;
  readonly balance_after: string;
  readonly hash: string;
  readonly [column: string]: string | number | null;
};

const GENESIS = "00".repeat(32);

function setting(name: string): string {
  const value = process.env[name];
  if (value) return value;
  throw new Error(`set ${name} in the environment`);
}

/** What the hash covers: `JSON.stringify` writes the very bytes that docs/rest.md asks for. */
function canonicalText(row: Row): string {
  return JSON.stringify(COLUMNS.map((name) => row[name]));
}

function hashOf(row: Row, previous: string): string {
  return createHash("sha256").update(previous, "hex").update(canonicalText(row), "utf8").digest("hex");
}

/** Exact: an amount has at most nine fraction digits. */
function nanos(amount: string): bigint {
  const [whole = "", fraction = ""] = amount.split(".");
  return BigInt(whole + fraction.padEnd(9, "0"));
}

/** What is wrong with a row, beside the row before it. */
function problem(row: Row, before: Row | undefined): string | undefined {
  if (row.seq !== (before?.seq ?? 0) + 1) return `the row before it is missing`;
  if (before && row.created_at < before.created_at) return "created_at is before that of the row before it";
  if (nanos(before?.balance_after ?? "0") + nanos(row.amount) !== nanos(row.balance_after)) return "balance_after does not add up";
  return hashOf(row, before?.hash ?? GENESIS) === row.hash ? undefined : "the chain is broken";
}

/** All rows, newest first, page by page. */
async function* rows(): AsyncGenerator<Row> {
  const account = process.env.ACCOUNT ? `&account=${process.env.ACCOUNT}` : "";
  let address: URL | undefined = new URL(`/billing/transactions?limit=1000${account}`, setting("URL"));
  while (address) {
    const answer: Response = await fetch(address, { headers: { Authorization: `Bearer ${setting("KEY")}` } });
    if (!answer.ok) throw new Error(`${answer.status}: ${await answer.text()}`);
    yield* (await answer.json()) as Row[];
    const next: string | undefined = answer.headers.get("Link")?.match(/<([^>]*)>; rel="next"/)?.[1];
    address = next === undefined ? undefined : new URL(next, address);
  }
}

async function verify(): Promise<void> {
  let count = 0;
  let newest: Row | undefined;
  let newer: Row | undefined;
  function check(row: Row, before: Row | undefined): void {
    const found = problem(row, before);
    if (found) throw new Error(`${row.id}: ${found}`);
  }
  for await (const row of rows()) {
    if (newer) check(newer, row);
    newest ??= row;
    newer = row;
    count += 1;
  }
  if (newer) check(newer, undefined);
  // Whoever keeps this line notices later if rows up to here were removed or replaced.
  console.log(`${count} rows fit${newest ? `; the newest is ${newest.id} with the hash ${newest.hash}` : ""}`);
}

verify().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
});
