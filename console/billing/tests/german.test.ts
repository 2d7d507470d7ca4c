import assert from "node:assert/strict";
import { test } from "node:test";

// Before the modules look at it: each test file is a process of its own.
Object.defineProperty(globalThis, "navigator", { value: { languages: ["fr", "de-DE", "de-AT", "en-US"] } });

const { countText, counted } = await import("../src/counts");
const { english, language } = await import("../src/language");
const { locale } = await import("../src/locale");
const { moneyText, moneyParts } = await import("../src/money");
const { speak } = await import("../src/texts/spoken");
const { catalogue } = await import("../src/texts/de");
const { axisText, dayText, monthLabel, monthText, utcText } = await import("../src/times");
const { canonical, readings, typed } = await import("../src/typed");
const { wrongTyped } = await import("../src/checks");

speak(catalogue);
// A space that does not break.
const spaced = (text: string) => text.replaceAll("\u00a0", " ");

test("the first of the reader's languages that the page has is taken, as the reader's country has it", () => {
  assert.deepEqual([language, locale, english], ["de", "de-DE", "en"]);
});

test("the currency comes where the language has it, and every digit stays", () => {
  const { head, tail, end, cents } = moneyParts("-212798.808720468", "USD", true);
  assert.deepEqual([head, tail, end, cents].map(spaced), ["−212.798,80", "8720468", " $", "−212.798,81 $"]);
  assert.equal(spaced(moneyText("9223372036.854775807", "USD")), "9.223.372.036,854775807 $");
  assert.equal(countText("36012345678"), "36.012.345.678");
});

test("days and months are written out", () => {
  assert.equal(dayText("2026-11-29"), "29. Nov. 2026");
  assert.equal(utcText("2026-11-29T00:05:40.123456Z"), "29. Nov. 2026, 00:05");
  assert.equal(monthText("2026-03"), "März 2026");
  assert.equal(monthLabel("2026-11"), "Nov");
  assert.deepEqual([axisText("2026-11-29"), axisText("2026-11")], ["29. Nov.", "November"]);
});

test("plurals follow the language's rules", () => {
  const forms = { one: "# Zeile", other: "# Zeilen" };
  assert.deepEqual([0, 1, "1000"].map((count) => counted(count, forms)), ["0 Zeilen", "1 Zeile", "1.000 Zeilen"]);
});

test("amounts are typed with a comma, and sent with a point", () => {
  for (const [text, amount] of [
    ["1.234,56", "1234.56"],
    ["-1,25", "-1.25"],
    ["+0,5", "+0.5"],
    ["1234", "1234"],
    ["1.234.567", "1234567"],
    // As Austria and Switzerland group digits.
    ["1\u00a0234,56", "1234.56"],
    ["0,000000135", "0.000000135"],
    // As programs write them.
    ["25.00", "25.00"],
    ["0.123", "0.123"],
    ["1234.567", "1234.567"],
  ] as const) {
    assert.equal(canonical(text), amount, text);
    assert.equal(wrongTyped(text), "", text);
  }
  assert.equal(typed("1234.56"), "1234,56");
});

test("what can be read in two ways is refused with both", () => {
  for (const text of ["1.234", "-12.500"]) assert.equal(canonical(text), "", text);
  assert.deepEqual(readings("1.234"), ["1234", "1,234"]);
  assert.equal(wrongTyped("1.234"), "Nicht eindeutig: Geben Sie 1234 oder 1,234 ein.");
  for (const text of ["1.23,4", "1,2,3", "1.2.3", "12,", ",5", "zehn", "1,0000000001"]) {
    assert.equal(wrongTyped(text), "Geben Sie eine Dezimalzahl wie -1,25 ein.", text);
  }
});
