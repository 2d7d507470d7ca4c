"""Compiles what stands in C while the package is installed. Where that fails, Python does the same more slowly."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from setuptools import Distribution, Extension
from setuptools.command.build_ext import build_ext

SOURCE = "execution/printing.c"
MODULE = "execution._printing"


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


class CompilePrinting(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel":
            return
        made = compiled(Path(self.root))
        if made is None:
            self.app.display_warning(f"{SOURCE} was not compiled: answers are printed by Python, which takes longer")
            return
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        if version != "editable":
            build_data["force_include"][str(made)] = f"execution/{made.name}"
