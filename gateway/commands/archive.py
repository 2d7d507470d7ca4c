from __future__ import annotations

from datetime import timedelta

import click

from db.archive.lease import FIRST_MOVE_SECONDS
from db.archive.moving import first_proof_time
from db.archive.store import ArchiveStore
from db.database import Database
from db.shards import databases_of, found_account
from gateway.commands.accounts import AccountId, chosen_accounts, with_database
from gateway.commands.options import with_settings
from gateway.settings import Settings
from ledger.archiving import Archiving
from ledger.ids import account_id_text
from ledger.posting import utc_now


async def _of_account(archiving: Archiving, account_id: int, days: int, action: str) -> None:
    account = account_id_text(account_id)
    before = utc_now() - timedelta(days=days)
    if action == "check":
        click.echo(f"{account}\t{await archiving.check(account_id)}")
        return
    if action == "restore":
        files = archiving.restore(account_id)
    else:
        files = archiving.move(account_id, before) if action == "move" else archiving.copy(account_id, before)
    async for file in files:
        click.echo(f"{account}\t{file.first_seq}\t{file.last_seq}\t{file.name}")


async def _archive(database: Database, url: str, days: int, only: int | None, action: str) -> None:
    store = ArchiveStore(url)
    for one in databases_of(database) if only is None else (await found_account(database, only),):
        if action == "move" and await first_proof_time(one) is None:
            shard = "" if one.place is None else f" of shard {one.place.number}"
            what = f"before the first rows{shard} are removed, until all processes look for moved rows"
            click.echo(f"waiting {FIRST_MOVE_SECONDS:.0f} seconds {what}", err=True)
        archiving = Archiving(one, store)
        async for account_id in chosen_accounts(one, only):
            await _of_account(archiving, account_id, days, action)


@click.command()
@click.option("--account", type=AccountId(), default=None, help="Only this account.")
@click.option("--check", "action", flag_value="check", help="Only compare the archive with the ledger, row by row.")
@click.option("--move", "action", flag_value="move", help="Also remove the copied rows from the database.")
@click.option("--restore", "action", flag_value="restore", help="Only write all moved rows back to the database.")
@with_settings("database_url", "shards", "archive_url", "archive_after_days")
def archive(settings: Settings, *, account: int | None, action: str | None) -> None:
    """Copy old ledger rows to Parquet files, and with --move remove them from the database.

    Prints each file that was written, moved or restored: account, first and last row, name, separated by tabs.
    """
    url = settings.archive_url
    if url is None:
        raise click.UsageError("archive_url is not set: set it to the folder or storage of the archive's files")
    days = settings.archive_after_days
    with_database(settings, lambda database: _archive(database, url, days, account, action or "copy"))
