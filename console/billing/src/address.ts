import type { RefType, TransactionType } from "../generated/ConsolePage";
import { REF_TYPES, TYPES, spelled, wordsOf } from "./kinds";
import { parseNanos } from "./money";
import { dayAfter, isDay } from "./times";

// What is shown is kept in the page's address: a reload, a bookmark and the way back find it again.

export const TABS = ["transactions", "usage"] as const;
export type Tab = (typeof TABS)[number];

export interface TransactionsView {
  readonly types: readonly TransactionType[];
  /** UTC days, both included; "" where there is no bound. */
  readonly from: string;
  readonly to: string;
  readonly least: string;
  readonly most: string;
  readonly search: string;
  readonly refType: RefType | "";
  readonly refId: string;
}

export const RANGES = ["7", "30", "90", "month", "last-month", "custom"] as const;
export type Range = (typeof RANGES)[number];

export const GROUPS = ["day", "model", "category"] as const;
export type Group = (typeof GROUPS)[number];

export interface UsageView {
  readonly range: Range;
  /** UTC days, both included, of a custom range alone. */
  readonly from: string;
  readonly to: string;
  readonly group: Group;
  /** Of these models alone; none for all. */
  readonly models: readonly string[];
}

export interface Address {
  readonly account: string | null;
  readonly tab: Tab;
  readonly transactions: TransactionsView;
  readonly usage: UsageView;
}

export const NO_FILTER: TransactionsView = {
  types: [],
  from: "",
  to: "",
  least: "",
  most: "",
  search: "",
  refType: "",
  refId: "",
};
export const NEWEST_USAGE: UsageView = { range: "30", from: "", to: "", group: "day", models: [] };

export const SHORTEST_SEARCH = 3;
const LONGEST_TEXT = 200;
/** Beyond this many days of usage, a bar would be thinner than the gap beside it. */
export const LONGEST_DAYS = 400;
/** As many as an export takes. */
export const MOST_MODELS = 100;

function oneOf<Word extends string>(words: readonly Word[], given: string | null, otherwise: Word): Word {
  return words.find((word) => word === given) ?? otherwise;
}

function kept(given: string | null, fits: (text: string) => boolean): string {
  return given !== null && fits(given) ? given : "";
}

function isAmount(text: string): boolean {
  return parseNanos(text) !== null;
}

function transactionsOf(given: URLSearchParams): TransactionsView {
  const types = (given.get("types") ?? "").split(",");
  const refTypes = wordsOf(REF_TYPES);
  return {
    types: wordsOf(TYPES).filter((type) => types.includes(spelled(type))),
    from: kept(given.get("from"), isDay),
    to: kept(given.get("to"), isDay),
    least: kept(given.get("min"), isAmount),
    most: kept(given.get("max"), isAmount),
    search: kept(given.get("q"), (text) => text.length >= SHORTEST_SEARCH && text.length <= LONGEST_TEXT),
    refType: refTypes.find((type) => spelled(type) === given.get("ref_type")) ?? "",
    refId: kept(given.get("ref_id"), (text) => text.length > 0 && text.length <= LONGEST_TEXT),
  };
}

function usageOf(given: URLSearchParams): UsageView {
  const from = kept(given.get("from"), isDay);
  const to = kept(given.get("to"), isDay);
  const range = oneOf(RANGES, given.get("range"), from && to ? "custom" : NEWEST_USAGE.range);
  const group = oneOf(GROUPS, given.get("group"), NEWEST_USAGE.group);
  const isRange = from && to && from <= to && to < dayAfter(from, LONGEST_DAYS);
  const models = [...new Set(given.getAll("model"))].filter((text) => text && text.length <= LONGEST_TEXT);
  const rest = { group, models: models.slice(0, MOST_MODELS) };
  if (range !== "custom") return { range, from: "", to: "", ...rest };
  return isRange ? { range, from, to, ...rest } : { ...NEWEST_USAGE, ...rest };
}

/** What the parameters say of the tab that they are about; whatever is malformed is left out. */
export function read(search: string, before: Omit<Address, "tab" | "account">): Address {
  const given = new URLSearchParams(search);
  const tab = oneOf(TABS, given.get("tab"), "transactions");
  return {
    account: given.get("account") || null,
    tab,
    transactions: tab === "transactions" ? transactionsOf(given) : before.transactions,
    usage: tab === "usage" ? usageOf(given) : before.usage,
  };
}

function parametersOf({ account, tab, transactions, usage }: Address): [string, string][] {
  const shared: [string, string | null][] = [
    ["account", account],
    ["tab", tab === "transactions" ? null : tab],
  ];
  const { types, from, to, least, most, search, refType, refId } = transactions;
  const own: [string, string][] =
    tab === "usage"
      ? [
          ["range", usage.range === NEWEST_USAGE.range || usage.range === "custom" ? "" : usage.range],
          ["from", usage.from],
          ["to", usage.to],
          ["group", usage.group === NEWEST_USAGE.group ? "" : usage.group],
          ...usage.models.map((model): [string, string] => ["model", model]),
        ]
      : [
          ["types", types.map(spelled).join(",")],
          ["from", from],
          ["to", to],
          ["min", least],
          ["max", most],
          ["q", search],
          ["ref_type", spelled(refType)],
          ["ref_id", refId],
        ];
  return [...shared, ...own].filter((pair): pair is [string, string] => !!pair[1]);
}

export function written(address: Address): string {
  // Commas are legal in a query and read better than their code.
  const query = new URLSearchParams(parametersOf(address)).toString().replaceAll("%2C", ",");
  return query && `?${query}`;
}
