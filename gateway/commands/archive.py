from __future__ import annotations

from datetime import timedelta

import click

from db.archive.store import ArchiveStore
from db.database import Database
from gateway.commands.accounts import AccountId, chosen_accounts, with_database
from gateway.commands.options import with_settings
from gateway.settings import Settings
from ledger.archiving import Archiving
from ledger.ids import account_id_text
from ledger.posting import utc_now


async def _of_account(archiving: Archiving, account_id: int, days: int, *, checking: bool) -> None:
    account = account_id_text(account_id)
    if checking:
        click.echo(f"{account}\t{await archiving.check(account_id)}")
        return
    async for file in archiving.copy(account_id, utc_now() - timedelta(days=days)):
        click.echo(f"{account}\t{file.first_seq}\t{file.last_seq}\t{file.name}")


async def _archive(database: Database, url: str, days: int, only: int | None, *, checking: bool) -> None:
    archiving = Archiving(database, ArchiveStore(url))
    async for account_id in chosen_accounts(database, only):
        await _of_account(archiving, account_id, days, checking=checking)


@click.command()
@click.option("--account", type=AccountId(), default=None, help="Only this account.")
@click.option("--check", is_flag=True, help="Compare the archive with the ledger instead, row by row.")
@with_settings("database_url", "archive_url", "archive_after_days")
def archive(settings: Settings, *, account: int | None, check: bool) -> None:
    """Copy old ledger rows to Parquet files. The ledger keeps its rows.

    Prints each file that was written: account, first and last row, name, separated by tabs.
    """
    url = settings.archive_url
    if url is None:
        raise click.UsageError("archive_url is not set: where are the files?")
    days = settings.archive_after_days
    with_database(settings, lambda database: _archive(database, url, days, account, checking=check))
