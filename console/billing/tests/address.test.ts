import assert from "node:assert/strict";
import { test } from "node:test";
import { NO_VIEWS, read, written } from "../src/address";

const before = NO_VIEWS;

test("what is written is read again", () => {
  for (const query of [
    "",
    "?types=gpu_usage,refund&from=2026-11-01&to=2026-11-30&min=-5.25&max=5&q=hold+me&ref_type=gpu_instance&ref_id=132",
    "?account=acct_7&q=a%26b%2Bc%23d%C3%A9",
    "?tab=usage&range=7&group=model",
    "?account=acct_7&tab=usage&from=2026-10-01&to=2026-10-31&group=category",
    "?tab=usage&range=last-month",
    "?tab=usage&range=7&model=m-large&model=a+b%26c",
    "?tab=costs",
    "?account=acct_7&tab=costs&range=year&by=key&per=month&key=a%22b&project=p&without=project",
    "?tab=costs&from=2026-11-05&to=2026-11-05&by=resource&without=key",
    "?tab=resources&ref_type=gpu_instance&ref_id=41",
  ]) {
    assert.equal(written(read(query, before)), query);
  }
});

test("what is malformed is left out", () => {
  const query =
    "?types=bogus,refund&from=2026-02-30&to=tomorrow&min=1e3&max=ten&q=ab&ref_type=GPU&ref_id=&tab=&other=1";
  assert.equal(written(read(query, before)), "?types=refund");
  assert.equal(written(read("?tab=usage&from=2026-11-02&to=2026-11-01&group=cat", before)), "?tab=usage");
  assert.equal(written(read("?tab=usage&model=&model=m&model=m", before)), "?tab=usage&model=m");
  assert.equal(written(read("?tab=costs&by=model&per=week&key=&without=all&range=custom", before)), "?tab=costs");
  assert.equal(written(read("?tab=resources&ref_type=api_usage&ref_id=", before)), "?tab=resources");
  const many = Array.from({ length: 150 }, (_, number) => `model=m${number}`);
  assert.equal(read(`?tab=usage&${many.join("&")}`, before).usage.models.length, 100);
});

test("the other tab keeps its view", () => {
  const there = read("?types=refund", before);
  const usage = read("?tab=usage&group=model", there);
  assert.deepEqual(usage.transactions.types, ["REFUND"]);
  assert.equal(read("", usage).usage.group, "model");
});
