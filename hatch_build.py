"""What a package is built with beside its Python files: a module in C, and the pages under console/.

Neither is needed to install: without a compiler Python does the same more slowly, and without Node.js or the npm
registry the API works without its pages.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from setuptools import Distribution, Extension
from setuptools.command.build_ext import build_ext

SOURCE = "execution/serializer.c"
MODULE = "execution._serializer"


def compiled(root: Path) -> Path | None:
    """The module's file, beside its source. None where there is no compiler, or no header of Python."""
    extension = Extension(MODULE, [str(root / SOURCE)], optional=True)
    build = build_ext(Distribution({"name": "billing-gateway", "ext_modules": [extension]}))
    target = root / "execution" / Path(build.get_ext_filename(MODULE)).name
    target.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        build.build_temp = build.build_lib = folder
        build.ensure_finalized()
        build.run()
        made = Path(build.get_ext_fullpath(MODULE))
        if made.exists():
            target.write_bytes(made.read_bytes())
    return target if target.exists() else None


def node_requirement(root: Path) -> list[str]:
    """The package that has Node.js, where the machine has none that is new enough."""
    pages = SourceFileLoader("console_build", str(root / "console" / "build.py")).load_module()
    return [] if pages.machine_node() else [pages.NODE_PACKAGE]


def are_pages_built(root: Path) -> bool:
    """Builds them unless they are there and current: a source distribution has them."""
    command = [sys.executable, str(root / "console" / "build.py")]
    # Standard output is the build frontend's.
    return subprocess.run(command, stdout=sys.stderr, check=False).returncode == 0  # noqa: S603  our own script


class BuildParts(BuildHookInterface[Any]):
    def dependencies(self) -> list[str]:
        return node_requirement(Path(self.root))

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        root = Path(self.root)
        # `make pages` builds those of an editable installation.
        if version != "editable" and not are_pages_built(root):
            self.app.display_warning("the Billing page and GraphiQL were not built: /console/ says what to do")
        if self.target_name != "wheel":
            return
        if version != "editable":
            # `billing-gateway mcp` reads them; an editable installation has the repository's.
            build_data["force_include"][str(root / "graphql" / "operations")] = "gateway/mcp/operations"
        made = compiled(root)
        if made is None:
            self.app.display_warning(f"{SOURCE} was not compiled: answers are serialized by Python, which takes longer")
            return
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        if version != "editable":
            build_data["force_include"][str(made)] = f"execution/{made.name}"
