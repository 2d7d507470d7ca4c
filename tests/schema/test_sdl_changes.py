"""The SDL changes compatibly: what the last release had still works, or the changelog says that it doesn't."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from graphql import build_schema, find_breaking_changes
from packaging.version import Version

from schema.build import sdl

ROOT = Path(__file__).parents[2]
RELEASES = ROOT / "graphql" / "releases"


def released_sdl(folder: Path) -> str:
    """Returns the SDL of the newest release."""
    newest = max(folder.glob("*.graphql"), key=lambda path: Version(path.stem))
    return newest.read_text()


def unannounced_breaks(old: str, new: str, changelog: str) -> list[str]:
    changes = find_breaking_changes(build_schema(old), build_schema(new))
    return [change.description for change in changes if change.description not in changelog]


def test_sdl_is_compatible_with_the_last_release() -> None:
    broken = unannounced_breaks(released_sdl(RELEASES), sdl(), (ROOT / "CHANGELOG.md").read_text())
    assert broken == [], "deprecate instead, or write these sentences into CHANGELOG.md"


@pytest.mark.parametrize(
    ("old", "new", "breaks"),
    [
        ("name: String! deprecated: String", "name: String!", "Field Query.deprecated was removed."),
        ("name: String!", "name: String", "Field Query.name changed type from String! to String."),
        ("a(b: Int): Int", "a(b: Int, c: Int!): Int", "A required argument Query.a(c:) was added."),
    ],
)
def test_breaking_change_is_reported_unless_announced(old: str, new: str, breaks: str) -> None:
    before, after = f"type Query {{ {old} }}", f"type Query {{ {new} }}"
    assert unannounced_breaks(before, after, "# Changelog") == [breaks]
    assert unannounced_breaks(before, after, f"# Changelog\n\n- {breaks}") == []
    assert unannounced_breaks(before, before, "") == []


def test_addition_is_not_a_breaking_change() -> None:
    assert unannounced_breaks("type Query { a: Int }", "type Query { a(b: Int): Int! c: Int }", "") == []


def test_newest_release_has_the_highest_version(tmp_path: Path) -> None:
    for version in ("0.9.0", "0.10.0", "0.10.0rc1"):
        (tmp_path / f"{version}.graphql").write_text(f"SDL of {version}")
    assert released_sdl(tmp_path) == "SDL of 0.10.0"


def test_current_version_has_an_sdl() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert (RELEASES / f"{version}.graphql").is_file(), "run `make release-sdl`"
