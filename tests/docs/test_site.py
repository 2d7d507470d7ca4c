"""The documentation site. `make docs` builds it, and fails for a link that leads nowhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from graphql import GraphQLEnumType, GraphQLInputObjectType, GraphQLInterfaceType, GraphQLObjectType, build_schema

from docs.site.other_hosts import loaded_from_elsewhere
from docs.site.reference import reference_pages

ROOT = Path(__file__).parents[2]
SDL = (ROOT / "graphql" / "schema.graphql").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return reference_pages(SDL, (ROOT / "docs" / "limits.md").read_text(encoding="utf-8"))


def test_the_reference_has_every_type_with_its_members(pages: dict[str, str]) -> None:
    text = "\n".join(pages.values())
    kinds = GraphQLObjectType | GraphQLInterfaceType | GraphQLInputObjectType
    for name, one in build_schema(SDL).type_map.items():
        if name.startswith("__"):
            continue
        if name not in ("Query", "Mutation", "Subscription"):
            section = text.split(f"\n## {name}\n", 1)[1].split("\n## ", 1)[0]
            members = one.values if isinstance(one, GraphQLEnumType) else one.fields if isinstance(one, kinds) else {}
            assert set(members) == set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))
        elif isinstance(one, kinds):
            assert all(f"\n## {field}\n" in text for field in one.fields)


def test_the_reference_links_only_to_its_sections_and_tells_costs(pages: dict[str, str]) -> None:
    links = {link for text in pages.values() for link in re.findall(r"\]\((\w+)\.md#(\w+)\)", text)}
    sections = {
        (Path(path).stem, name.lower())
        for path, text in pages.items()
        for name in re.findall(r"^## (\w+)$", text, re.MULTILINE)
    }
    assert links - sections == set()
    assert "## account\n\nReturns [Account](types.md#account).\n\nCost: 5 points.\n" in pages["reference/queries.md"]
    assert "*Cost: 0.5 points.*" in pages["reference/types.md"]


def test_the_readme_names_every_page() -> None:
    named = set(
        re.findall(r"^\| `docs/([\w-]+)\.md` \|", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert named == {path.stem for path in (ROOT / "docs").glob("*.md")} - {"index"}


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.html", '<script async src="https://cdn.example/x.js">', ["a.html: https://cdn.example/x.js"]),
        ("a.html", "<link rel=stylesheet href=//fonts.example/css>", ["a.html: //fonts.example/css"]),
        ("a.css", '@import "https://fonts.example/css"', ["a.css: https://fonts.example/css"]),
        ("a.css", "p { background: url(//img.example/x.png) }", ["a.css: //img.example/x.png"]),
        ("a.html", '<link rel="canonical" href="https://docs.example/"><a href="https://x.example"><img src="x">', []),
    ],
)
def test_loads_from_other_hosts_are_found(tmp_path: Path, name: str, text: str, told: list[str]) -> None:
    (tmp_path / name).write_text(text)
    assert list(loaded_from_elsewhere(tmp_path)) == told
