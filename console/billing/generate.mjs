// node generate.mjs: writes generated/NAME.ts for each of graphql/operations/NAME.graphql, with the types of its
// variables and its result, and its text. The page sends these texts and no others.
import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { codegen } from "@graphql-codegen/core";
import * as operationTypes from "@graphql-codegen/typescript-operations";
import { Kind, parse, stripIgnoredCharacters } from "graphql";

const here = dirname(fileURLToPath(import.meta.url));
const graphql = resolve(here, "../../graphql");
const target = join(here, "generated");

/** Amounts and counts stay the strings that they are on the wire: a number would lose digits. */
const scalars = Object.fromEntries(
  ["BigInt", "Date", "DateTime", "Decimal", "ID", "YearMonth"].map((name) => [name, "string"]),
);

const kinds = { query: "Query", mutation: "Mutation", subscription: "Subscription" };

function kept(text) {
  documents[createHash("sha256").update(text).digest("hex")] = text;
  return text;
}

/** A plugin of graphql-codegen: the document, with its types for whoever sends it. */
const texts = {
  plugin(_schema, [{ document, rawSDL }]) {
    const operations = document.definitions.filter(({ kind }) => kind === Kind.OPERATION_DEFINITION);
    if (operations.length !== 1) throw new Error("a file of graphql/operations holds one operation");
    const [{ name, operation }] = operations;
    const type = name.value + kinds[operation];
    return {
      prepend: ['import type { Operation } from "../src/operation";'],
      content: `export const ${name.value}: Operation<${type}, ${type}Variables> = ${JSON.stringify({
        name: name.value,
        text: kept(stripIgnoredCharacters(rawSDL)),
      })};`,
    };
  },
};

async function generated(schema, path) {
  const rawSDL = await readFile(path, "utf8");
  const source = await codegen({
    schema,
    documents: [{ location: path, document: parse(rawSDL), rawSDL }],
    filename: path,
    config: {},
    plugins: [{ types: { scalars, strictScalars: true, immutableTypes: true, skipTypename: true } }, { texts: {} }],
    pluginMap: { types: operationTypes, texts },
  });
  return `// Made by generate.mjs from graphql/operations.\n${source}`;
}

/** The page's documents by the SHA-256 of their texts: the gateway trusts these. */
export const documents = {};

const schema = parse(await readFile(join(graphql, "schema.graphql"), "utf8"));
const operations = join(graphql, "operations");
await rm(target, { recursive: true, force: true });
await mkdir(target);
for (const file of (await readdir(operations)).filter((name) => name.endsWith(".graphql"))) {
  const path = join(target, `${basename(file, ".graphql")}.ts`);
  await writeFile(path, await generated(schema, join(operations, file)));
}
