"""Flags made from the settings: each setting that a command takes can be given by its name."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final, Literal, get_args, get_origin

import click
from pydantic import SecretStr, ValidationError

from gateway.settings import Settings

SECRETS: Final = frozenset(
    name for name, field in Settings.model_fields.items() if SecretStr in get_args(field.annotation)
)
"""Never flags: arguments can be read by others."""


WORKERS_ALONE: Final = frozenset(
    {"worker_interval_seconds", "worker_metrics_port", "settlement_delay_seconds", "hold_grace_seconds", "verify_hour"}
)
"""Settings of `billing-gateway worker`, which no server needs."""

ARCHIVE_ALONE: Final = frozenset({"archive_after_days"})
"""Settings of `billing-gateway archive`, which no server needs."""


def _type_of(annotation: Any) -> Any:
    if get_origin(annotation) is Literal:
        return click.Choice(get_args(annotation))
    return {int: click.INT, float: click.FLOAT}.get(annotation, click.STRING)


def _option(name: str) -> Callable[[Any], Any]:
    field = Settings.model_fields[name]
    return click.option(
        f"--{name.replace('_', '-')}",
        name,
        type=_type_of(field.annotation),
        default=None,
        help=f"{field.description} [env: BILLING_{name.upper()}; default: {field.default}]",
    )


def settings_of(given: dict[str, Any]) -> Settings:
    """Raises click.UsageError, naming the setting, for a value that does not fit."""
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        lines = []
        for one in error.errors(include_input=False):
            # What concerns several settings has no name.
            name = ".".join(map(str, one["loc"]))
            lines.append(f"{name}: {one['msg']}" if name else one["msg"])
        raise click.UsageError("\n".join(lines)) from None


def with_settings(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Gives a command these settings as flags, and the whole of them as its first argument."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def called(**arguments: Any) -> Any:
            settings = settings_of({name: arguments.pop(name) for name in names})
            return command(settings, **arguments)

        for name in reversed(names):
            called = _option(name)(called)
        return called

    return decorate
