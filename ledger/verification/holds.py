"""Holds: compares holds with the rows that opened and settled them."""

from __future__ import annotations

from db.recount.holds import HoldsOfRows, StoredHold
from db.rows import HoldRow, TransactionRow
from ledger.account_state import month_of
from ledger.ids import transaction_id_text
from ledger.kinds import HOLDABLE, ChargeState, TransactionType
from ledger.verification.faults import FaultKind, Faults, differences


def check_row(row: TransactionRow, holds: HoldsOfRows, faults: Faults) -> None:
    """Checks that a row of a held resource opens or settles exactly one hold."""
    if row.ref_type not in HOLDABLE:
        return
    opened, settled = holds.opened.get(row.seq), holds.settled.get(row.seq)
    if opened is not None and settled is None:
        message = _opening(row, opened)
    elif settled is not None and opened is None:
        message = _settling(row, settled)
    else:
        message = "the row opens and settles a hold" if opened else "no hold was opened or settled by this row"
    if message:
        faults.add(FaultKind.HOLD, transaction_id_text(row.account_id, row.seq), message)


def _opening(row: TransactionRow, hold: HoldRow) -> str:
    names = ("ref_type", "ref_id", "held_nanos", "month", "period_start", "period_end")
    expected = row._asdict() | {"held_nanos": -row.amount_nanos, "month": month_of(row.created_at)}
    if row.type != TransactionType.GPU_USAGE:
        return f"a hold was opened by a row of the type {row.type}"
    return differences({name: getattr(hold, name) for name in names}, expected)


def _settling(row: TransactionRow, hold: HoldRow) -> str:
    names = ("ref_type", "ref_id", "state", "used_nanos", "settled_at")
    expected = row._asdict() | {
        "state": ChargeState.SETTLED.value,
        "used_nanos": hold.held_nanos - row.amount_nanos,
        "settled_at": row.created_at,
    }
    different = differences({name: getattr(hold, name) for name in names}, expected)
    hold_name = transaction_id_text(hold.account_id, hold.hold_seq)
    return f"the hold {hold_name} that the row settles does not match: {different}" if different else ""


def check_hold(stored: StoredHold, faults: Faults) -> None:
    hold = stored.hold
    if message := _rows(stored) or _cycle(stored) or _state(stored):
        faults.add(FaultKind.HOLD, transaction_id_text(hold.account_id, hold.hold_seq), message)


def _rows(stored: StoredHold) -> str:
    hold = stored.hold
    if stored.opened_at is None:
        return f"there is no row that opens this hold of {hold.ref_type} {hold.ref_id}"
    if hold.settled_seq is not None and (stored.settling_at is None or hold.settled_seq <= hold.hold_seq):
        return f"settled_seq is {hold.settled_seq}, which is no row that settles this hold"
    return ""


def _cycle(stored: StoredHold) -> str:
    expected = (stored.cycle_before or 0) + 1
    return "" if stored.hold.cycle == expected else f"cycle is {stored.hold.cycle}, expected {expected}"


def _state(stored: StoredHold) -> str:
    hold, opened_at = stored.hold, stored.opened_at
    assert opened_at is not None
    names = ("state", "used_nanos", "settled_seq", "settled_at", "expired_at")
    expected = {name: getattr(hold, name) for name in names}
    if stored.next_at is not None:
        # Renewing settles the cycle before, at the time of the next one's row.
        expected |= {"state": ChargeState.SETTLED.value, "settled_at": stored.next_at, "expired_at": None}
    if expected["state"] == ChargeState.OPEN:
        expected |= dict.fromkeys(names[1:])
    elif hold.settled_seq is None or hold.state == ChargeState.EXPIRED:
        expected |= {"used_nanos": hold.held_nanos, "settled_seq": None}
    if expected["state"] == ChargeState.EXPIRED:
        expected["expired_at"] = hold.settled_at
    if expected["state"] != ChargeState.OPEN and hold.settled_at is None:
        return "a hold that is not open has no settled_at"
    early = [name for name in ("settled_at", "expired_at") if (getattr(hold, name) or opened_at) < opened_at]
    if early:
        return f"{early[0]} is before the row that opened the hold"
    return differences({name: getattr(hold, name) for name in names}, expected)
