// node literals.mjs: refuses texts outside src/texts, which no translation would reach.
import { readdir, readFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { parseAst } from "vite";

const src = join(dirname(fileURLToPath(import.meta.url)), "src");

/** Read by the browser or by a program: never a text. */
const ATTRIBUTES = new Set(["class", "style", "role", "type", "id", "name", "href", "rel", "key"]);
const CALLS = new Set(["RangeError", "matchMedia", "querySelector", "querySelectorAll", "closest", "getContext"]);

/** Of keys, headers and formats; and what the gateway itself writes, in English. */
const WORDS = new Set(["UTC", "Enter", "Escape", "Authorization", "Bearer ", "Accept", "Date", "Enterprise contract "]);
const CODES = [/^Arrow\w+$/, /^(X|Content|Billing)-[\w-]+$/, /^January,February,/, / calc\($/, /^money own-$/];
/** Languages are called by their own names wherever they are listed. */
const NAMES = "language.ts";

/** A word with a capital letter, or two words beside each other. */
const TEXT = /^\P{L}*\p{Lu}\p{Ll}+|\p{L}{2,}[,.:;]? +\p{L}{2,}/u;

const isText = (text) => TEXT.test(text) && !WORDS.has(text) && !CODES.some((code) => code.test(text));

function* childrenOf(node) {
  for (const value of Object.values(node)) {
    for (const one of Array.isArray(value) ? value : [value]) if (typeof one?.type === "string") yield one;
  }
}

function isSkipped(node) {
  if (node.type.startsWith("TS") && node.type !== "TSAsExpression" && node.type !== "TSNonNullExpression") return true;
  if (node.type === "ImportDeclaration" || node.type === "ImportExpression") return true;
  if (node.type === "JSXAttribute") return ATTRIBUTES.has(node.name.name);
  // What is typed or named: no text.
  if (node.type === "JSXElement" && node.openingElement.name.name === "code") return true;
  const called = node.callee?.property?.name ?? node.callee?.name;
  return CALLS.has(called);
}

/** What is shown as it stands, though it be one small word. */
const SHOWN = new Set(["aria-label", "title", "label", "placeholder", "legend", "action", "what"]);
const PASSING = new Set(["JSXExpressionContainer", "ConditionalExpression", "LogicalExpression", "TemplateLiteral"]);
const isWord = (text) => /^\p{Ll}{2,}$/u.test(text);

/** Whether a child of the node is shown if the node is, or because of it. */
function shows(node, isShown) {
  if (node.type === "JSXElement" || node.type === "JSXFragment") return true;
  return node.type === "JSXAttribute" ? SHOWN.has(node.name.name) : isShown && PASSING.has(node.type);
}

/** Every text below the node, with where it stands. */
function* textsOf(node, isShown = false) {
  if (isSkipped(node)) return;
  if (node.type === "JSXText" && /\p{L}/u.test(node.value) && !WORDS.has(node.value.trim())) yield [node.start, node.value.trim()];
  const text = node.type === "TemplateElement" ? node.value.cooked : node.type === "Literal" ? node.value : null;
  if (typeof text === "string" && (isText(text) || (isShown && isWord(text)))) yield [node.start, text];
  for (const child of childrenOf(node)) yield* textsOf(child, shows(node, isShown));
}

/** The texts of a script: the line of each, and the text. */
export function textsIn(code, name) {
  const found = textsOf(parseAst(code, { lang: name.endsWith("x") ? "tsx" : "ts" }));
  return [...found].map(([start, text]) => [code.slice(0, start).split("\n").length, text]);
}

async function check() {
  for (const entry of await readdir(src, { recursive: true, withFileTypes: true })) {
    const path = relative(src, join(entry.parentPath, entry.name));
    if (!/\.tsx?$/.test(path) || path === NAMES || path.startsWith("texts")) continue;
    for (const [line, text] of textsIn(await readFile(join(src, path), "utf8"), path)) {
      console.error(`src/${path}:${line}: move ${JSON.stringify(text)} to src/texts`);
      process.exitCode = 1;
    }
  }
}

if (process.argv[1]?.endsWith("/literals.mjs")) await check();
