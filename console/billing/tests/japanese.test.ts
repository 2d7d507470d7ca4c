import assert from "node:assert/strict";
import { test } from "node:test";

Object.defineProperty(globalThis, "navigator", { value: { languages: ["ja"] } });

const { first } = await import("../src/texts/en/first");
const { managing } = await import("../src/texts/en/managing");
const { panels } = await import("../src/texts/en/panels");
const german = (await import("../src/texts/de")).catalogue;
const japanese = (await import("../src/texts/ja")).catalogue;
const { moneyText } = await import("../src/money");
const { axisText, dayText, monthText, utcText } = await import("../src/times");
const { canonical } = await import("../src/typed");

test("amounts, days and months are those of Japan", () => {
  assert.equal(moneyText("-1234.567", "USD", true), "−$1,234.567");
  assert.equal(dayText("2026-11-29"), "2026年11月29日");
  assert.equal(utcText("2026-11-29T00:05:40.123456Z"), "2026年11月29日 00:05");
  assert.deepEqual([monthText("2026-03"), axisText("2026-03-01")], ["2026年3月", "3月1日"]);
});

test("wide digits are digits", () => {
  assert.equal(canonical("１２３４．５"), "1234.5");
});

/** All texts of a catalogue by their names; of functions, one that they make. */
function textsOf(name: string, value: unknown): [string, string][] {
  if (typeof value === "string") return [[name, value]];
  if (typeof value === "function") return textsOf(name, String([value("7", "8", "9", String, String)].flat(9).join("")));
  return Object.entries(value as object).flatMap(([key, inner]) => textsOf(`${name}.${key}`, inner));
}

/** Words that both languages have. */
const SHARED = new Set(["Details", "Live", "CSV", "Tokens", "Chat", "Embedding", "Audio", "Video", "Bonus", "Bonus (optional)"]);

test("no text was left in English, and none has lost what stands in it", () => {
  const english = new Map(textsOf("", { first, panels, managing }));
  for (const catalogue of [german, japanese]) {
    const texts = textsOf("", catalogue);
    assert.deepEqual(texts.filter(([name, text]) => /\p{L}{3}/u.test(text) && english.get(name) === text && !SHARED.has(text)), []);
    const parts = (text: string) => [...text.matchAll(/[789]/g)].map(([part]) => part).sort().join("");
    const differing = texts.filter(([name, text]) => parts(text) !== parts(english.get(name) ?? ""));
    // It says the bound twice.
    assert.deepEqual(differing.filter(([name]) => name !== ".first.wrongSize"), []);
  }
});
