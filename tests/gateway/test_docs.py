"""The documentation is held to the code."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from gateway.cli import cli
from gateway.settings import Settings

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_is_described_with_its_default(name: str) -> None:
    field = Settings.model_fields[name]
    default = "none" if field.default is None else f"`{field.default}`"
    line = f"| `BILLING_{name.upper()}` | {default} | {field.description} |"
    assert line in (ROOT / "docs/configuration.md").read_text().splitlines()


def test_every_command_and_flag_has_help() -> None:
    def check(command: click.Command) -> None:
        assert command.help, command.name
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{command.name} {parameter.name}"
        if isinstance(command, click.Group):
            for inner in command.commands.values():
                check(inner)

    check(cli)
