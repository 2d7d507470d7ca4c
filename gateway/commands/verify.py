from __future__ import annotations

import contextlib
from typing import Any, Final

import click
import orjson

from db.database import Database
from db.shards import databases_of, found_account
from gateway.commands.accounts import AccountId, chosen_accounts, command_line, with_database
from gateway.commands.options import with_settings
from gateway.settings import Settings
from ledger.errors import Conflict
from ledger.ids import account_id_text
from ledger.verification.accounts import verify_account
from ledger.verification.calls import other_call_faults
from ledger.verification.faults import Fault
from ledger.verification.repair import repair_limits, repair_months


class _Report:
    """Prints each fault when it is found, and in the end how many there were."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self.accounts = 0
        self.rows = 0
        self.faults = 0

    def fault(self, fault: Fault) -> None:
        self.faults += 1
        account = account_id_text(fault.account_id)
        named = {"account": account, "kind": fault.kind.value, "row": fault.subject, "message": fault.message}
        self._print(named, "\t".join(named.values()))

    def repaired(self, account_id: int, kind: str, row: str, change: str) -> None:
        account = account_id_text(account_id)
        named = {"account": account, "repaired": kind, "row": row, "message": change}
        self._print(named, f"{account}\trepaired {kind}\t{row}\t{change}")

    def summary(self) -> None:
        counts = {"accounts": self.accounts, "rows": self.rows, "faults": self.faults}
        self._print(counts, f"accounts: {self.accounts}, rows: {self.rows}, faults: {self.faults}")

    def _print(self, named: dict[str, Any], line: str) -> None:
        click.echo(orjson.dumps(named).decode() if self._as_json else line)


_REPAIRS: Final = {"months": ("month", repair_months), "limits": ("limit", repair_limits)}


async def _repair(database: Database, account_id: int, report: _Report, repair: str) -> None:
    kind, rebuild = _REPAIRS[repair]
    # Faults that prevent rebuilding are printed next.
    with contextlib.suppress(Conflict):
        for row, change in (await rebuild(database, account_id, command_line())).items():
            report.repaired(account_id, kind, row, change)


async def _verify(database: Database, only: int | None, report: _Report, repair: str | None) -> None:
    for one in databases_of(database) if only is None else (await found_account(database, only),):
        await _verify_shard(one, only, report, repair)
    report.summary()


async def _verify_shard(database: Database, only: int | None, report: _Report, repair: str | None) -> None:
    async for account_id in chosen_accounts(database, only):
        if repair is not None:
            await _repair(database, account_id, report, repair)
        verified = await verify_account(database, account_id)
        report.accounts += 1
        report.rows += verified.rows
        for fault in verified.faults:
            report.fault(fault)
    async for fault in other_call_faults(database, only):
        report.fault(fault)


@click.command()
@click.option("--account", type=AccountId(), default=None, help="Only this account.")
@click.option(
    "--repair",
    type=click.Choice([*_REPAIRS]),
    default=None,
    help="Rebuild monthly figures, or what spend limits have spent, if they are wrong. Ledger rows are never changed.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
@with_settings("database_url", "shards", "archive_url")
def verify(settings: Settings, *, account: int | None, repair: str | None, as_json: bool) -> None:
    """Recount the ledger from its rows, and print the faults: account, kind, row, message, separated by tabs.

    The exit code is 1 if there is a fault.
    """
    report = _Report(as_json=as_json)
    with_database(settings, lambda database: _verify(database, account, report, repair))
    if report.faults:
        click.get_current_context().exit(1)
