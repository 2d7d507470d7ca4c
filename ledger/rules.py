"""Rules: what each command does to an account state."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from db.rows import ChargeRow, HoldRow, MonthlyFiguresRow, TransactionRow
from ledger import authorizations, descriptions
from ledger.account_state import (
    AccountState,
    ChargeKey,
    check_period,
    check_used,
    month_of,
    source_of,
)
from ledger.commands import (
    AuthorizeUsage,
    Command,
    EndCharge,
    Entry,
    ExpireHold,
    OpenHold,
    Period,
    Ref,
    ReleaseAuthorization,
    RenewHold,
    SettleHold,
    Writer,
)
from ledger.errors import BadUserInput, Conflict, NotFound
from ledger.kinds import HOLDABLE, RESOURCES, AccountStatus, ChargeState, RefType, TransactionType
from ledger.moments import check_moment
from ledger.texts import DESCRIPTION

CYCLE: Final = timedelta(hours=24)
"""Length of an inference instance's cycle."""
LONGEST_HOLD: Final = timedelta(days=1_096)
"""How far in the future a hold may end: three years, the longest period that is sold at once."""


def _describe(ref: Ref) -> str:
    return f"{ref.type.value.upper()} {ref.id}"


def _enter(state: AccountState, writer: Writer, entry: Entry) -> None:
    if entry.ref is not None and entry.ref.type in HOLDABLE:
        msg = f"rows of {_describe(entry.ref)} are written only by its hold: open, renew or settle the hold"
        raise BadUserInput(msg)
    row = state.append(writer, entry)
    if entry.ref is None or entry.ref.type not in RESOURCES:
        return
    known = state.charges.get(state.key(entry.ref)) or _new_charge(row, entry.ref)
    state.put_charge(known._replace(billed_nanos=known.billed_nanos - row.amount_nanos, last_seq=row.seq))


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
        api_key=row.api_key,
        project=row.project,
    )


def _check_hold(state: AccountState, command: OpenHold | RenewHold) -> None:
    if command.ref.type not in HOLDABLE:
        msg = f"{command.ref.type.value.upper()} cannot be held"
        raise BadUserInput(msg)
    if command.amount_nanos <= 0:
        raise BadUserInput("the amount of a hold must be positive")
    if command.description is not None:
        DESCRIPTION.checked(command.description, "description")
    if command.period is not None:
        check_period(command.period)
        if command.period.end > state.now + LONGEST_HOLD:
            msg = f"the period must end at most {LONGEST_HOLD.days:,} days from now"
            raise BadUserInput(msg)


def _hold(state: AccountState, writer: Writer, command: OpenHold | RenewHold, period: Period, cycle: int) -> None:
    description = command.description
    if description is None:
        description = descriptions.hold(command.ref, period, cycle)
    entry = Entry(TransactionType.GPU_USAGE, -command.amount_nanos, description, ref=command.ref, period=period)
    row = state.append(writer, entry)
    key = state.key(command.ref)
    charge = state.charges.get(key) or _new_charge(row, command.ref)
    charge = charge._replace(
        held_nanos=charge.held_nanos + command.amount_nanos, cycles=cycle, hold_seq=row.seq, last_seq=row.seq
    )
    state.put_charge(charge)
    month = month_of(row.created_at)
    state.put_hold(
        key,
        HoldRow(
            account_id=row.account_id,
            hold_seq=row.seq,
            ref_type=key[1],
            ref_id=key[2],
            cycle=cycle,
            held_nanos=command.amount_nanos,
            month=month,
            state=ChargeState.OPEN.value,
            period_start=period.start,
            period_end=period.end,
            used_nanos=None,
            settled_seq=None,
            settled_at=None,
        ),
    )
    state.increments.append(MonthlyFiguresRow(row.account_id, month, open_holds_nanos=command.amount_nanos))


def _open_hold(state: AccountState, writer: Writer, command: OpenHold) -> None:
    _check_hold(state, command)
    authorizations.check_active(state, "hold")
    if state.key(command.ref) in state.charges:
        msg = f"{_describe(command.ref)} was already held"
        raise Conflict(msg)
    authorizations.check_affordable(state, command.amount_nanos, "hold")
    _hold(state, writer, command, command.period, cycle=1)


def _hold_to_settle(state: AccountState, ref: Ref) -> HoldRow:
    hold = state.holds.get(state.key(ref))
    if hold is None:
        msg = f"{_describe(ref)} has no hold"
        raise NotFound(msg)
    if hold.state == ChargeState.SETTLED:
        msg = f"the hold of {_describe(ref)} is already settled"
        raise Conflict(msg)
    return hold


def _used_period(hold: HoldRow, ended_at: datetime) -> Period:
    """Returns the used period. It may exceed the hold of a GPU instance, but never the cycle of an inference
    instance."""
    if hold.ref_type == RefType.INFERENCE_INSTANCE:
        ended_at = min(ended_at, hold.period_end)
    return Period(hold.period_start, max(hold.period_start, ended_at))


