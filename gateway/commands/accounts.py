from __future__ import annotations

import asyncio
import os
import pwd
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from operator import attrgetter
from typing import Any

import click

from db.database import Database
from db.recount.ledger_rows import account_ids_after
from db.rows import AccountRow
from db.shards import MAX_SHARDS, databases_of, shard_numbered
from gateway.commands.options import with_settings
from gateway.databases import checked_databases
from gateway.settings import Settings
from ledger.accounts import Accounts, NewAccount
from ledger.audit import COMMAND_LINE, Actor
from ledger.ids import account_id_text, parse_account_id
from ledger.money import format_nanos
from ledger.moving import AccountMoves, Report
from ledger.placement import place_account
from ledger.posting import Ledger
from resolvers.reads.accounts import checked_search

_ACCOUNTS_AT_ONCE = 1_000


def with_database(settings: Settings, work: Callable[[Database], Awaitable[Any]]) -> Any:
    """Runs `work` on a database with the tables of this version, and returns its result.

    With shards, it is the first one of the set.
    """

    async def run() -> Any:
        async with checked_databases(settings) as (database, *_others):
            return await work(database)

    return asyncio.run(run())


async def chosen_accounts(database: Database, only: int | None) -> AsyncIterator[int]:
    """Yields the id of that account, or of every account."""
    if only is not None:
        yield only
        return
    after = 0
    while ids := await account_ids_after(database.read, after, _ACCOUNTS_AT_ONCE):
        for account_id in ids:
            yield account_id
        after = ids[-1]


def command_line() -> Actor:
    """Returns the user who runs the command, as the audit list shows it."""
    try:
        owner = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        owner = f"uid {os.getuid()}"
    return replace(COMMAND_LINE, owner=owner)


class AccountId(click.ParamType[int]):
    name = "acct_…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        number = parse_account_id(value) if isinstance(value, str) else value
        if not isinstance(number, int):
            self.fail(f"{value} is not an account id, such as acct_7", param, ctx)
        return number


@click.group()
def accounts() -> None:
    """Create, list and move accounts."""


@accounts.command()
@click.option("--name", required=True, help="Display name.")
@click.option("--external-id", default=None, help="Unique name by which other systems know the account.")
@with_settings("database_url", "shards")
def create(settings: Settings, name: str, external_id: str | None) -> None:
    """Create an account and print its id."""
    row = with_database(settings, lambda database: _create(database, NewAccount(name, external_id)))
    click.echo(account_id_text(row.id))


async def _create(database: Database, new: NewAccount) -> AccountRow:
    if database.place is not None:
        database = shard_numbered(database, await place_account(Ledger(database), new))
    return await Accounts(database, actor=command_line()).create(new.name, new.external_id)


async def _newest(database: Database, limit: int, search: str | None) -> list[AccountRow]:
    found = [row for one in databases_of(database) for row in await Accounts(one).newest(limit, search)]
    # Each shard's are in order already, and stay so.
    return sorted(found, key=attrgetter("created_at"), reverse=True)[:limit] if database.place else found


@accounts.command("list")
@click.option(
    "--search", default=None, help="Text to find in names and external ids, or an account's id: 3 to 200 characters."
)
@click.option(
    "--limit", default=50, type=click.IntRange(1, 1000), help="Maximum number of results, newest first. [default: 50]"
)
@with_settings("database_url", "shards")
def list_accounts(settings: Settings, search: str | None, limit: int) -> None:
    """List accounts, newest first: id, external id, status, balance, name, separated by tabs."""
    checked_search(search)
    for row in with_database(settings, lambda database: _newest(database, limit, search)):
        columns = (
            account_id_text(row.id),
            row.external_id or "",
            row.status,
            format_nanos(row.balance_nanos),
            row.name,
        )
        click.echo("\t".join(columns))


async def _moved(database: Database, account: int, shard: int) -> Report:
    if database.place is None:
        raise click.UsageError("an account can be moved only with BILLING_SHARDS")
    moves = AccountMoves(database.place.shards, actor=command_line(), tell=click.echo)
    return await moves.move(account, shard)


@accounts.command()
@click.argument("account", type=AccountId())
@click.argument("shard", type=click.IntRange(0, MAX_SHARDS - 1))
@with_settings("database_url", "shards")
def move(settings: Settings, account: int, shard: int) -> None:
    """Move ACCOUNT to the shard with the number SHARD while it is in use. Its writes wait for a moment.

    If the command was interrupted, run it again to complete the move. To cancel an interrupted move, name the
    shard that the account is on. The exit code is 1 if verification finds a fault on the new shard.
    """
    report = with_database(settings, lambda database: _moved(database, account, shard))
    for fault in report.faults:
        click.echo("\t".join((fault.kind.value, fault.subject, fault.message)))
    is_new = report.stopped_seconds is not None
    stop = f", writes waited {report.stopped_seconds:.2f} s" if is_new else ""
    place = f"is {'' if is_new else 'already '}on shard {report.shard}"
    click.echo(f"{account_id_text(account)} {place}: {report.rows} rows verified{stop}")
    if report.faults:
        click.get_current_context().exit(1)
