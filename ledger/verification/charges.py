"""Charges: compares charges with their holds, or with their rows if they are billed without holds."""

from __future__ import annotations

from datetime import datetime

from db.archive.whole_ledger import WholeLedger
from db.database import Database
from db.recount import Read
from db.recount.charges import HoldSums, RowSums, StoredCharge, charges_after, hold_sums, row_sums
from db.rows import ChargeRow
from ledger.kinds import HOLDABLE, RESOURCES, ChargeState, RefType
from ledger.verification.faults import FaultKind, Faults, differences

CHARGES_AT_ONCE = 200


async def check_charges(database: Database | WholeLedger, account_id: int, faults: Faults) -> None:
    """Checks all charges of the account, page by page. Each page is from one moment."""
    for ref_type in sorted(RESOURCES):
        after: str | None = ""
        while after is not None:
            async with database.snapshot() as snapshot:
                postgresql = snapshot.is_postgresql
                after = await _check_page(snapshot.rows, account_id, ref_type, after, faults, postgresql=postgresql)


async def _check_page(
    read: Read, account_id: int, ref_type: RefType, after: str, faults: Faults, *, postgresql: bool
) -> str | None:
    """Checks a page. Returns the ref id from which to continue; None after the last page."""
    page = await charges_after(read, account_id, ref_type.value, after, CHARGES_AT_ONCE)
    ids = [one.charge.ref_id for one in page]
    if not ids:
        return None
    if ref_type in HOLDABLE:
        holds = await hold_sums(read, account_id, ref_type.value, ids, postgresql=postgresql)
        for stored in page:
            _check(stored.charge, _of_holds(stored, holds.get(stored.charge.ref_id)), faults)
    else:
        rows = await row_sums(read, account_id, ref_type.value, ids, postgresql=postgresql)
        for stored in page:
            _check(stored.charge, _of_rows(stored, rows.get(stored.charge.ref_id)), faults)
    return ids[-1] if len(ids) == CHARGES_AT_ONCE else None


def _check(charge: ChargeRow, expected: ChargeRow | None, faults: Faults) -> None:
    subject = f"{charge.ref_type} {charge.ref_id}"
    if expected is None:
        faults.add(FaultKind.CHARGE, subject, "the charge has no rows")
    elif different := differences(charge._asdict(), expected._asdict()):
        faults.add(FaultKind.CHARGE, subject, different)


def _of_holds(stored: StoredCharge, sums: HoldSums | None) -> ChargeRow | None:
    if sums is None or stored.opened_at is None:
        return None
    return ChargeRow(
        *stored.charge[:3],
        state=stored.hold_state or stored.charge.state,
        held_nanos=sums.held_nanos,
        refunded_nanos=sums.refunded_nanos,
        overage_nanos=sums.overage_nanos,
        billed_nanos=0,
        cycles=sums.cycles,
        hold_seq=sums.hold_seq,
        first_seq=sums.first_seq,
        last_seq=sums.last_seq,
        opened_at=stored.opened_at,
        closed_at=stored.hold_settled_at,
        api_key=stored.charge.api_key,
        project=stored.charge.project,
    )


def _of_rows(stored: StoredCharge, sums: RowSums | None) -> ChargeRow | None:
    """Recounts a charge from its rows. No row says when a volume was deleted, so the charge's own end is used if
    possible."""
    if sums is None or stored.opened_at is None:
        return None
    closed_at = _closed_at(stored.charge, stored.opened_at)
    return ChargeRow(
        *stored.charge[:3],
        state=(ChargeState.SETTLED if closed_at else ChargeState.OPEN).value,
        held_nanos=0,
        refunded_nanos=0,
        overage_nanos=0,
        billed_nanos=sums.billed_nanos,
        cycles=0,
        hold_seq=None,
        first_seq=sums.first_seq,
        last_seq=sums.last_seq,
        opened_at=stored.opened_at,
        closed_at=closed_at,
        api_key=stored.charge.api_key,
        project=stored.charge.project,
    )


def _closed_at(charge: ChargeRow, opened_at: datetime) -> datetime | None:
    return max(charge.closed_at, opened_at) if charge.closed_at else None
