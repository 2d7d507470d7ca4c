import assert from "node:assert/strict";
import { test } from "node:test";
import { countText } from "../src/counts";
import { isPlain } from "../src/locale";
import { amountOf, moneyText } from "../src/money";
import { clockText, dayText, monthLabel, monthText, utcSecondsText, utcText } from "../src/times";

// What is put together without Intl reads as Intl has it.

const money = { style: "currency", currency: "USD", minimumFractionDigits: 2, maximumFractionDigits: 9 } as const;

function byIntl(amount: string, signDisplay: "exceptZero" | "negative"): string {
  const text = new Intl.NumberFormat("en-US", { ...money, signDisplay }).format(amount as `${number}`);
  return text.replace("-", "\u2212");
}

test("the language of these tests is a plain one", () => {
  assert.equal(isPlain, true);
});

test("amounts are those of Intl", () => {
  const nanos = [0n, 1n, 10n ** 7n, 10n ** 9n, 999n * 10n ** 9n, 10n ** 12n, 123456789n * 10n ** 9n, 2n ** 63n - 1n];
  for (const one of [...nanos, ...nanos.map((some) => -some), ...nanos.map((some) => some * 7n + 120_000_000n)]) {
    if (one > 2n ** 63n) continue;
    const amount = amountOf(one);
    assert.equal(moneyText(amount, "USD"), byIntl(amount, "negative"));
    assert.equal(moneyText(amount, "USD", true), byIntl(amount, "exceptZero"));
  }
  // As people type them.
  for (const amount of ["5", "+1.5", "-1234", "-0.00", "007"]) {
    assert.equal(moneyText(amount, "USD"), byIntl(amount, "negative"));
  }
  assert.equal(moneyText("-1234.50", "EUR"), "−€1,234.50");
});

test("counts are those of Intl", () => {
  const whole = new Intl.NumberFormat("en-US");
  for (const count of [0n, 7n, 999n, 1000n, 12345n, 999999n, 1000000n, 36_012_345_678n, 2n ** 63n - 1n]) {
    for (const one of [count, -count]) assert.equal(countText(`${one}`), whole.format(one));
  }
});

test("times are those of Intl", () => {
  // Each is made once: to make one takes a hundred times as long as to use it.
  const utc = (options: Intl.DateTimeFormatOptions) => {
    const format = new Intl.DateTimeFormat("en-US", { ...options, timeZone: "UTC" });
    return (date: Date) => format.format(date).replaceAll("\u202f", " ");
  };
  const clock = { hour: "numeric", minute: "2-digit" } as const;
  const day = { year: "numeric", month: "short", day: "numeric" } as const;
  const byDay = utc(day);
  const byMinute = utc({ ...day, ...clock });
  const bySecond = utc({ ...day, ...clock, second: "2-digit" });
  const byClock = utc({ ...clock, second: "2-digit" });
  const byMonth = utc({ year: "numeric", month: "long" });
  const byShortMonth = utc({ month: "short" });
  // Every month, most days and hours.
  for (let at = Date.UTC(1999, 11, 31, 23, 59, 59); at < Date.UTC(2001, 1, 1); at += 4_567_891) {
    const date = new Date(at);
    const text = date.toISOString();
    assert.equal(utcText(text), byMinute(date));
    assert.equal(utcSecondsText(text), `${bySecond(date)} UTC`);
    assert.equal(clockText(date), `${byClock(date)} UTC`);
    assert.equal(dayText(text.slice(0, 10)), byDay(date));
    assert.equal(monthText(text.slice(0, 7)), byMonth(date));
    assert.equal(monthLabel(text.slice(0, 7)), byShortMonth(date));
  }
});
