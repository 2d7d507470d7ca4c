import {
  ConsolePage,
  type ConsolePageQueryVariables,
  type TransactionFilter,
  type UsageFilter,
} from "../generated/ConsolePage";
import type { Tab } from "./address";
import { storedKey } from "../../shared/key";
import { language } from "./language";
import type { Operation } from "./operation";
import { post } from "./post";
import type { Catalogue } from "./texts/catalogue";

// A small script of its own, before the page's: what the page opens with is asked for while the browser still reads
// the rest, and the shape in index.html is shown meanwhile.

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

/** Lists show every digit of amounts, because this browser was told to. */
export function storedExactness(): boolean {
  try {
    return localStorage.getItem("billing.exact") === "yes";
  } catch {
    return false;
  }
}

export function showCents(shown: boolean): void {
  document.documentElement.classList.toggle("cents", shown);
}

interface Begun {
  readonly body: string;
  readonly bearer: string;
  readonly response: Promise<Response>;
}

function begin(): Begun | null {
  const bearer = storedKey();
  document.documentElement.classList.toggle("opening", bearer !== null || location.hash !== "");
  const variables = variablesHere();
  if (bearer === null || variables === null) return null;
  const body = requestBody(ConsolePage, variables);
  const response = post("/graphql", body, bearer);
  // Whoever takes it hears of its failure.
  response.catch(() => {});
  return { body, bearer, response };
}

/** The texts, asked for as early; null for English, and where they can't be had. */
function catalogueOf(): Promise<Catalogue | null> {
  const found = { en: null, de: () => import("./texts/de"), ja: () => import("./texts/ja") }[language];
  return found ? found().then(({ catalogue }) => catalogue, () => null) : Promise.resolve(null);
}

showCents(!storedExactness());
export const catalogue = catalogueOf();
let begun = begin();

/** The answer to this very question, where it is on its way already. There is one, for the first that is asked. */
export function takeBegun(body: string, bearer: string): Promise<Response> | null {
  const taken = begun?.body === body && begun.bearer === bearer ? begun.response : null;
  begun = null;
  return taken;
}
