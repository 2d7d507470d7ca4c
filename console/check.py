"""Checks what is not Python: `python console/check.py [FOLDER]`, run by `make check`.

TypeScript by its compiler, scripts and styles by Biome (`biome.jsonc`), links of Markdown files by
remark-validate-links. Their versions are pinned in the lock files beside `.ci/linters/package.json` and the pages'.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from build import ROOT, find_node, install

LINTERS = ROOT / ".ci" / "linters"
EXAMPLES = Path("docs") / "examples"
"""They are checked by the compiler, and with the types of Node.js, of the Billing page."""

CLIENT = Path("clients") / "typescript"
"""Its sources are checked with its examples. `make clients` generates what they import."""


def _program(package: Path, script: str) -> str:
    install(package)
    return str(package / "node_modules" / script)


def types(page: Path) -> Iterator[tuple[str, ...]]:
    """The compiler's command, after the one that makes types of GraphQL operations and before the one that finds texts
    outside the catalogue, where a page has them."""
    compiler = _program(ROOT / "console" / page.name, "typescript/bin/tsc")
    if (page / "generate.mjs").is_file():
        yield (str(page / "generate.mjs"),)
    yield compiler, "--noEmit", "--project", str(page)
    if (page / "literals.mjs").is_file():
        yield (str(page / "literals.mjs"),)


def checks(folder: Path) -> Iterator[tuple[str, ...]]:
    for package in sorted((folder / "console").glob("*/tsconfig.json")):
        yield from types(package.parent)
    if (folder / EXAMPLES / "tsconfig.json").is_file():
        compiler = _program(ROOT / "console" / "billing", "typescript/bin/tsc")
        yield compiler, "--noEmit", "--project", str(folder / EXAMPLES)
    if (folder / CLIENT / "tsconfig.json").is_file():
        yield _program(ROOT / CLIENT, "typescript/bin/tsc"), "--project", str(folder / CLIENT / "examples")
    yield _program(LINTERS, "@biomejs/biome/bin/biome"), "lint", "--error-on-warnings"
    rules = ("--rc-path", str(LINTERS / "remark.json"), "--ignore-pattern", "mutants")
    yield _program(LINTERS, "remark-cli/cli.js"), *rules, "--frail", "--quiet", "--no-color", "."


def main() -> None:
    folder = Path(sys.argv[1]).resolve() if sys.argv[1:] else ROOT
    try:
        for command in checks(folder):
            find_node().run((str(find_node().node), *command), folder)
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"console/check.py: {' '.join(map(str, error.cmd))} failed") from error


if __name__ == "__main__":
    main()
