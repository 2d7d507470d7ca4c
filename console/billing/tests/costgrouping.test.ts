import assert from "node:assert/strict";
import { test } from "node:test";
import { NEWEST_COSTS } from "../src/address";
import { behind, costOf, costStacksOf, daysIn, partsOf, periodsOf } from "../src/costgrouping";
import type { CostGroup } from "../src/costs";
import { amountOf } from "../src/money";
import { english } from "../src/texts/en";
import { speakLate } from "../src/texts/spoken";

speakLate(english);

const NOTHING = { month: null, kind: null, refType: null, refId: null, apiKeyId: null, project: null };

function group(day: string, gross: string, refunded: string, more: Partial<CostGroup>): CostGroup {
  return { ...NOTHING, day, gross, refunded, cost: "0.00", ...more };
}

const KINDS: CostGroup[] = [
  group("2026-11-02", "5.00", "7.000000001", { kind: "GPU_INSTANCE" }),
  group("2026-11-02", "1.00", "0.00", { kind: "VOLUME" }),
  group("2026-11-02", "0.50", "0.00", { kind: "SHARED_FILESYSTEM" }),
  group("2026-11-01", "9.00", "0.00", { kind: "GPU_INSTANCE" }),
];
const DAYS = { from: "2026-11-01", to: "2026-11-02" };

test("parts are exact, with both kinds of storage as one", () => {
  const told = partsOf(KINDS, "kind").map(({ name, sums }) => [name, amountOf(costOf(sums))]);
  assert.deepEqual(told, [
    ["GPU instances", "6.999999999"],
    ["Storage", "1.50"],
  ]);
  const periods = periodsOf(KINDS, "kind").map(({ time, parts, sums }) => [time, parts.length, amountOf(costOf(sums))]);
  assert.deepEqual(periods, [
    ["2026-11-02", 2, "-0.500000001"],
    ["2026-11-01", 1, "9.00"],
  ]);
});

test("what a key is called is not what has none", () => {
  const named = [null, "not named"].map((apiKeyId) => group("2026-11-01", "1.00", "0.00", { apiKeyId }));
  assert.equal(partsOf(named, "key").length, 2);
});

test("stacks have a value for each time, and the cheapest are together", () => {
  const ids = Array.from({ length: 10 }, (_, number) => `${number}`);
  const groups = ids.map((refId) => group("2026-11-02", `${refId}.50`, "0.00", { refType: "GPU_INSTANCE", refId }));
  const stacks = costStacksOf(partsOf(groups, "resource"), periodsOf(groups, "resource"), [DAYS.from, DAYS.to]);
  assert.equal(stacks.length, 8);
  assert.deepEqual(stacks[0], { key: "GPU_INSTANCE 9", name: "GPU instance 9", colour: 0, values: [0, 9.5] });
  assert.deepEqual(stacks[7], { key: null, name: "Others", colour: 7, values: [0, 4.5] });
});

test("each figure leads to its rows", () => {
  const [gpu] = partsOf(KINDS, "kind");
  const to = (by: "kind" | "resource" | "key", some: Partial<CostGroup> | null, side?: "gross" | "refunded") => {
    const part = some && partsOf([{ ...(KINDS[0] as CostGroup), kind: null, ...some }], by)[0];
    return behind({ ...NEWEST_COSTS, by }, DAYS, part ?? null, side);
  };
  const gone = to("kind", gpu?.group ?? null, "refunded").transactions;
  assert.deepEqual([gone?.types, gone?.refType, gone?.from, gone?.to], [["REFUND"], "GPU_INSTANCE", DAYS.from, DAYS.to]);
  assert.deepEqual(to("kind", { kind: "VOLUME" }).transactions?.types, ["STORAGE_BILLING"]);
  assert.deepEqual(to("resource", { refType: "VOLUME", refId: "5" }).transactions?.refId, "5");
  assert.deepEqual(to("resource", null, "gross").transactions?.types, ["GPU_USAGE", "STORAGE_BILLING"]);
  const { by, key, without, from, to: last } = to("key", { apiKeyId: "key-a" }).costs ?? NEWEST_COSTS;
  assert.deepEqual([by, key, without, from, last], ["resource", "key-a", "", DAYS.from, DAYS.to]);
  assert.equal(to("key", { apiKeyId: null }).costs?.without, "key");
  const narrowed = behind({ ...NEWEST_COSTS, project: "p" }, DAYS, gpu ?? null);
  assert.deepEqual([narrowed.tab, narrowed.costs?.by, narrowed.costs?.project], ["costs", "resource", "p"]);
});

test("a month ends with the days that are shown", () => {
  assert.deepEqual(daysIn({ from: "2026-10-15", to: "2026-11-29" }, "2026-10"), { from: "2026-10-15", to: "2026-10-31" });
  assert.deepEqual(daysIn(DAYS, "2026-11"), DAYS);
});
