// node build.mjs OUT: bundles the page into the folder OUT, every file named after its content and compressed.
// Nothing that the page loads lies elsewhere, and no script or style stands in its HTML.
import { readdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";
import { marked } from "marked";
import { build } from "vite";
import "./generate.mjs";

const here = dirname(fileURLToPath(import.meta.url));

const [out] = process.argv.slice(2).map((folder) => resolve(folder));
if (!out) throw new Error("usage: node build.mjs OUT");

/** docs/how-billing-works.md, for guide.html. */
async function guide() {
  return marked.parse(await readFile(resolve(here, "../../docs/how-billing-works.md"), "utf8"));
}

const text = await guide();

await build({
  root: here,
  configFile: false,
  logLevel: "warn",
  base: "/static/billing/",
  publicDir: false,
  plugins: [{ name: "guide", transformIndexHtml: (html) => html.replace("<!--guide-->", () => text) }],
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
      },
    },
  },
});

async function compressed(name) {
  const path = join(out, name);
  const content = await readFile(path);
  const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: content.length };
  await Promise.all([
    promisify(gzip)(content, { level: 9 }).then((data) => writeFile(`${path}.gz`, data)),
    promisify(brotliCompress)(content, { params }).then((data) => writeFile(`${path}.br`, data)),
  ]);
}

await Promise.all((await readdir(out)).filter((name) => /\.(js|css|svg)$/.test(name)).map(compressed));
