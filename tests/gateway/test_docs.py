"""The documentation is held to the code."""

from __future__ import annotations

import inspect
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args, get_origin

import click
import pytest
from graphql import parse, validate

from gateway.cli import cli
from gateway.settings import Settings
from schema.build import graphql_schema

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_is_described_with_its_default(name: str) -> None:
    field = Settings.model_fields[name]
    default = "none" if field.default is None else f"`{field.default}`"
    choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    text = (field.description or "") + (f" One of {', '.join(f'`{one}`' for one in choices)}." if choices else "")
    line = f"| `BILLING_{name.upper()}` | {default} | {text} |"
    assert line in (ROOT / "docs/configuration.md").read_text().splitlines()


def _within(group: click.Group) -> list[tuple[str, click.Command]]:
    context = click.Context(group)
    return [(name, command) for name in group.list_commands(context) if (command := group.get_command(context, name))]


def _commands(group: click.Group, *names: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Those that do something, by their names: not the groups."""
    for name, command in _within(group):
        if isinstance(command, click.Group):
            yield from _commands(command, *names, name)
        else:
            yield (*names, name), command


COMMANDS = {" ".join(names): command for names, command in _commands(cli)}


def _default(option: click.Option) -> str:
    if option.required:
        return "required"
    field = Settings.model_fields.get(option.name or "")
    default = field.default if field and "BILLING_" in (option.help or "") else option.to_info_dict()["default"]
    return "" if default is None or default is False else f"`{default}`"


def _row(option: click.Option) -> str:
    """The option's line in the table of its command, made of what the command line itself says."""
    text = re.sub(r" \[(env|default): .*\]$", "", option.help or "")
    if isinstance(option.type, click.Choice):
        text += " One of " + ", ".join(f"`{choice}`" for choice in option.type.choices) + "."
    elif isinstance(option.type, click.IntRange):
        text += f" From {option.type.min} to {option.type.max}."
    return f"| `{option.opts[-1]}` | {_default(option)} | {text} |"


def _sections(path: Path) -> dict[str, str]:
    services = re.split(r"^## (.+)\n", path.read_text(), flags=re.MULTILINE)
    return dict(zip(services[1::2], services[2::2], strict=True))


def test_every_command_has_a_heading_and_nothing_else_has() -> None:
    headings = [one for one in _sections(ROOT / "docs/commands.md") if one.startswith("`")]
    assert headings == [f"`billing-gateway {name}`" for name in COMMANDS]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_s_section_has_its_usage_its_help_and_its_options(name: str) -> None:
    command = COMMANDS[name]
    section = _sections(ROOT / "docs/commands.md")[f"`billing-gateway {name}`"]
    pieces = command.collect_usage_pieces(click.Context(command))
    assert " ".join(["billing-gateway", name, *pieces]) in section.splitlines()
    summary = inspect.cleandoc(command.help or "").split("\n\n")[0]
    assert " ".join(summary.split()) in " ".join(section.split())
    rows = [line for line in section.splitlines() if line.startswith("| `--")]
    assert rows == [_row(option) for option in command.params if isinstance(option, click.Option)]


PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *(path for path in sorted((ROOT / "docs").rglob("*.md")) if "node_modules" not in path.parts),
]


def _examples() -> Iterator[str]:
    for path in PAGES:
        for block in re.findall(r"^```(?:sh)?\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                call = re.search(r"(?<!\S)billing-gateway ([^|>#]+)", line)
                if call and "[" not in call[1]:
                    yield call[1].strip()


@pytest.mark.parametrize("example", sorted(set(_examples())))
def test_an_example_is_a_command_with_options_that_there_are(example: str) -> None:
    command: click.Command = cli
    words = shlex.split(example)
    while isinstance(command, click.Group):
        command = dict(_within(command))[words.pop(0)]
    # Parsed, not run: values are not opened as the files that they name.
    given, _, _ = command.make_parser(click.Context(command)).parse_args(words)
    missing = [one.name for one in command.params if one.required and not given.get(one.name or "")]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_and_targets_that_a_page_names_are_there(page: Path) -> None:
    text = page.read_text()
    paths = {one or two for one, two in re.findall(r"`((?:[\w.]+/)+[\w.]*|\w+\.(?:md|toml))`|\]\(([\w/.-]+)\)", text)}
    assert {path for path in paths if not ((ROOT / path).exists() or (page.parent / path).exists())} == set()
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    called = re.findall(r"(?:^|`)make ([a-z ]+)(?:`| +#|$)", text, re.MULTILINE)
    assert {one for words in called for one in words.split()} <= set(targets)


def test_the_queries_of_the_readme_are_valid() -> None:
    queries = re.findall(r"'(\{\"query\": .*\})'", (ROOT / "README.md").read_text())
    assert len(queries) == 1
    assert validate(graphql_schema(), parse(json.loads(queries[0])["query"])) == []


def _operations(page: Path) -> list[str]:
    return re.findall(r"^```graphql\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", [page for page in PAGES if _operations(page)], ids=lambda page: page.name)
def test_the_operations_of_a_page_are_valid(page: Path) -> None:
    for text in _operations(page):
        assert validate(graphql_schema(), parse(text)) == [], text


def test_every_command_and_flag_has_help() -> None:
    def check(command: click.Command) -> None:
        assert command.help, command.name
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{command.name} {parameter.name}"
        if isinstance(command, click.Group):
            for _, inner in _within(command):
                check(inner)

    check(cli)
