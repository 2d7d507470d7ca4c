"""The one way in which ledger rows are written.

`post` locks the accounts, replays known idempotency keys, works out the rows of each order in memory (`_Book`),
and writes rows, heads, holds, charges and monthly figures in the caller's transaction: all of it or nothing.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import MAXYEAR, MINYEAR, UTC, datetime, timedelta
from random import uniform
from typing import Final, TypeVar

from db import writes
from db.database import Database, WriteConnection
from db.errors import NumberOutOfRange, TransactionConflict, translated
from db.posting import Kept, Opened, keep_locked, keep_unlocked, open_locked, open_unlocked
from db.rows import AccountRow, ChargeRow, HoldRow, IdempotencyRow, MonthlyFiguresRow, TransactionRow
from db.snapshots import Snapshot
from ledger import descriptions
from ledger.chain import GENESIS, row_hash
from ledger.errors import (
    BadUserInput,
    BillingError,
    Conflict,
    Forbidden,
    IdempotencyConflict,
    InsufficientBalance,
    NotFound,
)
from ledger.ids import account_id_text
from ledger.kinds import (
    HOLDABLE,
    RESOURCES,
    SIGN,
    SOURCE_BY_WRITER,
    AccountStatus,
    ChargeState,
    RefType,
    TransactionSource,
    TransactionType,
)
from ledger.money import MAX_NANOS, format_nanos, in_range
from ledger.moves import (
    MAX_DESCRIPTION,
    MAX_KEY,
    MAX_REF_ID,
    EndCharge,
    Entry,
    ExpireHold,
    Move,
    OpenHold,
    Order,
    Outcome,
    Period,
    Ref,
    RenewHold,
    SettleHold,
    Writer,
    checked_text,
)

Clock = Callable[[], datetime]
ChargeKey = tuple[int, str, str]
CallKey = tuple[int, str, str]

MAX_MOVES: Final = 10_000

CYCLE: Final = timedelta(hours=24)
"""How long an inference instance is held for at a time."""

MAX_TRIES: Final = 3
_LONGEST_PAUSE_SECONDS: Final = 0.05


Result = TypeVar("Result")


def utc_now() -> datetime:
    return datetime.now(UTC)


def month_of(moment: datetime) -> str:
    return f"{moment.year:04d}-{moment.month:02d}"


def _cost_increment(row: TransactionRow) -> MonthlyFiguresRow | None:
    month = month_of(row.created_at)
    if row.type in {TransactionType.GPU_USAGE, TransactionType.STORAGE_BILLING}:
        return MonthlyFiguresRow(row.account_id, month, gross_nanos=-row.amount_nanos)
    if row.type == TransactionType.REFUND and row.source == TransactionSource.METERING:
        return MonthlyFiguresRow(row.account_id, month, refunded_nanos=row.amount_nanos)
    return None


def _sum_by_month(increments: Iterable[MonthlyFiguresRow]) -> list[MonthlyFiguresRow]:
    sums: dict[tuple[int, str], list[int]] = {}
    for one in increments:
        total = sums.setdefault(one[:2], [0] * len(one[2:]))
        for index, figure in enumerate(one[2:]):
            total[index] += figure
    for (account_id, month), total in sums.items():
        # The database checks too, but a driver can't even bind a larger number.
        if max(map(abs, total)) > MAX_NANOS:
            msg = f"the figures of {month} of {account_id_text(account_id)} leave the 64-bit range"
            raise NumberOutOfRange(msg)
    return [MonthlyFiguresRow(*key, *figures) for key, figures in sums.items()]


class _Book:
    """One locked account, its head, and what is to be written for it."""

    def __init__(self, account: AccountRow) -> None:
        self.account = account
        self.head = account
        self.now = account.created_at
        self.rows: list[TransactionRow] = []
        self.increments: list[MonthlyFiguresRow] = []
        self.charges: dict[ChargeKey, ChargeRow] = {}
        self.holds: dict[ChargeKey, HoldRow] = {}
        self.changed_charges: set[ChargeKey] = set()
        self.changed_holds: dict[int, HoldRow] = {}

    @property
    def has_changed(self) -> bool:
        return bool(self.rows or self.changed_charges or self.changed_holds)

    def begin(self, moment: datetime) -> None:
        """Every row of an order has the same time: the clock's, or the newest row's if that is later."""
        self.now = max(moment, self.head.head_at or moment)

    def append(self, writer: Writer, entry: Entry) -> TransactionRow:
        source = _source(writer, entry.type)
        _check_entry(entry, self.head.head_seq)
        what = f"the balance of {account_id_text(self.account.id)}"
        balance = in_range(self.head.balance_nanos + entry.amount_nanos, what)
        row = TransactionRow(
            account_id=self.account.id,
            seq=self.head.head_seq + 1,
            created_at=self.now,
            type=entry.type.value,
            amount_nanos=entry.amount_nanos,
            balance_after_nanos=balance,
            description=entry.description,
            source=source.value,
            ref_type=entry.ref.type.value if entry.ref else None,
            ref_id=entry.ref.id if entry.ref else None,
            actor=writer.actor,
            corrects_seq=entry.corrects_seq,
            period_start=entry.period.start if entry.period else None,
            period_end=entry.period.end if entry.period else None,
            hash=b"",
        )
        row = row._replace(hash=row_hash(self.head.head_hash or GENESIS, row))
        self.head = self.head._replace(
            head_seq=row.seq, head_at=row.created_at, head_hash=row.hash, balance_nanos=balance
        )
        self.rows.append(row)
        increment = _cost_increment(row)
        if increment is not None:
            self.increments.append(increment)
        return row

    def put_charge(self, charge: ChargeRow) -> None:
        what = f"the charge of {charge.ref_type} {charge.ref_id}"
        for nanos in (charge.held_nanos, charge.refunded_nanos, charge.overage_nanos, charge.billed_nanos):
            in_range(nanos, what)
        key = charge[:3]
        self.charges[key] = charge
        self.changed_charges.add(key)

    def put_hold(self, key: ChargeKey, hold: HoldRow) -> None:
        self.holds[key] = hold
        self.changed_holds[hold.hold_seq] = hold

    def key(self, ref: Ref) -> ChargeKey:
        return self.account.id, ref.type.value, ref.id


def _source(writer: Writer, kind: TransactionType) -> TransactionSource:
    source = SOURCE_BY_WRITER[writer.kind].get(kind)
    if source is None:
        msg = f"a {writer.kind} must not write {kind} rows"
        raise Forbidden(msg)
    return source


def _check_ref(ref: Ref) -> None:
    checked_text(ref.id, "refId", MAX_REF_ID)


def _check_entry(entry: Entry, head_seq: int) -> None:
    checked_text(entry.description, "description", MAX_DESCRIPTION)
    in_range(entry.amount_nanos, "the amount")
    if entry.amount_nanos == 0:
        raise BadUserInput("the amount must not be zero")
    if SIGN[entry.type] * entry.amount_nanos < 0:
        wanted = "positive" if SIGN[entry.type] > 0 else "negative"
        msg = f"the amount of a {entry.type} row must be {wanted}, not {format_nanos(entry.amount_nanos)}"
        raise BadUserInput(msg)
    if entry.period is not None:
        _check_period(entry.period)
    if entry.corrects_seq is not None and not 1 <= entry.corrects_seq <= head_seq:
        raise NotFound("the row to correct does not exist")


def _check_moment(moment: datetime, what: str) -> None:
    # In the years at either end of the calendar a moment of another zone may have no time in UTC.
    if moment.tzinfo is None or not MINYEAR < moment.year < MAXYEAR:
        msg = f"{what} must carry its zone, and lie in the years {MINYEAR + 1} to {MAXYEAR - 1}"
        raise BadUserInput(msg)


def _check_period(period: Period) -> None:
    _check_moment(period.start, "the period's start")
    _check_moment(period.end, "the period's end")
    if period.end < period.start:
        raise BadUserInput("the period must not end before it starts")


def _check_used(used_nanos: int) -> None:
    if used_nanos < 0:
        raise BadUserInput("what was used must not be negative")
    in_range(used_nanos, "what was used")


def _describe(ref: Ref) -> str:
    return f"{ref.type.value.upper()} {ref.id}"


def _enter(book: _Book, writer: Writer, entry: Entry) -> None:
    if entry.ref is not None and entry.ref.type in HOLDABLE:
        msg = f"rows of {_describe(entry.ref)} come from its hold: open, renew or settle it"
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


def _check_hold(move: OpenHold | RenewHold) -> None:
    if move.ref.type not in HOLDABLE:
        msg = f"{move.ref.type.value.upper()} is not paid by holds"
        raise BadUserInput(msg)
    if move.amount_nanos <= 0:
        raise BadUserInput("the amount of a hold must be positive")
    if move.description is not None:
        checked_text(move.description, "description", MAX_DESCRIPTION)
    if move.period is not None:
        _check_period(move.period)


def _hold(book: _Book, writer: Writer, move: OpenHold | RenewHold, period: Period, cycle: int) -> None:
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


def _open_hold(book: _Book, writer: Writer, move: OpenHold) -> None:
    _check_hold(move)
    if book.account.status == AccountStatus.SUSPENDED:
        msg = f"{account_id_text(book.account.id)} is suspended: it can open no hold"
        raise InsufficientBalance(msg)
    if book.key(move.ref) in book.charges:
        msg = f"{_describe(move.ref)} has been held already"
        raise Conflict(msg)
    if book.head.balance_nanos < move.amount_nanos:
        msg = (
            f"the balance of {format_nanos(book.head.balance_nanos)} does not cover"
            f" the hold of {format_nanos(move.amount_nanos)}"
        )
        raise InsufficientBalance(msg)
    _hold(book, writer, move, move.period, cycle=1)


def _hold_to_settle(book: _Book, ref: Ref) -> HoldRow:
    hold = book.holds.get(book.key(ref))
    if hold is None:
        msg = f"{_describe(ref)} has no hold"
        raise NotFound(msg)
    if hold.state == ChargeState.SETTLED:
        msg = f"the hold of {_describe(ref)} is settled already"
        raise Conflict(msg)
    return hold


def _used_period(hold: HoldRow, ended_at: datetime) -> Period:
    """The time that was used: it may outlast a GPU instance's hold, but never an inference instance's cycle."""
    if hold.ref_type == RefType.INFERENCE_INSTANCE:
        ended_at = min(ended_at, hold.period_end)
    return Period(hold.period_start, max(hold.period_start, ended_at))


def _settle(book: _Book, writer: Writer, hold: HoldRow, settlement: SettleHold) -> None:
    """Posts what was used against what was held, and closes the hold, but not yet its charge."""
    # However it comes out: even writes no row, and a refund by the webhook would be one of Stripe.
    _source(writer, TransactionType.GPU_USAGE)
    if settlement.ended_at is not None:
        _check_moment(settlement.ended_at, "the end")
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
        checked_text(description, "description", MAX_DESCRIPTION)
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
    book: _Book,
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


def _close_charge(book: _Book, key: ChargeKey, state: ChargeState) -> None:
    book.put_charge(book.charges[key]._replace(state=state.value, closed_at=book.now))


def _settle_hold(book: _Book, writer: Writer, move: SettleHold) -> None:
    _check_used(move.used_nanos)
    hold = _hold_to_settle(book, move.ref)
    _settle(book, writer, hold, move)
    _close_charge(book, book.key(move.ref), ChargeState.SETTLED)


def _renew_hold(book: _Book, writer: Writer, move: RenewHold) -> bool:
    """Whether the instance is to be stopped, since its next cycle could not be paid."""
    if move.ref.type != RefType.INFERENCE_INSTANCE:
        raise BadUserInput("only an INFERENCE_INSTANCE is held cycle by cycle")
    _check_used(move.used_nanos)
    _check_hold(move)
    hold = _hold_to_settle(book, move.ref)
    if hold.state == ChargeState.EXPIRED:
        msg = f"the hold of {_describe(move.ref)} has expired: settle it"
        raise Conflict(msg)
    after_settlement = book.head.balance_nanos + hold.held_nanos - move.used_nanos
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


def _expire_hold(book: _Book, move: ExpireHold) -> None:
    hold = _hold_to_settle(book, move.ref)
    if hold.state != ChargeState.OPEN:
        msg = f"the hold of {_describe(move.ref)} has expired already"
        raise Conflict(msg)
    key = book.key(move.ref)
    _close_hold(book, key, hold._replace(expired_at=book.now), ChargeState.EXPIRED, hold.held_nanos, None)
    _close_charge(book, key, ChargeState.EXPIRED)


def _end_charge(book: _Book, move: EndCharge) -> None:
    if move.ref.type in HOLDABLE:
        msg = f"{_describe(move.ref)} is paid by holds: settle it"
        raise BadUserInput(msg)
    # What never cost anything has no charge.
    if book.key(move.ref) in book.charges:
        _close_charge(book, book.key(move.ref), ChargeState.SETTLED)


def _apply(book: _Book, writer: Writer, move: Move) -> bool:
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


def _call_key(order: Order) -> CallKey | None:
    if order.idempotency_key is None:
        return None
    checked_text(order.idempotency_key, "idempotencyKey", MAX_KEY)
    return order.account_id, order.operation, order.idempotency_key


async def _replayed(
    connection: WriteConnection | None, order: Order, call: IdempotencyRow, written: Sequence[TransactionRow]
) -> Outcome:
    if call.payload_digest != order.payload_digest():
        msg = f"the idempotency key was used for another {order.operation} call with another payload"
        raise IdempotencyConflict(msg)
    rows = [row for row in written if call.first_seq <= row.seq <= call.last_seq]
    if not rows and call.first_seq <= call.last_seq:
        assert connection is not None
        rows = await writes.rows_between(connection, order.account_id, call.first_seq, call.last_seq)
    return Outcome(
        order.account_id, tuple(rows), call.balance_nanos, replayed=True, to_stop=call.to_stop, result=call.result
    )


def _carry_out(book: _Book, order: Order, moment: datetime) -> Outcome:
    book.begin(moment)
    before = len(book.rows)
    to_stop = False
    for move in order.moves:
        to_stop |= _apply(book, order.writer, move)
    rows = tuple(book.rows[before:])
    return Outcome(
        order.account_id, rows, book.head.balance_nanos, replayed=False, to_stop=to_stop, result=order.result
    )


def _remembered(key: CallKey, order: Order, outcome: Outcome, book: _Book) -> IdempotencyRow:
    last_seq = book.head.head_seq
    return IdempotencyRow(
        *key,
        payload_digest=order.payload_digest(),
        first_seq=last_seq - len(outcome.transactions) + 1,
        last_seq=last_seq,
        balance_nanos=outcome.balance_nanos,
        to_stop=outcome.to_stop,
        created_at=book.now,
        result=outcome.result,
    )


def _books_of(opened: Opened, orders: Sequence[Order]) -> dict[int, _Book]:
    """Raises NotFound."""
    for order in orders:
        if order.account_id not in opened.accounts:
            msg = f"there is no account {account_id_text(order.account_id)}"
            raise NotFound(msg)
    books = {account.id: _Book(account) for account in opened.accounts.values()}
    for key, charge in opened.charges.items():
        books[key[0]].charges[key] = charge
    for key, hold in opened.holds.items():
        books[key[0]].holds[key] = hold
    return books


def _kept(books: Iterable[_Book], calls: Sequence[IdempotencyRow]) -> Kept:
    books = list(books)
    called = {call.account_id for call in calls}
    return Kept(
        heads=[book.head for book in books if book.has_changed or book.account.id in called],
        rows=[row for book in books for row in book.rows],
        charges=[book.charges[key] for book in books for key in sorted(book.changed_charges)],
        holds=[hold for book in books for _, hold in sorted(book.changed_holds.items())],
        months=sorted(_sum_by_month(one for book in books for one in book.increments)),
        calls=calls,
    )


def _check_size(orders: Sequence[Order]) -> None:
    """What else a call was given may come to no moves at all: usage that costs nothing."""
    moves = sum(len(order.moves) for order in orders)
    if moves > MAX_MOVES or not (moves or any(order.payload for order in orders)):
        msg = f"a call must have 1 to {MAX_MOVES} moves, not {moves}"
        raise BadUserInput(msg)


class _Posting:
    """What some orders come to, from what their accounts are found to be."""

    def __init__(self, orders: Sequence[Order], clock: Clock) -> None:
        """Raises BadUserInput."""
        _check_size(orders)
        self._orders = orders
        self._clock = clock
        self.account_ids = {order.account_id for order in orders}
        self.calls = {key for order in orders if (key := _call_key(order))}
        refs = [(order.account_id, move.ref) for order in orders for move in order.moves if move.ref is not None]
        for _, ref in refs:
            _check_ref(ref)
        self.charges = {(account_id, ref.type.value, ref.id) for account_id, ref in refs if ref.type in RESOURCES}

    def knows_a_call(self, opened: Opened) -> bool:
        return not self.calls.isdisjoint(opened.calls)

    async def carried_out(
        self, opened: Opened, connection: WriteConnection | None = None
    ) -> tuple[list[Outcome], Kept]:
        """The connection is for calls that were made before, whose rows have to be read."""
        books = _books_of(opened, self._orders)
        calls = dict(opened.calls)
        new_calls: list[IdempotencyRow] = []
        outcomes: list[Outcome] = []
        for order in self._orders:
            book, key = books[order.account_id], _call_key(order)
            if key and key in calls:
                outcomes.append(await _replayed(connection, order, calls[key], book.rows))
                continue
            outcome = _carry_out(book, order, self._clock())
            outcomes.append(outcome)
            if key:
                calls[key] = _remembered(key, order, outcome, book)
                new_calls.append(calls[key])
        return outcomes, _kept(books.values(), new_calls)


async def post(connection: WriteConnection, orders: Sequence[Order], clock: Clock = utc_now) -> list[Outcome]:
    """Carries out the orders in their sequence; the outcomes stand in the same sequence.

    Raises Forbidden, BadUserInput, NotFound, Conflict, IdempotencyConflict or InsufficientBalance. The caller's
    transaction must then be rolled back: `Ledger.post` does.
    """
    posting = _Posting(orders, clock)
    opened = await open_locked(connection, posting.account_ids, posting.calls, posting.charges)
    outcomes, kept = await posting.carried_out(opened, connection)
    await keep_locked(connection, opened, kept)
    return outcomes


class _Turns:
    """Calls of this process on the same account go one after the other: they would only be in each other's way."""

    def __init__(self) -> None:
        self._locks: dict[int, asyncio.Lock] = {}
        self._calls: Counter[int] = Counter()

    @asynccontextmanager
    async def taken(self, account_ids: Collection[int]) -> AsyncIterator[None]:
        async with AsyncExitStack() as turns:
            for account_id in sorted(account_ids):
                self._calls[account_id] += 1
                turns.callback(self._leave, account_id)
                await turns.enter_async_context(self._locks.setdefault(account_id, asyncio.Lock()))
            yield

    def _leave(self, account_id: int) -> None:
        self._calls[account_id] -= 1
        if not self._calls[account_id]:
            del self._calls[account_id], self._locks[account_id]


