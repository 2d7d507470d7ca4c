import assert from "node:assert/strict";
import { test } from "node:test";
import { amountOf, moneyText, nanosOf, parseNanos, moneyParts, sumOf } from "../src/money";

test("amounts are parsed and formatted digit by digit", () => {
  for (const amount of ["0.00", "-1.25", "0.000000135", "9223372036.854775807", "-9223372036.854775807", "12.30"]) {
    assert.equal(amountOf(nanosOf(amount)), amount);
  }
  assert.equal(nanosOf("9223372036.854775807"), 9223372036854775807n);
});

test("what is no amount is told apart", () => {
  for (const text of ["", "-", "1.", ".5", "1e3", "1,000", "0.0000000001", "12345678901", " 1", "NaN", "١"]) {
    assert.equal(parseNanos(text), null, text);
  }
});

test("sums are exact where floats are not", () => {
  assert.equal(sumOf(["0.10", "0.20"]), "0.30");
  assert.equal(sumOf(["9007199254.740993001", "0.000000001"]), "9007199254.740993002");
  assert.equal(sumOf([]), "0.00");
});

test("every digit is shown, those beyond cents apart", () => {
  const negative = { head: "−$212,798.80", tail: "8720468", end: "", cents: "−$212,798.81" };
  assert.deepEqual(moneyParts("-212798.808720468", "USD", true), negative);
  assert.deepEqual(moneyParts("0.000000135", "USD"), { head: "$0.00", tail: "0000135", end: "", cents: "$0.00" });
  assert.equal(moneyText("9223372036.854775807", "USD"), "$9,223,372,036.854775807");
});

test("the sign is a character of its own", () => {
  assert.equal(moneyText("5.00", "USD", true), "+$5.00");
  assert.equal(moneyText("5.00", "USD"), "$5.00");
  assert.equal(moneyText("-5.00", "USD"), "−$5.00");
  assert.equal(moneyText("0.00", "USD", true), "$0.00");
});

test("cents are rounded half-even, and an amount without more digits has none apart", () => {
  const cents = (amount: string) => moneyParts(amount, "USD", true).cents;
  for (const [amount, text] of [
    ["0.125", "+$0.12"],
    ["0.135", "+$0.14"],
    ["0.125000001", "+$0.13"],
    ["-0.125", "−$0.12"],
    ["-0.135", "−$0.14"],
    ["-9.995", "−$10.00"],
    ["999.999999999", "+$1,000.00"],
    ["-0.000000135", "−$0.00"],
    ["0.005", "+$0.00"],
    ["0.015", "+$0.02"],
    ["9223372036.854775807", "+$9,223,372,036.85"],
    ["5.00", ""],
    ["-1.25", ""],
  ] as const) {
    assert.equal(cents(amount), text, amount);
  }
});
