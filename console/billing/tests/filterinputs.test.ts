import assert from "node:assert/strict";
import { test } from "node:test";
import { type Range, NO_FILTER, type TransactionsView } from "../src/address";
import { daysOf } from "../src/daterange";
import { transactionFilter, usageFilter } from "../src/filterinputs";
import { matches } from "../src/matching";
import type { Row } from "../src/rows";

const row: Row = {
  id: "txn_7_3",
  createdAt: "2026-11-23T23:59:59.999999Z",
  type: "REFUND",
  amount: "0.000000135",
  balanceAfter: "9.00",
  description: "GPU Instance #132: unused",
  source: "METERING",
  refType: "GPU_INSTANCE",
  refId: "Node-132",
};

test("a view without filters asks for the whole ledger", () => {
  assert.equal(transactionFilter(NO_FILTER), null);
});

test("days are UTC and both included", () => {
  const filter = transactionFilter({ ...NO_FILTER, from: "2026-11-23", to: "2026-12-31" });
  assert.deepEqual(filter, { createdAt: { gte: "2026-11-23T00:00:00Z", lt: "2027-01-01T00:00:00Z" } });
  assert.deepEqual(usageFilter({ range: "custom", from: "2028-02-29", to: "2028-02-29", group: "day", models: [] }), {
    day: { gte: "2028-02-29", lt: "2028-03-01" },
  });
});

test("ranges of days end today, months at their ends", () => {
  const of = (range: Range) => daysOf({ range, from: "", to: "" }, "2027-01-03");
  assert.deepEqual(of("7"), { from: "2026-12-28", to: "2027-01-03" });
  assert.deepEqual(of("30"), { from: "2026-12-05", to: "2027-01-03" });
  assert.deepEqual(of("90"), { from: "2026-10-06", to: "2027-01-03" });
  assert.deepEqual(of("month"), { from: "2027-01-01", to: "2027-01-03" });
  assert.deepEqual(of("last-month"), { from: "2026-12-01", to: "2026-12-31" });
  assert.deepEqual(of("year"), { from: "2026-02-01", to: "2027-01-03" });
});

test("a row that has come in is listed where the gateway would list it", () => {
  const cases: [Partial<TransactionsView>, boolean][] = [
    [{}, true],
    [{ types: ["REFUND", "BONUS"] }, true],
    [{ types: ["BONUS"] }, false],
    [{ from: "2026-11-23", to: "2026-11-23" }, true],
    [{ from: "2026-11-24" }, false],
    [{ to: "2026-11-22" }, false],
    [{ least: "0.000000135", most: "0.000000135" }, true],
    [{ least: "0.000000136" }, false],
    [{ most: "0" }, false],
    [{ search: "gpu instance" }, true],
    [{ search: "node-1" }, true],
    [{ search: "volume" }, false],
    [{ refType: "GPU_INSTANCE", refId: "Node-132" }, true],
    [{ refId: "node-132" }, false],
    [{ refType: "VOLUME" }, false],
  ];
  for (const [view, expected] of cases) assert.equal(matches(row, { ...NO_FILTER, ...view }), expected, JSON.stringify(view));
});
