// node test.mjs: checks the types and that texts stand in src/texts, and runs tests/*.test.ts by Node's own runner, bundled as the page's scripts are.
// node test.mjs --units: only runs the tests.
import { spawnSync } from "node:child_process";
import { readdir, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";
import "./generate.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const out = join(here, "node_modules", ".tests");

function run(...command) {
  const { status } = spawnSync(process.execPath, command, { cwd: here, stdio: "inherit", env: { ...process.env, TZ: "Asia/Kolkata" } });
  if (status !== 0) process.exit(status ?? 1);
}

if (!process.argv.includes("--units")) {
  run(join(here, "node_modules", "typescript", "bin", "tsc"), "--noEmit");
  run(join(here, "literals.mjs"));
}

const tests = (await readdir(join(here, "tests"))).filter((name) => name.endsWith(".test.ts"));
await rm(out, { recursive: true, force: true });
await build({
  root: here,
  configFile: false,
  logLevel: "warn",
  publicDir: false,
  build: {
    ssr: true,
    outDir: out,
    minify: false,
    rolldownOptions: {
      input: tests.map((name) => join(here, "tests", name)),
      output: { entryFileNames: "[name].mjs", chunkFileNames: "[name]-[hash].mjs" },
    },
  },
});
run("--test", "--test-reporter=dot", ...tests.map((name) => join(out, name.replace(/\.ts$/, ".mjs"))));
