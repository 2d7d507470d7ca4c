import type { ConsolePageQuery } from "../generated/ConsolePage";

type Opened = NonNullable<ConsolePageQuery["account"]>;

/** A ledger row as lists have it. */
export type Row = NonNullable<Opened["transactions"]>["edges"][number]["node"];

/** The usage of one model on one day, by category and origin. */
export type UsageDay = NonNullable<Opened["usage"]>["nodes"][number];

export type Account = Omit<Opened, "transactions" | "usage">;
export type Cards = Opened["thisMonth"];
export type Months = Opened["months"];
export type Viewer = ConsolePageQuery["viewer"];
