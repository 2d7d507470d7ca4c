"""Calls: compares stored calls with the rows that they name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from db.database import Database
from db.recount import Read
from db.recount.calls import StoredCall, StoredOtherCall, calls_after, other_calls_after
from ledger.chain import format_time
from ledger.ids import transaction_id_text
from ledger.metering import OPERATION as RECORD_USAGE
from ledger.money import format_nanos
from ledger.verification.faults import Fault, FaultKind, Faults

CALLS_AT_ONCE = 1_000


@dataclass(slots=True)
class LiveUsage:
    """Usage that services recorded live."""

    calls: int = 0
    cost_nanos: int = 0
    is_known: bool = True
    """Whether each call says how many requests it counted."""

    def take(self, stored: StoredCall) -> None:
        call = stored.call
        if call.operation != RECORD_USAGE:
            return
        self.is_known = self.is_known and call.result is not None
        self.calls += call.result or 0
        if call.first_seq <= call.last_seq:
            self.cost_nanos -= stored.last_amount_nanos or 0


async def check_calls(read: Read, account_id: int, faults: Faults) -> LiveUsage:
    """Checks all calls of the account, page by page."""
    live = LiveUsage()
    operation = key = ""
    while page := await calls_after(read, account_id, operation, key, CALLS_AT_ONCE):
        for stored in page:
            live.take(stored)
            if message := _problem(stored):
                faults.add(FaultKind.IDEMPOTENCY, f"{stored.call.operation} {stored.call.key}", message)
        operation, key = page[-1].call[1:3]
    return live


def _problem(stored: StoredCall) -> str:
    call = stored.call
    if not 1 <= call.first_seq <= call.last_seq + 1:
        return f"the call names the rows {call.first_seq} to {call.last_seq}, which cannot be"
    has_rows = call.first_seq <= call.last_seq
    for seq, at in ((call.first_seq, stored.first_at), (call.last_seq, stored.last_at)):
        name = transaction_id_text(call.account_id, seq)
        if at is None and (has_rows or seq == call.last_seq > 0):
            return f"the row {name} of the call does not exist"
        if has_rows and at != call.created_at:
            return f"the row {name} is not of the call's time, {format_time(call.created_at)}"
    if not has_rows and stored.last_at is not None and call.created_at < stored.last_at:
        return f"the call's time, {format_time(call.created_at)}, is before the newest row that it knew"
    balance = stored.last_balance_nanos or 0
    if call.balance_nanos != balance:
        return f"balance is {format_nanos(call.balance_nanos)}, expected {format_nanos(balance)}"
    return ""


async def other_call_faults(database: Database, account_id: int | None = None) -> AsyncIterator[Fault]:
    """Checks calls that opened accounts: those of one account, or the first of each account."""
    position = ("", "", "")
    known: set[int] = set()
    while page := await _other_calls(database, position):
        for call in page:
            fault = _other_call_fault(call)
            if fault and fault.account_id not in known and account_id in {None, fault.account_id}:
                known.add(fault.account_id)
                yield fault
        position = page[-1][:3]


async def _other_calls(database: Database, position: tuple[str, str, str]) -> list[StoredOtherCall]:
    async with database.snapshot() as snapshot:
        return await other_calls_after(snapshot, *position, CALLS_AT_ONCE)


def _other_call_fault(call: StoredOtherCall) -> Fault | None:
    if call.account_id is None or call.last_seq is None:
        return None
    expected = 0 if call.last_seq == 0 else call.row_balance_nanos
    if expected is None:
        name = transaction_id_text(call.account_id, call.last_seq)
        message = f"the row {name} of the call does not exist"
    elif call.balance_nanos != expected:
        message = f"balance_nanos is {call.balance_nanos}, expected {expected}"
    else:
        return None
    return Fault(FaultKind.IDEMPOTENCY, call.account_id, f"{call.operation} {call.key}", message)
