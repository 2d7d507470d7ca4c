from __future__ import annotations

from pathlib import Path

from graphql import build_schema as parsed_schema
from graphql import is_introspection_type, is_specified_scalar_type

from schema.build import graphql_schema, sdl

ROOT = Path(__file__).parents[2]


def test_committed_sdl_equals_the_schema() -> None:
    assert (ROOT / "graphql/schema.graphql").read_text() == sdl(), "run `make sdl`"
    parsed_schema(sdl())


def test_no_python_file_shadows_graphql_core() -> None:
    assert list((ROOT / "graphql").rglob("*.py")) == []


def test_everything_has_a_description() -> None:
    without: list[str] = []
    for kind in graphql_schema().type_map.values():
        if is_introspection_type(kind) or is_specified_scalar_type(kind):
            continue
        members = getattr(kind, "fields", None) or getattr(kind, "values", None) or {}
        for name, member in [("", kind), *members.items()]:
            if not member.description:
                without.append(f"{kind.name}.{name}")
            arguments = getattr(member, "args", {})
            without += [f"{kind.name}.{name}({one})" for one, argument in arguments.items() if not argument.description]
    assert without == []
