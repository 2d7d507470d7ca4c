import assert from "node:assert/strict";
import { test } from "node:test";
// @ts-expect-error: a script without types.
import { textsIn } from "../literals.mjs";

const found = (code: string) => textsIn(code, "part.tsx").map(([, text]: [number, string]) => text);

test("a text in a component is found", () => {
  assert.deepEqual(found("const a = <p>Balance {b}</p>;"), ["Balance"]);
  assert.deepEqual(found('const a = <p title="Your balance">{isOpen ? "open" : b} {c && "none are left"}</p>;'), [
    "Your balance",
    "open",
    "none are left",
  ]);
  assert.deepEqual(found('const a = { b: "Nothing was found." }; throw new Error("it went wrong");'), [
    "Nothing was found.",
    "it went wrong",
  ]);
});

test("what nobody reads is none", () => {
  assert.deepEqual(found('const a = <p class="muted keynote" id="open" role="status">{t.open} UTC</p>;'), []);
  assert.deepEqual(found('import b from "./Some file"; type A = "Two words"; if (key === "ArrowUp") send("gpu_usage");'), []);
});
