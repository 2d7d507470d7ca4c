import assert from "node:assert/strict";
import { test } from "node:test";
import { groupsOf, stacksOf, totalOf } from "../src/grouping";
import { amountOf } from "../src/money";
import type { UsageDay } from "../src/rows";
import { english } from "../src/texts/en";
import { speakLate } from "../src/texts/spoken";

speakLate(english);

function day(on: string, model: string, cost: string, more: Partial<UsageDay> = {}): UsageDay {
  const tokens = { inputTokens: "9007199254740993", outputTokens: "2", tokens: "9007199254740995" };
  return { day: on, model, category: "CHAT", origin: "PLATFORM", calls: "1", ...tokens, cost, ...more };
}

const DAYS: UsageDay[] = [
  day("2026-11-02", "b", "0.10"),
  day("2026-11-02", "a", "0.20"),
  day("2026-11-02", "a", "0.00", { origin: "USER_INFERENCE", calls: "5" }),
  day("2026-11-01", "b", "4000000000.000000001", { category: "IMAGE", inputTokens: "0", outputTokens: "0", tokens: "0" }),
];

test("sums are exact", () => {
  const { calls, inputTokens, outputTokens, costNanos } = totalOf(DAYS);
  assert.equal(calls, 8n);
  assert.equal(inputTokens, 3n * 9007199254740993n);
  assert.equal(outputTokens, 6n);
  assert.equal(amountOf(costNanos), "4000000000.300000001");
});

test("each grouping has every line once, and sums to the same", () => {
  for (const group of ["day", "model", "category"] as const) {
    const groups = groupsOf(DAYS, group);
    const cost = groups.reduce((sum, { sums }) => sum + sums.costNanos, 0n);
    const lines = groups.flatMap(({ lines }) => lines).reduce((sum, { sums }) => sum + sums.costNanos, 0n);
    assert.equal(cost, totalOf(DAYS).costNanos);
    assert.equal(lines, cost);
  }
});

test("days come newest first, their models dearest first, by type and origin", () => {
  const groups = groupsOf(DAYS, "day");
  assert.deepEqual(
    groups.map(({ key, lines }) => [key, lines.map(({ model, kind }) => `${model} ${kind}`)]),
    [
      ["2026-11-02", ["a Chat", "b Chat", "a Chat, own inference"]],
      ["2026-11-01", ["b Image"]],
    ],
  );
});

test("models come dearest first, with their days", () => {
  const groups = groupsOf(DAYS, "model");
  assert.deepEqual(
    groups.map(({ key, lines }) => [key, lines.map((line) => line.day)]),
    [
      ["b", ["2026-11-02", "2026-11-01"]],
      ["a", ["2026-11-02", "2026-11-02"]],
    ],
  );
});

test("stacks have a height for every day, and the cheapest are together", () => {
  const days = ["2026-11-01", "2026-11-02", "2026-11-03"];
  const many = [...DAYS, day("2026-11-03", "c", "0.01"), day("2026-11-03", "d", "0.02")];
  const stacks = stacksOf(many, days, "model", 3);
  assert.deepEqual(
    stacks.map(({ name, cost }) => [name, cost]),
    [
      ["b", [4_000_000_000, 0.1, 0]],
      ["a", [0, 0.2, 0]],
      [english.panels.others, [0, 0, 0.03]],
    ],
  );
  assert.equal(stacksOf(DAYS, days, "category", 3).length, 2);
  assert.deepEqual(stacksOf([], days, "model", 3), []);
});
