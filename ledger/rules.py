"""What each move does to the book of its account."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from db.rows import ChargeRow, HoldRow, MonthlyFiguresRow, TransactionRow
from ledger import descriptions
from ledger.account_state import (
    Book,
    ChargeKey,
    check_period,
    check_used,
    month_of,
    source_of,
)
from ledger.commands import (
    EndCharge,
    Entry,
    ExpireHold,
    Move,
    OpenHold,
    Period,
    Ref,
    RenewHold,
    SettleHold,
    Writer,
)
from ledger.errors import BadUserInput, Conflict, InsufficientBalance, NotFound
from ledger.ids import account_id_text
from ledger.kinds import HOLDABLE, RESOURCES, AccountStatus, ChargeState, RefType, TransactionType
from ledger.moments import check_moment
from ledger.money import format_nanos
from ledger.texts import DESCRIPTION

CYCLE: Final = timedelta(hours=24)
"""How long an inference instance is held for at a time."""
LONGEST_HOLD: Final = timedelta(days=1_096)
"""How far from now a hold may end: three years, the longest time that is sold at once."""


def _describe(ref: Ref) -> str:
    return f"{ref.type.value.upper()} {ref.id}"


def _enter(book: Book, writer: Writer, entry: Entry) -> None:
    if entry.ref is not None and entry.ref.type in HOLDABLE:
        msg = f"rows of {_describe(entry.ref)} are written only by its hold: open, renew or settle the hold"
        raise BadUserInput(msg)
    row = book.append(writer, entry)
    if entry.ref is None or entry.ref.type not in RESOURCES:
        return
    known = book.charges.get(book.key(entry.ref)) or _new_charge(row, entry.ref)
    book.put_charge(known._replace(billed_nanos=known.billed_nanos - row.amount_nanos, last_seq=row.seq))


def _new_charge(row: TransactionRow, ref: Ref) -> ChargeRow:
    return ChargeRow(
        account_id=row.account_id,
        ref_type=ref.type.value,
        ref_id=ref.id,
        state=ChargeState.OPEN.value,
        held_nanos=0,
        refunded_nanos=0,
        overage_nanos=0,
        billed_nanos=0,
        cycles=0,
        hold_seq=None,
        first_seq=row.seq,
        last_seq=row.seq,
        opened_at=row.created_at,
        closed_at=None,
    )


def _check_hold(book: Book, move: OpenHold | RenewHold) -> None:
    if move.ref.type not in HOLDABLE:
        msg = f"{move.ref.type.value.upper()} cannot be held"
        raise BadUserInput(msg)
    if move.amount_nanos <= 0:
        raise BadUserInput("the amount of a hold must be positive")
    if move.description is not None:
        DESCRIPTION.checked(move.description, "description")
    if move.period is not None:
        check_period(move.period)
        if move.period.end > book.now + LONGEST_HOLD:
            msg = f"the period must end at most {LONGEST_HOLD.days:,} days from now"
            raise BadUserInput(msg)


def _hold(book: Book, writer: Writer, move: OpenHold | RenewHold, period: Period, cycle: int) -> None:
    description = move.description
    if description is None:
        description = descriptions.hold(move.ref, period, cycle)
    entry = Entry(TransactionType.GPU_USAGE, -move.amount_nanos, description, ref=move.ref, period=period)
    row = book.append(writer, entry)
    key = book.key(move.ref)
    charge = book.charges.get(key) or _new_charge(row, move.ref)
    charge = charge._replace(
        held_nanos=charge.held_nanos + move.amount_nanos, cycles=cycle, hold_seq=row.seq, last_seq=row.seq
    )
    book.put_charge(charge)
    month = month_of(row.created_at)
    book.put_hold(
        key,
        HoldRow(
            account_id=row.account_id,
            hold_seq=row.seq,
            ref_type=key[1],
            ref_id=key[2],
            cycle=cycle,
            held_nanos=move.amount_nanos,
            month=month,
            state=ChargeState.OPEN.value,
            period_start=period.start,
            period_end=period.end,
            used_nanos=None,
            settled_seq=None,
            settled_at=None,
        ),
    )
    book.increments.append(MonthlyFiguresRow(row.account_id, month, open_holds_nanos=move.amount_nanos))


def _open_hold(book: Book, writer: Writer, move: OpenHold) -> None:
    _check_hold(book, move)
    if book.account.status == AccountStatus.SUSPENDED:
        msg = f"{account_id_text(book.account.id)} is suspended: it cannot open holds"
        raise InsufficientBalance(msg)
    if book.key(move.ref) in book.charges:
        msg = f"{_describe(move.ref)} was already held"
        raise Conflict(msg)
    if book.balance_nanos < move.amount_nanos:
        msg = (
            f"the balance of {format_nanos(book.balance_nanos)} does not cover"
            f" the hold of {format_nanos(move.amount_nanos)}"
        )
        raise InsufficientBalance(msg)
    _hold(book, writer, move, move.period, cycle=1)


def _hold_to_settle(book: Book, ref: Ref) -> HoldRow:
    hold = book.holds.get(book.key(ref))
    if hold is None:
        msg = f"{_describe(ref)} has no hold"
        raise NotFound(msg)
    if hold.state == ChargeState.SETTLED:
        msg = f"the hold of {_describe(ref)} is already settled"
        raise Conflict(msg)
    return hold


def _used_period(hold: HoldRow, ended_at: datetime) -> Period:
    """The time that was used: it may outlast a GPU instance's hold, but never an inference instance's cycle."""
    if hold.ref_type == RefType.INFERENCE_INSTANCE:
        ended_at = min(ended_at, hold.period_end)
    return Period(hold.period_start, max(hold.period_start, ended_at))


def _settle(book: Book, writer: Writer, hold: HoldRow, settlement: SettleHold) -> None:
    """Posts what was used against what was held, and closes the hold, but not yet its charge."""
    # However it comes out: even writes no row, and a refund by the webhook would be one of Stripe.
    source_of(writer, TransactionType.GPU_USAGE)
    if settlement.ended_at is not None:
        check_moment(settlement.ended_at, "the end")
    ref, used_nanos, description = settlement.ref, settlement.used_nanos, settlement.description
    if description is None:
        description = descriptions.settlement(ref, hold.held_nanos, used_nanos, hold.cycle)
    difference = hold.held_nanos - used_nanos
    row: TransactionRow | None = None
    if difference:
        kind = TransactionType.REFUND if difference > 0 else TransactionType.GPU_USAGE
        period = _used_period(hold, settlement.ended_at or book.now)
        row = book.append(writer, Entry(kind, difference, description, ref=ref, period=period))
    else:
        DESCRIPTION.checked(description, "description")
    key = book.key(ref)
    charge = book.charges[key]
    book.put_charge(
        charge._replace(
            refunded_nanos=charge.refunded_nanos + max(difference, 0),
            overage_nanos=charge.overage_nanos + max(-difference, 0),
            last_seq=row.seq if row else charge.last_seq,
        )
    )
    _close_hold(book, key, hold, ChargeState.SETTLED, used_nanos, row)


def _close_hold(
    book: Book,
    key: ChargeKey,
    hold: HoldRow,
    state: ChargeState,
    used_nanos: int,
    row: TransactionRow | None,
) -> None:
    if hold.state == ChargeState.OPEN:
        book.increments.append(MonthlyFiguresRow(hold.account_id, hold.month, open_holds_nanos=-hold.held_nanos))
    book.put_hold(
        key,
        hold._replace(
            state=state.value,
            used_nanos=used_nanos,
            settled_seq=row.seq if row else None,
            settled_at=book.now,
        ),
    )


def _close_charge(book: Book, key: ChargeKey, state: ChargeState) -> None:
    book.put_charge(book.charges[key]._replace(state=state.value, closed_at=book.now))


def _settle_hold(book: Book, writer: Writer, move: SettleHold) -> None:
    check_used(move.used_nanos)
    hold = _hold_to_settle(book, move.ref)
    _settle(book, writer, hold, move)
    _close_charge(book, book.key(move.ref), ChargeState.SETTLED)


def _renew_hold(book: Book, writer: Writer, move: RenewHold) -> bool:
    """Whether the instance is to be stopped, since its next cycle could not be paid."""
    if move.ref.type != RefType.INFERENCE_INSTANCE:
        raise BadUserInput("only an INFERENCE_INSTANCE is held in cycles")
    check_used(move.used_nanos)
    _check_hold(book, move)
    hold = _hold_to_settle(book, move.ref)
    if hold.state == ChargeState.EXPIRED:
        msg = f"the hold of {_describe(move.ref)} has expired: settle it"
        raise Conflict(msg)
    after_settlement = book.balance_nanos + hold.held_nanos - move.used_nanos
    settlement = SettleHold(move.ref, move.used_nanos, move.settlement)
    pays = after_settlement >= move.amount_nanos and book.account.status == AccountStatus.ACTIVE
    if pays:
        period = move.period or Period(hold.period_end, hold.period_end + CYCLE)
        _hold(book, writer, move, period, hold.cycle + 1)
        renewed = book.holds[book.key(move.ref)]
        _settle(book, writer, hold, settlement)
        book.holds[book.key(move.ref)] = renewed
    else:
        _settle(book, writer, hold, settlement)
        _close_charge(book, book.key(move.ref), ChargeState.SETTLED)
    return not pays


def _expire_hold(book: Book, move: ExpireHold) -> None:
    hold = _hold_to_settle(book, move.ref)
    if hold.state != ChargeState.OPEN:
        msg = f"the hold of {_describe(move.ref)} has expired"
        raise Conflict(msg)
    key = book.key(move.ref)
    _close_hold(book, key, hold._replace(expired_at=book.now), ChargeState.EXPIRED, hold.held_nanos, None)
    _close_charge(book, key, ChargeState.EXPIRED)


def _end_charge(book: Book, move: EndCharge) -> None:
    if move.ref.type in HOLDABLE:
        msg = f"{_describe(move.ref)} has a hold: settle it instead"
        raise BadUserInput(msg)
    # What never cost anything has no charge.
    if book.key(move.ref) in book.charges:
        _close_charge(book, book.key(move.ref), ChargeState.SETTLED)


def apply(book: Book, writer: Writer, move: Move) -> bool:
    """Whether the resource is to be stopped."""
    match move:
        case Entry():
            _enter(book, writer, move)
        case OpenHold():
            _open_hold(book, writer, move)
        case RenewHold():
            return _renew_hold(book, writer, move)
        case SettleHold():
            _settle_hold(book, writer, move)
        case ExpireHold():
            _expire_hold(book, move)
        case EndCharge():
            _end_charge(book, move)
    return False