class LedgerTransaction:
    """The ledger within one transaction of the database."""

    def __init__(self, connection: WriteConnection, clock: Clock) -> None:
        self.connection = connection
        self.clock = clock

    def snapshot(self) -> Snapshot:
        """Reads what was done so far. Where it has a `failure` afterwards, the transaction must not be kept."""
        return Database.snapshot_within(self.connection)

    async def post(self, *orders: Order) -> list[Outcome]:
        """As `post` above; whatever it raises, the transaction must be rolled back."""
        return await post(self.connection, orders, self.clock)


Work = Callable[[LedgerTransaction], Awaitable[Result]]


class Ledger:
    """Posts in transactions of its own."""

    def __init__(self, database: Database, clock: Clock = utc_now) -> None:
        self._database = database
        self._clock = clock
        self._turns = _Turns()

    async def post(self, *orders: Order) -> list[Outcome]:
        if self._database.is_postgresql:
            outcomes = await self._post_unlocked(_Posting(orders, self._clock))
            if outcomes is not None:
                return outcomes
        return await self.within(lambda transaction: transaction.post(*orders))

    async def _post_unlocked(self, posting: _Posting) -> list[Outcome] | None:
        """By two statements and no transaction around them; None where somebody was in the way, or a call is known."""
        refusal: BillingError | None = None
        async with self._turns.taken(posting.account_ids):
            with translated():
                async with self._database.lent() as connection:
                    opened = await open_unlocked(connection, posting.account_ids, posting.calls, posting.charges)
                    if posting.knows_a_call(opened):
                        return None
                    try:
                        outcomes, kept = await posting.carried_out(opened)
                    except BillingError as error:
                        # Raised when the connection was given back: an error that leaves it closes it.
                        refusal = error
                    else:
                        if not await keep_unlocked(connection, opened, kept):
                            return None
        if refusal is not None:
            raise refusal
        self._database.changes.announce(kept.posted_accounts)
        return outcomes

    async def within(self, work: Work[Result]) -> Result:
        """What the work came to, committed. It must do nothing outside the transaction: it may be begun again."""
        async with self.left_open(work) as (_, result):
            return result

    @asynccontextmanager
    async def left_open(self, work: Work[Result]) -> AsyncIterator[tuple[LedgerTransaction, Result]]:
        """Does the work and leaves its transaction open for the block to read in; committed at the block's end.

        Work that another transaction was in the way of is begun anew, up to `MAX_TRIES` times in all; what the block
        raises is not.
        """
        async with AsyncExitStack() as ends:
            yield await self._begun(work, ends)

    async def _begun(self, work: Work[Result], ends: AsyncExitStack) -> tuple[LedgerTransaction, Result]:
        tries = 1
        while True:
            try:
                async with AsyncExitStack() as attempt:
                    connection = await attempt.enter_async_context(self._database.write())
                    transaction = LedgerTransaction(connection, self._clock)
                    result = await work(transaction)
                    ends.push_async_exit(attempt.pop_all())
                    return transaction, result
            except TransactionConflict:
                if tries == MAX_TRIES:
                    raise
            tries += 1
            await asyncio.sleep(uniform(0, _LONGEST_PAUSE_SECONDS))  # noqa: S311  so that two don't meet again
