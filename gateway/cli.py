from __future__ import annotations

import sys

import click

from db.errors import DatabaseError
from gateway.commands.accounts import accounts
from gateway.commands.demo import demo
from gateway.commands.import_usage import import_usage
from gateway.commands.keys import keys
from gateway.commands.serve import migrate, serve
from gateway.commands.stripe import stripe
from gateway.commands.worker import worker
from ledger.errors import BillingError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="billing-gateway")
def cli() -> None:
    """The billing gateway: a prepaid ledger served over GraphQL and REST.

    Every setting is an environment variable BILLING_… or a flag; docs/configuration.md describes them.
    """


for command in (accounts, demo, import_usage, keys, migrate, serve, stripe, worker):
    cli.add_command(command)


def main() -> None:
    try:
        cli()
    except (BillingError, DatabaseError) as error:
        code = error.code if isinstance(error, BillingError) else "UNAVAILABLE"
        click.echo(f"billing-gateway: {error} ({code})", err=True)
        sys.exit(1)
    except OSError as error:
        # A port that is taken, a folder that cannot be written.
        click.echo(f"billing-gateway: {error.strerror or error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
