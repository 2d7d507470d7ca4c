import assert from "node:assert/strict";
import { test } from "node:test";
import { dayAfter, dayText, daysBetween, isDay, lastDayOf, localText, utcSecondsText, utcText } from "../src/times";

// The tests run in India's zone, five and a half hours ahead of UTC.

const spaced = (text: string) => text.replaceAll("\u202f", " ");

test("times are UTC, and the reader's own on demand", () => {
  const time = "2026-11-23T22:02:40.123456Z";
  assert.equal(spaced(utcText(time)), "Nov 23, 2026, 10:02 PM");
  assert.equal(spaced(utcSecondsText(time)), "Nov 23, 2026, 10:02:40 PM UTC");
  assert.equal(spaced(localText(time)), "Nov 24, 2026, 3:32:40 AM GMT+5:30");
});

test("days are UTC days wherever they are read", () => {
  assert.equal(dayText("2026-11-23"), "Nov 23, 2026");
  assert.equal(dayAfter("2026-12-31", 1), "2027-01-01");
  assert.equal(dayAfter("2028-03-01", -1), "2028-02-29");
  assert.equal(dayAfter("9999-12-31", 1), "");
  assert.equal(lastDayOf("2028-02"), "2028-02-29");
  assert.equal(lastDayOf("2026-12"), "2026-12-31");
  assert.deepEqual(daysBetween("2026-10-31", "2026-11-02"), ["2026-10-31", "2026-11-01", "2026-11-02"]);
});

test("what is no day is told apart", () => {
  assert.equal(isDay("2028-02-29"), true);
  for (const text of ["0000-01-01", "2026-02-29", "2026-13-01", "2026-1-1", "", "tomorrow", "2026-11-23T00:00:00Z"]) {
    assert.equal(isDay(text), false, text);
  }
});
