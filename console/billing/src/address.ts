import type { RefType, TransactionType } from "../generated/ConsolePage";
import { wrongAmount, wrongDay, wrongName, wrongOrder, wrongSearch, wrongTransaction } from "./checks";
import { RESOURCE_TYPES, spelled, wordsOf } from "./kinds";
import { type Language, languageOf } from "./language";
import { nanosOf } from "./money";
import { t } from "./texts/spoken";
import { dayAfter } from "./times";

// What is shown is kept in the page's address: a reload, a bookmark and the way back find it again.

export const TABS = ["transactions", "costs", "resources", "usage", "keys"] as const;
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

export const RANGES = ["7", "30", "90", "month", "last-month", "year", "custom"] as const;
export type Range = (typeof RANGES)[number];

export const GROUPS = ["day", "model", "category"] as const;
export type GroupBy = (typeof GROUPS)[number];

export interface Span {
  readonly range: Range;
  /** UTC days, both included, of a custom range alone. */
  readonly from: string;
  readonly to: string;
}

export interface UsageView extends Span {
  readonly group: GroupBy;
  /** Of these models alone; none for all. */
  readonly models: readonly string[];
}

export const CAUSES = ["kind", "resource", "key", "project"] as const;
/** What cost is grouped by. */
export type Cause = (typeof CAUSES)[number];

export const PERIODS = ["day", "month"] as const;

export interface CostsView extends Span {
  readonly by: Cause;
  readonly per: (typeof PERIODS)[number];
  /** Of this API key or project alone; "" for all. */
  readonly key: string;
  readonly project: string;
  /** Only what names no key, or no project. */
  readonly without: "" | "key" | "project";
}

export interface ResourcesView {
  readonly refType: RefType | "";
  readonly refId: string;
}

/** The views of all tabs: those that are not shown are kept. */
export interface Views {
  readonly transactions: TransactionsView;
  readonly costs: CostsView;
  readonly resources: ResourcesView;
  readonly usage: UsageView;
}

export interface Address extends Views {
  readonly account: string | null;
  readonly tab: Tab;
  /** That the address asks for; null where the reader's own is taken. */
  readonly language: Language | null;
  /** The transaction that is shown by itself, above the others; "" for none. */
  readonly transaction: string;
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
const NEWEST: Span = { range: "30", from: "", to: "" };
export const NEWEST_USAGE: UsageView = { ...NEWEST, group: "day", models: [] };
export const NEWEST_COSTS: CostsView = { ...NEWEST, by: "kind", per: "day", key: "", project: "", without: "" };
export const NO_VIEWS: Views = {
  transactions: NO_FILTER,
  costs: NEWEST_COSTS,
  resources: { refType: "", refId: "" },
  usage: NEWEST_USAGE,
};

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
      this.fitting(name, text, known[index] ? "" : t.noKind);
    });
    return words.filter((word) => known.includes(word));
  }
}

function resourceOf(reader: Reader, types: readonly RefType[]): ResourcesView {
  return { refType: reader.words("ref_type", types)[0] ?? "", refId: reader.text("ref_id", wrongName) };
}

function transactionsOf(reader: Reader): TransactionsView {
  const [from, to] = reader.range("from", "to", wrongDay);
  const [least, most] = reader.range("min", "max", wrongAmount, nanosOf);
  return {
    types: reader.words("types", wordsOf(t.types)),
    from,
    to,
    least,
    most,
    search: reader.text("q", wrongSearch),
    ...resourceOf(reader, wordsOf(t.refTypes)),
  };
}

function spanOf(reader: Reader, given: URLSearchParams): Span {
  const [from, to] = reader.range("from", "to", wrongDay);
  const range = oneOf(RANGES, given.get("range"), from && to ? "custom" : NEWEST.range);
  if (range !== "custom") return { range, from: "", to: "" };
  const tooLong = from && to && to >= dayAfter(from, LONGEST_DAYS) ? t.mostDays(LONGEST_DAYS) : "";
  return from && reader.fitting("to", to, tooLong) ? { range, from, to } : NEWEST;
}

