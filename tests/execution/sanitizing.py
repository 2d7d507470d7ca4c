"""Runs tests with `serializer.c` compiled for AddressSanitizer and UndefinedBehaviorSanitizer:

    python -m tests.execution.sanitizing [ARGUMENT_OF_PYTEST ...]

It is a plugin of the pytest that it starts: it puts the sanitized module in the place of the installed one. A fault
ends that process at once, with the sanitizer's report.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import os
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Final

import hypothesis
import pytest

from tests.execution.planting import ROOT, compiled

MODULE: Final = "execution._serializer"
SANITIZERS: Final = (
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    "-fno-omit-frame-pointer",
    "-g",
    "-O1",
)
_FILE: Final = "SANITIZED_SERIALIZER"
"""The environment variable with the sanitized module's path."""


class _SanitizedFinder(importlib.abc.MetaPathFinder):
    def find_spec(self, name: str, _path: Sequence[str] | None, _target: ModuleType | None = None) -> ModuleSpec | None:
        return importlib.util.spec_from_file_location(name, os.environ[_FILE]) if name == MODULE else None


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    """Comes before `tests/conftest.py`, which imports the gateway."""
    assert MODULE not in sys.modules, f"{MODULE} was imported before its sanitized build could be"
    sys.meta_path.insert(0, _SanitizedFinder())


def pytest_configure() -> None:
    # As `tests/conftest.py` says, which may be left out: sanitizers make all slow that is imported.
    hypothesis.settings.register_profile("sanitized", deadline=None)
    hypothesis.settings.load_profile("sanitized")


def pytest_collection_finish() -> None:
    assert sys.modules[MODULE].__file__ == os.environ[_FILE]


def _runtime() -> str:
    """The file of AddressSanitizer's library, which must be loaded before Python's own."""
    compiler = shlex.split(sysconfig.get_config_var("CC"))[0]
    command = (compiler, "-print-file-name=libasan.so")
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def run(text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs pytest on the text of `serializer.c`."""
    # A report goes to standard error itself, where capturing by file would lose it.
    plain = ("-p", "no:cacheprovider", "--capture=sys")
    command = (sys.executable, "-m", "pytest", "-p", "tests.execution.sanitizing", *plain, *arguments)
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {
            _FILE: str(compiled(text, Path(folder), *SANITIZERS)),
            "LD_PRELOAD": _runtime(),
            # Python keeps much until it ends, and its own allocator would hide what lies beyond an object.
            "ASAN_OPTIONS": "detect_leaks=0",
            "PYTHONMALLOC": "malloc",
            "UBSAN_OPTIONS": "serialize_stacktrace=1",
        }
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def main() -> None:
    done = run((ROOT / "execution" / "serializer.c").read_text(encoding="utf-8"), *sys.argv[1:])
    sys.stdout.write(done.stdout)
    sys.stderr.write(done.stderr)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
