from __future__ import annotations

import json
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_clients_have_the_version_of_the_gateway() -> None:
    gateway, python = (
        tomllib.loads((ROOT / path).read_text())["project"]["version"]
        for path in ("pyproject.toml", "clients/python/pyproject.toml")
    )
    typescript = json.loads((ROOT / "clients/typescript/package.json").read_text())["version"]
    assert (python, typescript) == (gateway, gateway)