def _settle(state: AccountState, writer: Writer, hold: HoldRow, settlement: SettleHold) -> None:
    """Posts the difference between used and held, and closes the hold but not its charge."""
    # Check the writer even if no row is written. A refund by the webhook would be a Stripe refund.
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
        period = _used_period(hold, settlement.ended_at or state.now)
        row = state.append(writer, Entry(kind, difference, description, ref=ref, period=period))
    else:
        DESCRIPTION.checked(description, "description")
    key = state.key(ref)
    charge = state.charges[key]
    state.put_charge(
        charge._replace(
            refunded_nanos=charge.refunded_nanos + max(difference, 0),
            overage_nanos=charge.overage_nanos + max(-difference, 0),
            last_seq=row.seq if row else charge.last_seq,
        )
    )
    _close_hold(state, key, hold, ChargeState.SETTLED, used_nanos, row)


def _close_hold(
    state: AccountState,
    key: ChargeKey,
    hold: HoldRow,
    charge_state: ChargeState,
    used_nanos: int,
    row: TransactionRow | None,
) -> None:
    if hold.state == ChargeState.OPEN:
        state.increments.append(MonthlyFiguresRow(hold.account_id, hold.month, open_holds_nanos=-hold.held_nanos))
    state.put_hold(
        key,
        hold._replace(
            state=charge_state.value,
            used_nanos=used_nanos,
            settled_seq=row.seq if row else None,
            settled_at=state.now,
        ),
    )


def _close_charge(state: AccountState, key: ChargeKey, charge_state: ChargeState) -> None:
    state.put_charge(state.charges[key]._replace(state=charge_state.value, closed_at=state.now))


def _settle_hold(state: AccountState, writer: Writer, command: SettleHold) -> None:
    check_used(command.used_nanos)
    hold = _hold_to_settle(state, command.ref)
    _settle(state, writer, hold, command)
    _close_charge(state, state.key(command.ref), ChargeState.SETTLED)


def _renew_hold(state: AccountState, writer: Writer, command: RenewHold) -> bool:
    """Returns whether the instance must be stopped because its next cycle could not be paid."""
    if command.ref.type != RefType.INFERENCE_INSTANCE:
        raise BadUserInput("only an INFERENCE_INSTANCE is held in cycles")
    check_used(command.used_nanos)
    _check_hold(state, command)
    hold = _hold_to_settle(state, command.ref)
    if hold.state == ChargeState.EXPIRED:
        msg = f"the hold of {_describe(command.ref)} has expired: settle it"
        raise Conflict(msg)
    settlement = SettleHold(command.ref, command.used_nanos, command.settlement)
    pays = state.account.status == AccountStatus.ACTIVE and _covers_next_cycle(state, hold, command)
    if pays:
        period = command.period or Period(hold.period_end, hold.period_end + CYCLE)
        _hold(state, writer, command, period, hold.cycle + 1)
        renewed = state.holds[state.key(command.ref)]
        _settle(state, writer, hold, settlement)
        state.holds[state.key(command.ref)] = renewed
    else:
        _settle(state, writer, hold, settlement)
        _close_charge(state, state.key(command.ref), ChargeState.SETTLED)
    return not pays


def _covers_next_cycle(state: AccountState, hold: HoldRow, command: RenewHold) -> bool:
    """Returns whether the balance less reservations, and the spend limits, allow the next cycle after the settlement of
    the one that ended."""
    added = command.amount_nanos + command.used_nanos - hold.held_nanos
    available = state.balance_nanos - state.spending.reserved_nanos
    attribution = state.attribution_of(command.ref)
    return available >= added and authorizations.limit_exceeded(state, attribution, added, "hold") is None


def _expire_hold(state: AccountState, command: ExpireHold) -> None:
    hold = _hold_to_settle(state, command.ref)
    if hold.state != ChargeState.OPEN:
        msg = f"the hold of {_describe(command.ref)} has expired"
        raise Conflict(msg)
    key = state.key(command.ref)
    _close_hold(state, key, hold._replace(expired_at=state.now), ChargeState.EXPIRED, hold.held_nanos, None)
    _close_charge(state, key, ChargeState.EXPIRED)


def _end_charge(state: AccountState, command: EndCharge) -> None:
    if command.ref.type in HOLDABLE:
        msg = f"{_describe(command.ref)} has a hold: settle it instead"
        raise BadUserInput(msg)
    # A resource that never cost anything has no charge.
    if state.key(command.ref) in state.charges:
        _close_charge(state, state.key(command.ref), ChargeState.SETTLED)


def apply(state: AccountState, writer: Writer, command: Command) -> bool:
    """Applies the command. Returns whether the resource must be stopped."""
    match command:
        case Entry():
            _enter(state, writer, command)
        case OpenHold():
            _open_hold(state, writer, command)
        case RenewHold():
            return _renew_hold(state, writer, command)
        case SettleHold():
            _settle_hold(state, writer, command)
        case ExpireHold():
            _expire_hold(state, command)
        case EndCharge():
            _end_charge(state, command)
        case AuthorizeUsage():
            authorizations.authorize(state, command)
        case ReleaseAuthorization():  # pragma: no branch  the last kind
            authorizations.release(state, command.number)
    return False
