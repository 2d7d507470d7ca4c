"""The import contracts hold, and each of them really breaks: violations are planted in a copy of the source."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import grimp
import pytest

from tests.doses import IS_NIGHTLY

ROOT = Path(__file__).parents[1]
CONFIG: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]

LAYERS = "Calls go gateway > schema > resolvers > access > ledger > db"
EXECUTION = "Execution knows nothing of billing"
DOMAIN = "Data and domain know neither GraphQL nor HTTP"
SQL = "Only db has SQL"

PLANTED = [
    (LAYERS, "db/rows.py", "ledger.money"),
    (LAYERS, "ledger/money.py", "resolvers.reads.texts"),
    (LAYERS, "resolvers/reads/texts.py", "schema"),
    (LAYERS, "schema/node.py", "gateway.metrics"),
    (EXECUTION, "execution/executor.py", "ledger.money"),
    (EXECUTION, "execution/limits.py", "aiohttp"),
    (DOMAIN, "resolvers/pages.py", "strawberry"),
    (DOMAIN, "ledger/money.py", "graphql"),
    (DOMAIN, "db/rows.py", "aiohttp"),
    (SQL, "ledger/imports/importer.py", "sqlalchemy"),
    (SQL, "gateway/services.py", "asyncpg"),
]


def _cycle(imported: dict[str, set[str]]) -> list[str]:
    try:
        list(TopologicalSorter(imported).static_order())
    except CycleError as error:
        cycle: list[str] = error.args[1]
        return cycle
    return []


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports for types count: who needs the other's types can't be read without it either."""
    graph = grimp.build_graph(*CONFIG["root_packages"])
    imported = {module: set(graph.find_modules_directly_imported_by(module)) for module in graph.modules}
    assert _cycle(imported) == []
    assert _cycle(imported | {"db.rows": {"db.accounts"}}) != []


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for package in CONFIG["root_packages"]:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__", "static"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def _broken(source: Path) -> list[str]:
    found = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache", "--no-logo"],
        cwd=source,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    judged = dict(re.findall(r"^(.+) (KEPT|BROKEN)(?: \(.*\))?$", found.stdout, re.MULTILINE))
    assert list(judged) == [contract["name"] for contract in CONFIG["contracts"]], found.stdout + found.stderr
    broken = [name for name, verdict in judged.items() if verdict == "BROKEN"]
    assert found.returncode == (1 if broken else 0)
    return broken


def test_the_source_keeps_all_contracts(source: Path) -> None:
    assert _broken(source) == []


# Each import takes a run of the linter: by day one for each contract.
TRIED = PLANTED if IS_NIGHTLY else list({one[0]: one for one in PLANTED}.values())


@pytest.mark.parametrize(("contract", "path", "imported"), TRIED)
def test_a_planted_import_breaks_its_contract_alone(source: Path, contract: str, path: str, imported: str) -> None:
    file = source / path
    file.write_text(f"{file.read_text()}\nimport {imported}\n")
    assert _broken(source) == [contract]


def test_every_contract_has_a_planted_violation() -> None:
    assert {contract for contract, _, _ in TRIED} == {contract["name"] for contract in CONFIG["contracts"]}