function costsOf(reader: Reader, given: URLSearchParams): CostsView {
  return {
    ...spanOf(reader, given),
    by: oneOf(CAUSES, given.get("by"), NEWEST_COSTS.by),
    per: oneOf(PERIODS, given.get("per"), NEWEST_COSTS.per),
    key: reader.text("key", wrongName),
    project: reader.text("project", wrongName),
    without: oneOf(["", "key", "project"], given.get("without"), ""),
  };
}

function usageOf(reader: Reader, given: URLSearchParams): UsageView {
  const span = spanOf(reader, given);
  const group = oneOf(GROUPS, given.get("group"), NEWEST_USAGE.group);
  const models = [...new Set(given.getAll("model"))].filter((text) => reader.fitting("model", text, wrongName(text)));
  if (models.length > MOST_MODELS) reader.fitting("model", "…", t.mostModels(MOST_MODELS));
  return { ...span, group, models: models.slice(0, MOST_MODELS) };
}

/** What the parameters say of the tab that they are about; whatever is malformed is left out. */
export function read(search: string, before: Views): Address {
  const given = new URLSearchParams(search);
  const reader = new Reader(given);
  const tab = oneOf(TABS, given.get("tab"), "transactions");
  return {
    account: given.get("account") || null,
    tab,
    language: languageOf(given.get("lang")) ?? null,
    transaction: tab === "transactions" ? reader.text("txn", wrongTransaction) : "",
    transactions: tab === "transactions" ? transactionsOf(reader) : before.transactions,
    costs: tab === "costs" ? costsOf(reader, given) : before.costs,
    resources: tab === "resources" ? resourceOf(reader, RESOURCE_TYPES) : before.resources,
    usage: tab === "usage" ? usageOf(reader, given) : before.usage,
    leftOut: reader.leftOut,
  };
}

type Parameters = readonly (readonly [string, string | null])[];

function spanParameters({ range, from, to }: Span): Parameters {
  const isPlain = range === NEWEST.range || range === "custom";
  return [
    ["range", isPlain ? "" : range],
    ["from", from],
    ["to", to],
  ];
}

function resourceParameters({ refType, refId }: ResourcesView): Parameters {
  return [
    ["ref_type", spelled(refType)],
    ["ref_id", refId],
  ];
}

const PARAMETERS: Record<Tab, (address: Address) => Parameters> = {
  transactions: ({ transaction, transactions: view }) => [
    ["txn", transaction],
    ["types", view.types.map(spelled).join(",")],
    ["from", view.from],
    ["to", view.to],
    ["min", view.least],
    ["max", view.most],
    ["q", view.search],
    ...resourceParameters(view),
  ],
  costs: ({ costs: { by, per, key, project, without, ...span } }) => [
    ...spanParameters(span),
    ["by", by === NEWEST_COSTS.by ? "" : by],
    ["per", per === NEWEST_COSTS.per ? "" : per],
    ["key", key],
    ["project", project],
    ["without", without],
  ],
  resources: ({ resources }) => resourceParameters(resources),
  usage: ({ usage: { group, models, ...span } }) => [
    ...spanParameters(span),
    ["group", group === NEWEST_USAGE.group ? "" : group],
    ...models.map((model): [string, string] => ["model", model]),
  ],
  keys: () => [],
};

function parametersOf(address: Address): [string, string][] {
  const { account, language, tab } = address;
  const all = [["account", account], ["lang", language], ["tab", tab === "transactions" ? null : tab], ...PARAMETERS[tab](address)];
  return all.filter((pair): pair is [string, string] => !!pair[1]);
}

export function written(address: Address): string {
  // Commas are legal in a query and read better than their code.
  const query = new URLSearchParams(parametersOf(address)).toString().replaceAll("%2C", ",");
  return query && `?${query}`;
}
