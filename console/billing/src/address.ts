import type { RefType, TransactionType } from "../generated/ConsolePage";
import { wrongAmount, wrongDay, wrongName, wrongOrder, wrongSearch, wrongTransaction } from "./checks";
import { REF_TYPES, TYPES, spelled, wordsOf } from "./kinds";
import { nanosOf } from "./money";
import { dayAfter } from "./times";

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
  /** The transaction that is shown by itself, above the others; "" for none. */
  readonly transaction: string;
  readonly transactions: TransactionsView;
  readonly usage: UsageView;
  /** What the address asked for and the gateway would refuse: each with the reason. It is not asked for. */
  readonly leftOut: readonly string[];
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

/** Beyond this many days of usage, a bar would be thinner than the gap beside it. */
export const LONGEST_DAYS = 400;
/** As many as an export takes. */
export const MOST_MODELS = 100;

function oneOf<Word extends string>(words: readonly Word[], given: string | null, otherwise: Word): Word {
  return words.find((word) => word === given) ?? otherwise;
}

const itself = (text: string) => text;

/** Reads parameters, and keeps note of what is left out. */
class Reader {
  readonly leftOut: string[] = [];
  readonly #given: URLSearchParams;

  constructor(given: URLSearchParams) {
    this.#given = given;
  }

  /** "" where the text is wrong. */
  fitting(name: string, text: string, wrong: string): string {
    if (wrong) this.leftOut.push(`${name}=${[...text].slice(0, 40).join("")}: ${wrong}`);
    return wrong ? "" : text;
  }

  text(name: string, wrong: (text: string) => string): string {
    const text = this.#given.get(name) ?? "";
    return text && this.fitting(name, text, wrong(text));
  }

  range(
    low: string,
    high: string,
    wrong: (text: string) => string,
    compare: (text: string) => string | bigint = itself,
  ): [string, string] {
    const from = this.text(low, wrong);
    const to = this.text(high, wrong);
    return [from, this.fitting(high, to, wrongOrder(from, to, compare))];
  }

  words<Word extends string>(name: string, words: readonly Word[]): Word[] {
    const given = (this.#given.get(name) ?? "").split(",").filter(Boolean);
    const known = given.map((text) => words.find((word) => spelled(word) === text));
    given.forEach((text, index) => {
      this.fitting(name, text, known[index] ? "" : "There is no such kind.");
    });
    return words.filter((word) => known.includes(word));
  }
}

function transactionsOf(reader: Reader): TransactionsView {
  const [from, to] = reader.range("from", "to", wrongDay);
  const [least, most] = reader.range("min", "max", wrongAmount, nanosOf);
  return {
    types: reader.words("types", wordsOf(TYPES)),
    from,
    to,
    least,
    most,
    search: reader.text("q", wrongSearch),
    refType: reader.words("ref_type", wordsOf(REF_TYPES))[0] ?? "",
    refId: reader.text("ref_id", wrongName),
  };
}

function usageOf(reader: Reader, given: URLSearchParams): UsageView {
  const [from, to] = reader.range("from", "to", wrongDay);
  const range = oneOf(RANGES, given.get("range"), from && to ? "custom" : NEWEST_USAGE.range);
  const group = oneOf(GROUPS, given.get("group"), NEWEST_USAGE.group);
  const models = [...new Set(given.getAll("model"))].filter((text) => reader.fitting("model", text, wrongName(text)));
  const rest = { group, models: models.slice(0, MOST_MODELS) };
  if (models.length > MOST_MODELS) reader.fitting("model", "…", `Name at most ${MOST_MODELS} models.`);
  if (range !== "custom") return { range, from: "", to: "", ...rest };
  const tooLong = from && to && to >= dayAfter(from, LONGEST_DAYS) ? `Name at most ${LONGEST_DAYS} days.` : "";
  const isRange = from && reader.fitting("to", to, tooLong);
  return isRange ? { range, from, to, ...rest } : { ...NEWEST_USAGE, ...rest };
}

/** What the parameters say of the tab that they are about; whatever is malformed is left out. */
export function read(search: string, before: Pick<Address, "transactions" | "usage">): Address {
  const given = new URLSearchParams(search);
  const reader = new Reader(given);
  const tab = oneOf(TABS, given.get("tab"), "transactions");
  return {
    account: given.get("account") || null,
    tab,
    transaction: tab === "transactions" ? reader.text("txn", wrongTransaction) : "",
    transactions: tab === "transactions" ? transactionsOf(reader) : before.transactions,
    usage: tab === "usage" ? usageOf(reader, given) : before.usage,
    leftOut: reader.leftOut,
  };
}

function parametersOf({ account, tab, transaction, transactions, usage }: Address): [string, string][] {
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
          ["txn", transaction],
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
