"""Repair: rebuilds monthly figures and what limits have spent. Ledger rows are never changed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from db import writes
from db.database import Database
from db.limits import read_limits
from db.recount.months import replace_months
from db.rows import AccountRow
from db.spend_limits import put_limit
from ledger.audit import Actor, AuditedAction, note
from ledger.errors import Conflict
from ledger.ids import account_id_text, spend_limit_id_text
from ledger.limit_settings import spent_anew
from ledger.posting import Clock, Ledger, LedgerTransaction, utc_now
from ledger.verification.accounts import AccountVerification
from ledger.verification.costs import limit_problem
from ledger.verification.faults import FaultKind
from ledger.verification.months import changes_of_months, recounted_months

MONTHS_ACTION = "repairMonths"
LIMITS_ACTION = "repairLimits"

_GROUNDS = frozenset(
    {FaultKind.SEQ, FaultKind.TIME, FaultKind.HASH, FaultKind.BALANCE, FaultKind.HEAD, FaultKind.UNREADABLE}
)
"""Faults of rows that prevent rebuilding what follows from them."""


Rebuild = Callable[[LedgerTransaction, AccountRow, AccountVerification], Awaitable[Mapping[str, str]]]
"""Writes what follows from the account's rows anew, and returns the differences by the name of the figure. Raises
Conflict."""


async def repair_months(database: Database, account_id: int, actor: Actor, clock: Clock = utc_now) -> Mapping[str, str]:
    """Rebuilds the months. Returns the differences by month.

    The account is locked only while the newest rows are read and the figures written. Raises NotFound, and Conflict if
    the account's rows have faults themselves.
    """

    async def rebuild(
        transaction: LedgerTransaction, account: AccountRow, verification: AccountVerification
    ) -> Mapping[str, str]:
        _check_grounds(verification, _GROUNDS, "months")
        read = transaction.snapshot().rows
        months = verification.rows.months
        expected = await recounted_months(read, account.id, months, postgresql=database.is_postgresql)
        changes = await changes_of_months(read, account.id, expected)
        if changes:
            await replace_months(transaction.connection, account.id, list(expected.values()))
        return changes

    return await _repair(database, account_id, AuditedAction(MONTHS_ACTION, actor, account_id), rebuild, clock)


async def repair_limits(database: Database, account_id: int, actor: Actor, clock: Clock = utc_now) -> Mapping[str, str]:
    """Adds up again what each spend limit in force has spent. Returns the differences by the limit's id.

    The account is locked meanwhile. Raises NotFound, and Conflict if the account's rows or costs have faults.
    """

    async def rebuild(
        transaction: LedgerTransaction, account: AccountRow, verification: AccountVerification
    ) -> Mapping[str, str]:
        read = transaction.snapshot().rows
        await verification.check_costs(read)
        _check_grounds(verification, _GROUNDS | {FaultKind.COST}, "spend limits")
        changes = {}
        for limit in await read_limits(transaction.connection, [account.id]):
            if message := await limit_problem(read, limit, postgresql=database.is_postgresql):
                anew = await spent_anew(transaction, account, limit, transaction.clock())
                await put_limit(transaction.connection, anew)
                changes[spend_limit_id_text(account.id, limit.number)] = message
        return changes

    return await _repair(database, account_id, AuditedAction(LIMITS_ACTION, actor, account_id), rebuild, clock)


async def _repair(
    database: Database, account_id: int, action: AuditedAction, rebuild: Rebuild, clock: Clock
) -> Mapping[str, str]:
    """Reads the account's rows, then locks it and rebuilds. Notes the differences, if there are any."""
    verification = AccountVerification(database, account_id)
    await verification.read_rows()

    async def work(transaction: LedgerTransaction) -> Mapping[str, str]:
        connection = transaction.connection
        account = (await writes.lock_accounts(connection, [account_id]))[account_id]
        await writes.touch_accounts(connection, [account_id])
        await verification.compare_head(transaction.snapshot().rows)
        changes = await rebuild(transaction, account, verification)
        if changes:
            described = "; ".join(f"{name}: {change}" for name, change in changes.items())
            await note(transaction, replace(action, description=described))
        return changes

    return await Ledger(database, clock).within(work, [account_id])


def _check_grounds(verification: AccountVerification, grounds: frozenset[FaultKind], repaired: str) -> None:
    for fault in verification.faults.found:
        if fault.kind in grounds:
            msg = f"the {repaired} of {account_id_text(fault.account_id)} cannot be rebuilt: {fault}"
            raise Conflict(msg)
