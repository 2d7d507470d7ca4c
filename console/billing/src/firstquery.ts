import {
  ConsolePage,
  type ConsolePageQueryVariables,
  type TransactionFilter,
  type UsageFilter,
} from "../generated/ConsolePage";
import { storedKey } from "../../shared/key";
import type { Tab } from "./address";
import type { Operation } from "./operation";
import { post } from "./post";

// What the page opens with is asked for as soon as this file is there. It needs nothing that the browser keeps on disk,
// such as the language: to read the first such value takes a browser as long as the query takes to be sent.

/** With the list of the tab that is shown; Costs and Resources ask for their own. */
export function pageVariables(
  account: string | null,
  tab: Tab,
  filter: TransactionFilter | null,
  usageFilter: UsageFilter | null,
): ConsolePageQueryVariables {
  return { account, withTransactions: tab === "transactions", filter, withUsage: tab === "usage", usageFilter };
}

export function requestBody<Result, Variables>({ name, text }: Operation<Result, Variables>, variables: Variables): string {
  return JSON.stringify({ operationName: name, query: text, variables });
}

/** Null for a view that takes more than this script to understand. */
function variablesHere(): ConsolePageQueryVariables | null {
  const given = new URLSearchParams(location.search);
  const account = given.get("account") || null;
  given.delete("account");
  given.delete("lang");
  return given.size === 0 ? pageVariables(account, "transactions", null, null) : null;
}

interface Begun {
  readonly body: string;
  readonly bearer: string;
  readonly response: Promise<Response>;
}

function begin(): Begun | null {
  const [bearer, variables] = [storedKey(), variablesHere()];
  if (bearer === null || variables === null) return null;
  const body = requestBody(ConsolePage, variables);
  const response = post("/graphql", body, bearer);
  // Whoever takes it hears of its failure.
  response.catch(() => {});
  return { body, bearer, response };
}

let begun = begin();

/** The answer to this very question, where it is on its way already. There is one, for the first that is asked. */
export function takeBegun(body: string, bearer: string): Promise<Response> | null {
  const taken = begun?.body === body && begun.bearer === bearer ? begun.response : null;
  begun = null;
  return taken;
}
