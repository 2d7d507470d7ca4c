"""The compiler with one line of it spoilt, beside the one that all else uses."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]
_COMPARING: Final = ("tests.execution.comparison", "tests.execution.trial")
"""What holds the compiler's own classes and functions; schemas and data know nothing of it."""


class Bug(NamedTuple):
    name: str
    """What a user would see of it."""
    file: str
    right: str
    wrong: str

    @property
    def is_in_c(self) -> bool:
        return self.file.endswith(".c")

    @property
    def module(self) -> str:
        return f"execution._{self.file.removesuffix('.c')}" if self.is_in_c else f"execution.{self.file}"

    @property
    def source(self) -> str:
        name = self.file if self.is_in_c else f"{self.file}.py"
        text = (ROOT / "execution" / name).read_text(encoding="utf-8")
        assert self.right in text, f"{self.name}: execution/{name} no longer has {self.right!r}"
        return text.replace(self.right, self.wrong)


def compiled(text: str, folder: Path, *options: str) -> Path:
    """Compiles the text of `serializer.c` to a module in the folder."""
    source, made = folder / "serializer.c", folder / f"_serializer{sysconfig.get_config_var('EXT_SUFFIX')}"
    source.write_text(text, encoding="utf-8")
    link, flags = (shlex.split(sysconfig.get_config_var(name)) for name in ("LDSHARED", "CCSHARED"))
    headers = f"-I{sysconfig.get_path('include')}"
    subprocess.run([*link, *flags, *options, "-w", headers, str(source), "-o", str(made)], check=True)
    return made


class _Planter(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Finds the spoilt module before the right one is found."""

    def __init__(self, bug: Bug, folder: Path) -> None:
        self._bug = bug
        self._made = compiled(bug.source, folder, "-O0") if bug.is_in_c else None

    def find_spec(
        self, name: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self._bug.module:
            return None
        if self._made is not None:
            return importlib.util.spec_from_file_location(name, self._made)
        return importlib.util.spec_from_loader(name, self)

    def get_source(self, _name: str) -> str:
        return self._bug.source


def _is_of_the_compiler(name: str) -> bool:
    return name == "execution" or name.startswith("execution.") or name in _COMPARING


@contextmanager
def planted(bug: Bug) -> Iterator[Any]:
    """The module `tests.execution.trial`, whose trials run the compiler with the bug."""
    package = sys.modules["tests.execution"]
    right = {name: module for name, module in sys.modules.items() if _is_of_the_compiler(name)}
    folder = tempfile.TemporaryDirectory()
    planter = _Planter(bug, Path(folder.name))
    for name in right:
        del sys.modules[name]
    sys.meta_path.insert(0, planter)
    try:
        trial = importlib.import_module("tests.execution.trial")
        assert bug.module in sys.modules, f"{bug.name}: {bug.module} is not part of the compiler"
        yield trial
    finally:
        folder.cleanup()
        sys.meta_path.remove(planter)
        for name in [*filter(_is_of_the_compiler, sys.modules)]:
            del sys.modules[name]
        sys.modules |= right
        for name in _COMPARING:
            setattr(package, name.rpartition(".")[2], right[name])
