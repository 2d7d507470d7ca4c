from __future__ import annotations

import importlib
import sys
from typing import Final

import click

from db.archive.errors import ArchiveError
from db.errors import DatabaseError
from ledger.errors import BillingError

_MODULES: Final = {
    "accounts": "accounts",
    "archive": "archive",
    "demo": "demo",
    "import-usage": "import_usage",
    "keys": "keys",
    "mcp": "mcp",
    "migrate": "serve",
    "serve": "serve",
    "stripe": "stripe",
    "verify": "verify",
    "worker": "worker",
}
"""Module of each command in gateway/commands."""


class _Commands(click.Group):
    """Each is imported when it is called: the server's parts take longer than all that `accounts` or `keys` does."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _MODULES:
            return None
        module = importlib.import_module(f"gateway.commands.{_MODULES[cmd_name]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="billing-gateway")
def cli() -> None:
    """Billing gateway: serves a prepaid ledger over GraphQL and REST.

    Give each setting as an environment variable BILLING_… or as a flag. docs/configuration.md describes them.
    """


def main() -> None:
    try:
        cli()
    except (ArchiveError, BillingError, DatabaseError) as error:
        code = error.code if isinstance(error, BillingError) else "UNAVAILABLE"
        click.echo(f"billing-gateway: {error} ({code})", err=True)
        sys.exit(1)
    except OSError as error:
        # A port that is taken, a folder that cannot be written.
        reason = error.strerror or str(error)
        click.echo(f"billing-gateway: {f'{error.filename}: ' if error.filename else ''}{reason}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
