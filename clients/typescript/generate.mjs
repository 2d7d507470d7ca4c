// node generate.mjs: writes src/generated/operations.ts with the texts and types of graphql/operations and
// clients/operations. Run by `make clients`.
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { codegen } from "@graphql-codegen/core";
import * as operationTypes from "@graphql-codegen/typescript-operations";
import { Kind, parse, print, stripIgnoredCharacters } from "graphql";

const here = dirname(fileURLToPath(import.meta.url));
const root = resolve(here, "../..");
const target = join(here, "src/generated/operations.ts");

/** Amounts and counts stay the strings that they are on the wire: a number would lose digits. */
const scalars = Object.fromEntries(
  ["BigInt", "Date", "DateTime", "Decimal", "ID", "YearMonth"].map((name) => [name, "string"]),
);

const bases = { query: "Query", mutation: "Mutation", subscription: "Subscription" };

function constant({ rawSDL, document }) {
  const [operation, ...others] = document.definitions.filter(({ kind }) => kind === Kind.OPERATION_DEFINITION);
  if (others.length > 0) throw new Error("a file holds one operation");
  const name = operation.name.value;
  const base = bases[operation.operation];
  const types = `${name}${base}, ${name}${base}Variables`;
  const comment = rawSDL.split("\n").filter((line) => line.startsWith("#")).map((line) => line.slice(2)).join(" ");
  const value = { kind: operation.operation, name, text: stripIgnoredCharacters(print(document)) };
  return `/** ${comment} */\nexport const ${name}: ${base}<${types}> = ${JSON.stringify(value)};`;
}

/** A plugin of graphql-codegen: the documents, with their types for whoever sends them. */
const texts = {
  plugin: (_schema, documents) => ({
    prepend: ['import type { Mutation, Query, Subscription } from "../operation.js";'],
    content: documents.map(constant).join("\n"),
  }),
};

async function documentsOf(folder) {
  const files = (await readdir(folder)).filter((name) => name.endsWith(".graphql")).sort();
  return Promise.all(
    files.map(async (name) => {
      const rawSDL = await readFile(join(folder, name), "utf8");
      return { location: join(folder, name), document: parse(rawSDL), rawSDL };
    }),
  );
}

const folders = await Promise.all(["graphql/operations", "clients/operations"].map((name) => documentsOf(join(root, name))));
const source = await codegen({
  schema: parse(await readFile(join(root, "graphql/schema.graphql"), "utf8")),
  documents: folders.flat(),
  filename: target,
  config: {},
  plugins: [{ types: { scalars, strictScalars: true, immutableTypes: true, skipTypename: true } }, { texts: {} }],
  pluginMap: { types: operationTypes, texts },
});
await mkdir(dirname(target), { recursive: true });
await writeFile(target, `// Made by generate.mjs: do not edit.\n${source}`);
