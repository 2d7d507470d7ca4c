"""Plants bugs in the compiler, one at a time, and tells which of them the equivalence tests catch.

`python -m tests.execution.planted_bugs`: each bug in a copy of the source tree, 3,000 operations by both
executors, and if these agree all those of every run of the tests.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]
FOLDERS: Final = ("db", "execution", "gateway", "ledger", "resolvers", "schema", "tests")


OPERATIONS: Final = (3_000, 20_000)


class Bug(NamedTuple):
    file: str
    right: str
    wrong: str


BUGS: Final = (
    Bug("documents", "tuple(variables.coerced.get(name) for name in self._conditions)", "()"),
    Bug("documents", "variables.coerced.get(name, True) is None", "False"),
    Bug("leaves", "-2147483648 <= {value} <= 2147483647", "True"),
    Bug("leaves", '_of_class("bool")', 'lambda value: f"bool({value})"'),
    Bug("leaves", "if printed is None or printed is Undefined or is_awaitable(printed):", "if False:"),
    Bug(
        "subtrees", "if value is None or value is Undefined or isinstance(value, Exception) or is_awaitable", "if is_aw"
    ),
    Bug("subtrees", "(v, None) is not True: surprise()", "(v, None) is None: surprise()"),
    Bug("subtrees", "(None if {value} is None else", "({value} if not {value} else"),
    Bug("subtrees", "printed = self._printed(type_.of_type, item", "printed = self._certain(type_.of_type, item"),
    Bug("plans", "printed, later = {}, self._fields", "printed, later = {}, self.later"),
    Bug("plans", "Path(path, field.key, self.type.name)", "Path(path, field.key, None)"),
    Bug(
        "plans",
        "return _filled(printed, waiting) if waiting else printed\n\n    async def execute_serially",
        "return printed\n\n    async def execute_serially",
    ),
    Bug("plans", "printed[field.key] = await value if is_pending(value) else value", "printed[field.key] = value"),
    Bug("plans", "async with around_field(run.context):", "if True:"),
    Bug("plans", "path.add_key(index, None)", "path"),
    Bug("plans", "return field.failed(run, error, path, self._item.type)", "return field.failed(run, error, path)"),
    Bug("plans", "if not is_one:", "if is_one is None:"),
    Bug("plans", "return None if value is None and self.nullable else", "return None if value is None else"),
    Bug("plans", "self._serial = operation.operation == OperationType.MUTATION", "self._serial = False"),
    Bug("plans", "self._selections[type_.name]", "next(iter(self._selections.values()))"),
    Bug("inputs", "if value is None and required:", "if value is None:"),
    Bug("inputs", "found[python_name] = (", "found[variable] = ("),
    Bug("inputs", "coerced[name] = default", "coerced[name] = None"),
    Bug(
        "inputs",
        "if default is Undefined:\n                    return None",
        "if default is Undefined:\n                    continue",
    ),
    Bug("inputs", "if not uses_variables(node.arguments or ()):", "if True:"),
    Bug(
        "pending",
        "if isinstance(result, BaseException):\n            raise result",
        "if isinstance(result, BaseException):\n            return [None] * len(results)",
    ),
    Bug("run", "running.reference.collected_errors.add(error, None)", "pass"),
)


def _caught(bug: Bug, folder: Path) -> bool:
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "static"))
    for name in ("pyproject.toml", "graphql", "docs"):
        (folder / name).symlink_to(ROOT / name)
    file = folder / "execution" / f"{bug.file}.py"
    text = file.read_text()
    assert bug.right in text, f"execution/{bug.file}.py has no longer: {bug.right}"
    file.write_text(text.replace(bug.right, bug.wrong))
    return any(_fails(folder, operations) for operations in OPERATIONS)


def _fails(folder: Path, operations: int) -> bool:
    command = (
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        "tests/execution/test_equivalence.py",
    )
    environment = os.environ | {"EQUIVALENCE_OPERATIONS": str(operations), "PYTHONPATH": str(folder)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False).returncode == 1


def main() -> None:
    missed = []
    for bug in BUGS:
        with tempfile.TemporaryDirectory() as folder:
            caught = _caught(bug, Path(folder))
        missed += [] if caught else [bug]
        print("caught" if caught else "MISSED", bug.file, repr(bug.right), "->", repr(bug.wrong), flush=True)  # noqa: T201
    print(f"{len(BUGS) - len(missed)} of {len(BUGS)} bugs caught")  # noqa: T201
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
