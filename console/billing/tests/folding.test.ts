import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { fold } from "../src/folding";

// The same texts and digests as in tests/db/test_folding.py.

const EVERY_CHARACTER = Array.from({ length: 0x110000 }, (_, code) => code)
  .filter((code) => code < 0xd800 || code >= 0xe000)
  .map((code) => String.fromCodePoint(code));
const ODD = [
  ..."iI\u0131\u0130j\u03c3\u03a3\u03c2\u00df\u017f\u1e9e\u0300\u0301\u0307\u0323\u0327\u0345\u00e9\u00c5\u1fb3\u0386\uac01\u1100\u1161\u11a8\u13e3\uabb3\u1c80\ufb01\uff27\u00d7\u0378\ua7cb ",
];

function digest(texts: string[]): string {
  return createHash("sha256").update(texts.map(fold).join("\n")).digest("hex");
}

test("texts fold as the gateway folds them", () => {
  assert.equal(fold("İSTANBUL, Straße ΟΔΟΣ ＧＰＵ"), "istanbul, strasse οδοσ gpu");
  assert.equal(digest(EVERY_CHARACTER), "826ba275b512a494a7553b461d250501598ec42727ff79948aff0716b126122d");
  const triples = ODD.flatMap((one) => ODD.flatMap((two) => ODD.map((three) => one + two + three)));
  assert.equal(digest(triples), "a770f0af08bf31ef28d1c7265084cd8c45c98aaf69824d571cc822db1341ef89");
});
