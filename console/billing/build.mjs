// node build.mjs OUT: bundles the page into the folder OUT, every file named after its content and compressed.
// Nothing that the page loads lies elsewhere, and no script or style stands in its HTML.
import { readdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { brotliCompress, constants } from "node:zlib";
import { gzipAsync } from "@gfx/zopfli";
import { marked } from "marked";
import { build } from "vite";
import { documents } from "./generate.mjs";

const here = dirname(fileURLToPath(import.meta.url));

const [out] = process.argv.slice(2).map((folder) => resolve(folder));
if (!out) throw new Error("usage: node build.mjs OUT");

/** docs/how-billing-works.md, for guide.html. */
async function guide() {
  return marked.parse(await readFile(resolve(here, "../../docs/how-billing-works.md"), "utf8"));
}

const text = await guide();
const base = "/static/billing/";

/** The guide's text, and the script that comes before the page's own: before anything is painted, too, since a busy
 * browser would paint first and ask later. */
const filled = {
  name: "filled",
  transformIndexHtml: {
    order: "post",
    handler(html, { bundle }) {
      const { fileName } = Object.values(bundle).find(({ name }) => name === "opening");
      return html
        .replace("<!--guide-->", () => text)
        .replace("<!--opening-->", () => `<script type="module" async blocking="render" crossorigin src="${base}${fileName}"></script>`);
    },
  },
};

/** Vite's loads styles along with a part that is loaded late: none has any. */
const plainImport = {
  name: "plain-import",
  enforce: "pre",
  load: (id) => (id.includes("vite/preload-helper") ? "export const __vitePreload = (load) => load();" : null),
};

const texts = join(here, "src", "texts");
/** Of the texts of a catalogue: they stand at the start of lines that are indented once. */
const NAME = /^ {2}(\w+)(?=:\s)/gm;

async function shortened() {
  const catalogues = ["first", "panels", "managing"].map((part) => readFile(join(texts, "en", `${part}.ts`), "utf8"));
  const names = (await Promise.all(catalogues)).flatMap((code) => [...code.matchAll(NAME)].map(([, name]) => name));
  return new Map([...new Set(names)].map((name, index) => [name, `_${index.toString(36)}`]));
}

const short = await shortened();

/** The names of texts are for those who write them: what is loaded has short ones, which saves a thirtieth of it. */
const shortNames = {
  name: "short-names",
  enforce: "pre",
  transform(code, id) {
    if (id.startsWith(texts)) return code.replace(NAME, (_, name) => `  ${short.get(name) ?? name}`);
    if (!id.startsWith(here) || !code.includes("/texts/")) return null;
    return code.replace(/(?<![\w.$])([tpm])\.(\w+)/g, (found, of, name) => (short.has(name) ? `${of}.${short.get(name)}` : found));
  },
};

await build({
  root: here,
  configFile: false,
  logLevel: "warn",
  base,
  publicDir: false,
  plugins: [filled, plainImport, shortNames],
  build: {
    outDir: out,
    emptyOutDir: true,
    target: ["chrome130", "firefox130", "safari18"],
    assetsInlineLimit: 0,
    modulePreload: false,
    reportCompressedSize: false,
    rolldownOptions: {
      input: ["index.html", "guide.html"].map((name) => join(here, name)),
      output: {
        // In base 64, a name could hold a hyphen where the server looks for the one before the hash.
        hashCharacters: "base36",
        entryFileNames: "[name]-[hash].js",
        chunkFileNames: "[name]-[hash].js",
        assetFileNames: "[name]-[hash].[ext]",
        postBanner: ({ name }) => (name === "chart" ? "" : "//# allFunctionsCalledOnLoad"),
        codeSplitting: { groups: [{ name: "opening", test: /\/src\/opening\.ts$/ }] },
      },
    },
  },
});

await writeFile(join(out, "documents.json"), `${JSON.stringify(documents, null, 1)}\n`);

async function compressed(name) {
  const path = join(out, name);
  const content = await readFile(path);
  const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: content.length };
  await Promise.all([
    // 3 to 4 % smaller than zlib's, and read by any gunzip.
    gzipAsync(content, { numiterations: 15 }).then((data) => writeFile(`${path}.gz`, data)),
    promisify(brotliCompress)(content, { params }).then((data) => writeFile(`${path}.br`, data)),
  ]);
}

await Promise.all((await readdir(out)).filter((name) => /\.(html|js|css)$/.test(name)).map(compressed));
