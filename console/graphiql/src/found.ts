import { createContext } from "react";

/** What the key at hand may run the examples with; the scope is null until it is known. */
export interface Found {
  scope: string | null;
  /** Ids by their names in the examples' variables: `<account>`, `<transaction>`, `<charge>`. */
  ids: Record<string, string>;
}

export const NOTHING: Found = { scope: null, ids: {} };
export const FoundContext = createContext<Found>(NOTHING);

// A service key has no list of accounts to choose from.
const FIRST_ACCOUNT = "acct_1";

const OF_KEY = "query Found { viewer { scope account { id } } }";
const OF_OPERATOR = "query FoundAccount { accounts(first: 1) { nodes { id } } }";
const OF_ACCOUNT = `query FoundRows($id: ID) {
  account(id: $id) { id transactions(first: 1) { nodes { id } } charges(first: 1) { nodes { id } } }
}`;

export type Ask = (query: string, variables?: Record<string, unknown>) => Promise<unknown>;

// biome-ignore lint/suspicious/noExplicitAny: the answers to the queries above
type Data = any;

function known(ids: Record<string, string | undefined>): Record<string, string> {
  return Object.fromEntries(Object.entries(ids).filter((entry): entry is [string, string] => !!entry[1]));
}

/** Asks with the key; what is refused is not found. */
export async function find(ask: Ask): Promise<Found> {
  const viewer = ((await ask(OF_KEY)) as Data)?.viewer;
  if (!viewer) return NOTHING;
  const scope: string = viewer.scope;
  const accounts = scope === "OPERATOR" ? ((await ask(OF_OPERATOR)) as Data)?.accounts.nodes : [];
  const id: string = viewer.account?.id ?? accounts?.[0]?.id ?? FIRST_ACCOUNT;
  const account = ((await ask(OF_ACCOUNT, { id })) as Data)?.account;
  const [transaction, charge] = [account?.transactions.nodes[0]?.id, account?.charges.nodes[0]?.id];
  return { scope, ids: known({ account: id, transaction, charge }) };
}

function now(): Record<string, string> {
  const at = Date.now();
  return {
    new: `example-${crypto.randomUUID()}`,
    now: new Date(at).toISOString(),
    "in an hour": new Date(at + 3_600_000).toISOString(),
    page: location.href,
  };
}

/** The variables with the ids of the key; null if an id that they need was not found. */
export function filled(example: Example, found: Found): string | null {
  const values: Record<string, string> = { ...found.ids, ...now() };
  const variables: Record<string, unknown> = { ...example.variables };
  // An account that may be omitted is the key's own.
  if (variables.account === "<account>" && !values.account) delete variables.account;
  if (!Object.keys(variables).length) return "";
  let missing = false;
  const text = JSON.stringify(variables, null, 2).replace(/"<([a-z ]+)>"/g, (_, name: string) => {
    missing ||= !values[name];
    return JSON.stringify(values[name] ?? "");
  });
  return missing && found.scope !== null ? null : text;
}

export function isFor(example: Example, found: Found): boolean {
  return found.scope === null || !example.scopes || example.scopes.includes(found.scope);
}
