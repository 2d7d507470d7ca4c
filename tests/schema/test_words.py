"""Public texts, docstrings and names follow the rules under "Words" in CONTRIBUTING.md."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.rest.openapi import openapi
from gateway.settings import Settings
from schema.build import sdl

REFUSED = re.compile(r"\b(alone|left out|upside down|whoever|rests|it is so|comes to nothing)\b", re.IGNORECASE)


def _described(value: Any) -> Iterator[str]:
    """Returns all descriptions and summaries within a JSON document."""
    if isinstance(value, dict):
        yield from (value[name] for name in ("description", "summary") if isinstance(value.get(name), str))
        value = list(value.values())
    if isinstance(value, list | tuple):
        for one in value:
            yield from _described(one)


TEXTS = {
    "sdl": re.findall(r'"""(.+?)"""', sdl(), re.DOTALL),
    "settings": [field.description or "" for field in Settings.model_fields.values()],
    "openapi": list(_described(openapi())),
}


@pytest.mark.parametrize("source", TEXTS)
def test_descriptions_avoid_the_refused_phrases(source: str) -> None:
    assert [text for text in TEXTS[source] if REFUSED.search(text)] == []


@pytest.mark.parametrize("source", TEXTS)
def test_descriptions_start_with_a_capital_and_name_their_subject(source: str) -> None:
    unclear = re.compile(r"\s*([a-z]|(It|Its|That|Those|Whoever|Of|One of|As it)\b)")
    starts = [text for text in TEXTS[source] if unclear.match(text)]
    assert [text for text in starts if not re.match(r"`\w+`: ", text)] == []


ROOT: Final = Path(__file__).parents[2]
FOLDERS: Final = ("access", "ledger", "db", "execution", "resolvers", "schema", "gateway", "demo")

REFUSED_START: Final = re.compile(
    r"\W*(As|By|From|However|Its?|Nobody|Of|That|Theirs?|They|Those|What|Where|Who(ever|m|se)?)\b"
)
"""First words that begin a relative clause, continue another text or name no subject."""

OLD_PARTS: Final = re.compile(
    r"(?:^|_)(?:bundle[sd]?|chores?|criteria|lanes?|leash(?:es)?|outlets?|takers?|tickets?|timeless|torn|watching)(?:_|$)"
)
OLD_NAMES: Final = frozenset(
    (
        "AHEAD",
        "Act",
        "Book",
        "Kept",
        "Move",
        "Needed",
        "Opened",
        "Order",
        "Parts",
        "READS",
        "Reading",
        "Reads",
        "Writes",
    )
)
OLD_FUNCTIONS: Final = re.compile(r"_?(?:ask_(?!at$)\w+|hand_to)")
"""Old names from the glossary, except those that also have another meaning."""


def _modules(folders: tuple[str, ...]) -> Iterator[tuple[str, ast.Module]]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))


def _docstrings(module: ast.Module) -> Iterator[tuple[int, str]]:
    """Yields line and text of all docstrings, those of attributes included."""
    for node in ast.walk(module):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield node.lineno, text


def _identifiers(module: ast.Module) -> Iterator[tuple[int, str]]:
    """Yields line and name of all functions, classes, arguments, variables and attributes."""
    for node in ast.walk(module):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield node.lineno, name
            case ast.arg(arg=name) | ast.Name(id=name) | ast.Attribute(attr=name):
                yield node.lineno, name


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _is_old(name: str) -> bool:
    return (
        name in OLD_NAMES
        or OLD_FUNCTIONS.fullmatch(name) is not None
        or OLD_PARTS.search(_snake_case(name)) is not None
    )


def test_docstrings_start_with_a_verb_or_their_subject() -> None:
    found = [
        f"{path}:{line}: {text.splitlines()[0]}"
        for path, module in _modules(FOLDERS)
        for line, text in _docstrings(module)
        if REFUSED_START.match(text)
    ]
    assert found == []


def test_names_of_tests_start_with_their_subject() -> None:
    found = [
        f"{path}:{line}: {name}"
        for path, module in _modules(("tests",))
        for line, name in _identifiers(module)
        if name.startswith("test_") and REFUSED_START.match(name.removeprefix("test_").replace("_", " ").capitalize())
    ]
    assert found == []


def _scripts() -> Iterator[Path]:
    for folder in ("console/billing/src", "console/billing/tests", "console/graphiql/src", "clients/typescript/src"):
        yield from (path for path in sorted((ROOT / folder).rglob("*.ts*")) if "generated" not in path.parts)


def test_scripts_avoid_the_old_names_of_the_glossary() -> None:
    """Words of texts and comments are looked at, too. `criteria.ts` is found as a word of an import."""
    found = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in _scripts()
        for name in sorted(set(re.findall(r"[A-Za-z_]\w*", path.read_text(encoding="utf-8"))))
        if OLD_PARTS.search(_snake_case(name))
    ]
    assert found == []


def test_identifiers_avoid_the_old_names_of_the_glossary() -> None:
    found = [
        f"{path}:{line}: {name}"
        for path, module in _modules(FOLDERS)
        for line, name in _identifiers(module)
        if _is_old(name)
    ]
    assert found == []


@pytest.mark.parametrize(
    "text",
    ["What a page is of.", "Of the rows.", "`Those` that wait.", "Whoever waits reads.", "However it comes out."],
)
def test_refused_starts_are_found(text: str) -> None:
    assert list(_docstrings(ast.parse(f"x = 1\n{text!r}\n"))) == [(2, text)]
    assert REFUSED_START.match(text)


@pytest.mark.parametrize("name", ["Leash", "ask_account", "AHEAD", "new_ticket", "SqliteBundle", "lane", "hand_to"])
def test_old_names_are_found(name: str) -> None:
    assert name in [one for _, one in _identifiers(ast.parse(f"def {name}(): ..."))]
    assert _is_old(name)
