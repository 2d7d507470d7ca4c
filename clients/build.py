"""Makes what the clients are generated and compiled from: `python -m clients.build`, run by `make clients`.

`python -m clients.build packages` writes the packages that are published to clients/dist, too. A client whose sources
have not changed since its last build is left alone.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from clients.python import generate
from console.build import ROOT, digest, find_node, install, is_current, say

TYPESCRIPT: Final = ROOT / "clients" / "typescript"
PYTHON: Final = ROOT / "clients" / "python"
PACKAGES: Final = ROOT / "clients" / "dist"


def _sources() -> Iterator[Path]:
    """The files that the TypeScript client is made of."""
    yield from (path for path in TYPESCRIPT.iterdir() if path.is_file())
    yield from TYPESCRIPT.glob("src/*.ts")
    yield ROOT / "graphql" / "schema.graphql"
    for folder in ("graphql/operations", "clients/operations"):
        yield from (ROOT / folder).glob("*.graphql")


def build_typescript() -> None:
    stamp, wanted = TYPESCRIPT / "dist" / ".built", digest(_sources())
    if is_current(stamp, wanted):
        return
    install(TYPESCRIPT)
    say("building clients/typescript")
    shutil.rmtree(TYPESCRIPT / "dist", ignore_errors=True)
    for script in ("generate.mjs", "node_modules/typescript/bin/tsc"):
        find_node().run((str(find_node().node), script), TYPESCRIPT)
    stamp.write_text(wanted)


def pack() -> None:
    PACKAGES.mkdir(exist_ok=True)
    find_node().run((*find_node().npm, "pack", "--silent", "--pack-destination", str(PACKAGES)), TYPESCRIPT)
    wheel = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(PACKAGES), str(PYTHON))
    subprocess.run(wheel, check=True)  # noqa: S603  our own command


def main() -> None:
    try:
        generate.main()
        build_typescript()
        if sys.argv[1:] == ["packages"]:
            pack()
    except subprocess.CalledProcessError as error:
        command = " ".join(map(str, error.cmd))
        raise SystemExit(f"clients/build.py: {command} ended with status {error.returncode}") from error


if __name__ == "__main__":
    main()
