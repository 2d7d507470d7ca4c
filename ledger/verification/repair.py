"""Repair: rebuilds monthly figures from rows, holds and usage. Ledger rows are never changed."""

from __future__ import annotations

from collections.abc import Mapping

from db import writes
from db.database import Database
from db.recount.months import replace_months
from ledger.audit import Actor, AuditedAction, note
from ledger.errors import Conflict
from ledger.ids import account_id_text
from ledger.posting import Clock, Ledger, LedgerTransaction, utc_now
from ledger.verification.accounts import AccountVerification
from ledger.verification.faults import FaultKind
from ledger.verification.months import changes_of_months, recounted_months

ACTION = "repairMonths"

_GROUNDS = frozenset(
    {FaultKind.SEQ, FaultKind.TIME, FaultKind.HASH, FaultKind.BALANCE, FaultKind.HEAD, FaultKind.UNREADABLE}
)
"""Faults of rows that prevent rebuilding the months."""


async def repair_months(database: Database, account_id: int, actor: Actor, clock: Clock = utc_now) -> Mapping[str, str]:
    """Rebuilds the months. Returns the differences by month.

    The account is locked only while the newest rows are read and the figures written. Raises NotFound, and Conflict if
    the account's rows have faults themselves.
    """
    verification = AccountVerification(database, account_id)
    await verification.read_rows()

    async def work(transaction: LedgerTransaction) -> Mapping[str, str]:
        connection = transaction.connection
        await writes.lock_accounts(connection, [account_id])
        await writes.touch_accounts(connection, [account_id])
        read = transaction.snapshot().rows
        await verification.compare_head(read)
        _check_grounds(verification)
        postgresql = database.is_postgresql
        expected = await recounted_months(read, account_id, verification.rows.months, postgresql=postgresql)
        changes = await changes_of_months(read, account_id, expected)
        if changes:
            await replace_months(connection, account_id, list(expected.values()))
            described = "; ".join(f"{month}: {change}" for month, change in changes.items())
            await note(transaction, AuditedAction(ACTION, actor, account_id, description=described))
        return changes

    return await Ledger(database, clock).within(work, [account_id])


def _check_grounds(verification: AccountVerification) -> None:
    for fault in verification.faults.found:
        if fault.kind in _GROUNDS:
            msg = f"the months of {account_id_text(fault.account_id)} cannot be rebuilt: {fault}"
            raise Conflict(msg)
