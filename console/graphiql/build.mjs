// node build.mjs OUT: bundles the page into the folder OUT, every file named after its content and compressed.
// Nothing that the page loads lies elsewhere: fonts are in the style sheet, workers are files beside the script.
import { readdir, readFile, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";
import { build } from "esbuild";
import { parse } from "graphql";

const here = dirname(fileURLToPath(import.meta.url));
const folders = ["operations", "examples"].map((name) => resolve(here, "../../graphql", name));
const served = "/static/graphiql/";

const [out] = process.argv.slice(2).map((folder) => resolve(folder));
if (!out) throw new Error("usage: node build.mjs OUT");

const common = {
  absWorkingDir: here,
  outdir: out,
  bundle: true,
  minify: true,
  metafile: true,
  target: "es2022",
  entryNames: "[name]-[hash]",
  chunkNames: "chunk-[hash]",
  logLevel: "warning",
  define: { "process.env.NODE_ENV": '"production"' },
};

/** The file that esbuild wrote for an entry point. */
function written(result, entry) {
  const [path] = Object.entries(result.metafile.outputs).find(([, output]) => output.entryPoint === entry) ?? [];
  if (!path) throw new Error(`esbuild wrote nothing for ${entry}`);
  return basename(path);
}

async function textOf(path) {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (error.code === "ENOENT") return undefined;
    throw error;
  }
}

/** The account is filled in wherever an operation takes one: keys without an account of their own must name it. */
function accountOf(document) {
  const variables = document.definitions.flatMap((definition) => definition.variableDefinitions ?? []);
  return variables.some(({ variable }) => variable.name.value === "account") ? { account: "<account>" } : {};
}

/** An operation with the comment above it. NAME.json beside it says which keys may run it, and with which variables;
 * those in angle brackets are filled in by the page (src/found.ts). */
async function example(folder, file) {
  const name = basename(file, ".graphql");
  const query = await readFile(join(folder, file), "utf8");
  const comment = /^(?:#.*\n)+/.exec(query)?.[0] ?? "";
  const { scopes = null, variables = {} } = JSON.parse((await textOf(join(folder, `${name}.json`))) ?? "{}");
  const about = comment.replace(/^# ?/gm, "").replaceAll("\n", " ").trim();
  return { name, about, query, variables: { ...accountOf(parse(query)), ...variables }, scopes };
}

async function examples() {
  const found = await Promise.all(
    folders.map(async (folder) => {
      const files = (await readdir(folder)).filter((name) => name.endsWith(".graphql"));
      return Promise.all(files.map((file) => example(folder, file)));
    }),
  );
  return found.flat().sort((one, other) => (one.name < other.name ? -1 : 1));
}

/** Workers are classic scripts without imports, one file each: a module worker would need a request per chunk. */
async function workers() {
  const entries = {
    editor: "node_modules/monaco-editor/esm/vs/editor/editor.worker.js",
    json: "node_modules/monaco-editor/esm/vs/language/json/json.worker.js",
    graphql: "node_modules/monaco-graphql/esm/graphql.worker.js",
  };
  const entryPoints = Object.entries(entries).map(([name, path]) => ({ in: path, out: `${name}.worker` }));
  const result = await build({ ...common, entryPoints, format: "iife" });
  return Object.fromEntries(Object.entries(entries).map(([name, path]) => [name, served + written(result, path)]));
}

async function script() {
  const result = await build({
    ...common,
    entryPoints: ["src/main.tsx"],
    format: "esm",
    splitting: true,
    // The editor's scripts import their style sheets one by one, from chunks that load late;
    // the page's style sheet has them all.
    loader: { ".css": "empty" },
    define: {
      ...common.define,
      EXAMPLES: JSON.stringify(await examples()),
      WORKERS: JSON.stringify(await workers()),
    },
  });
  return written(result, "src/main.tsx");
}

async function styles() {
  return written(await build({ ...common, entryPoints: ["src/page.css"] }), "src/page.css");
}

async function compressed(name) {
  const path = join(out, name);
  const content = await readFile(path);
  const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: content.length };
  await Promise.all([
    promisify(gzip)(content, { level: 9 }).then((data) => writeFile(`${path}.gz`, data)),
    promisify(brotliCompress)(content, { params }).then((data) => writeFile(`${path}.br`, data)),
  ]);
}

const [page, main, css] = await Promise.all([readFile(join(here, "src/page.html"), "utf8"), script(), styles()]);
await writeFile(join(out, "index.html"), page.replace("{{script}}", served + main).replace("{{styles}}", served + css));
await Promise.all((await readdir(out)).filter((name) => /\.(js|css)$/.test(name)).map(compressed));
