"""The SDL changes compatibly: what the last release had still works, or the changelog says that it doesn't."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from graphql import build_schema, find_breaking_changes

from schema.build import sdl

ROOT = Path(__file__).parents[2]
SDL = "graphql/schema.graphql"

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not there")


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=30, check=False)


def released_sdl(folder: Path) -> str | None:
    """The SDL at the newest release tag before this commit; None where no release is known."""
    tag = _git(folder, "describe", "--tags", "--abbrev=0", "--match", "v[0-9]*")
    if tag.returncode:
        return None
    shown = _git(folder, "show", f"{tag.stdout.strip()}:{SDL}")
    shown.check_returncode()
    return shown.stdout


def unannounced_breaks(old: str, new: str, changelog: str) -> list[str]:
    changes = find_breaking_changes(build_schema(old), build_schema(new))
    return [change.description for change in changes if change.description not in changelog]


@needs_git
def test_nothing_breaks_what_the_last_release_had() -> None:
    released = released_sdl(ROOT)
    if released is None:
        pytest.skip("no release tag (v…) is known here")
    broken = unannounced_breaks(released, sdl(), (ROOT / "CHANGELOG.md").read_text())
    assert broken == [], "deprecate instead, or write these sentences into CHANGELOG.md"


@pytest.mark.parametrize(
    ("old", "new", "breaks"),
    [
        ("name: String! deprecated: String", "name: String!", "Field Query.deprecated was removed."),
        ("name: String!", "name: String", "Field Query.name changed type from String! to String."),
        ("a(b: Int): Int", "a(b: Int, c: Int!): Int", "A required argument Query.a(c:) was added."),
    ],
)
def test_a_breaking_change_is_found_unless_announced(old: str, new: str, breaks: str) -> None:
    before, after = f"type Query {{ {old} }}", f"type Query {{ {new} }}"
    assert unannounced_breaks(before, after, "# Changelog") == [breaks]
    assert unannounced_breaks(before, after, f"# Changelog\n\n- {breaks}") == []
    assert unannounced_breaks(before, before, "") == []


def test_an_addition_breaks_nothing() -> None:
    assert unannounced_breaks("type Query { a: Int }", "type Query { a(b: Int): Int! c: Int }", "") == []


@needs_git
def test_the_release_is_the_newest_tag_of_one(tmp_path: Path) -> None:
    (tmp_path / "graphql").mkdir()
    _git(tmp_path, "init")
    for content, tag in [("first", "v1.0.0"), ("second", "v1.1.0"), ("third", "not-a-release")]:
        (tmp_path / SDL).write_text(content)
        _git(tmp_path, "add", "--all")
        _git(tmp_path, "-c", "user.name=one", "-c", "user.email=one@example.com", "commit", "--message", content)
        if content == "first":
            assert released_sdl(tmp_path) is None
        _git(tmp_path, "tag", tag)
    assert released_sdl(tmp_path) == "second"
