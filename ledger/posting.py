"""The one way in which ledger rows are written.

What the accounts of a call are found to be is read (`db/posting.py`), its moves are carried out in memory
(`ledger/rules.py`) on a book for each account (`ledger/books.py`), and rows, heads, holds, charges and monthly figures
are kept: all of it or nothing.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from random import uniform
from typing import Final, TypeVar

from db import writes
from db.database import Database, WriteConnection
from db.errors import TransactionConflict, translated
from db.posting import Kept, Opened, keep_locked, keep_unlocked, open_locked, open_unlocked
from db.rows import IdempotencyRow, TransactionRow
from db.snapshots import Snapshot
from ledger.books import Book, check_ref, sum_by_month
from ledger.errors import (
    BadUserInput,
    BillingError,
    IdempotencyConflict,
    NotFound,
)
from ledger.ids import account_id_text
from ledger.kinds import (
    RESOURCES,
)
from ledger.moves import (
    MAX_KEY,
    Order,
    Outcome,
    checked_text,
)
from ledger.rules import apply

Clock = Callable[[], datetime]
CallKey = tuple[int, str, str]

MAX_MOVES: Final = 10_000

MAX_TRIES: Final = 3
_LONGEST_PAUSE_SECONDS: Final = 0.05


Result = TypeVar("Result")


def utc_now() -> datetime:
    return datetime.now(UTC)


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


def _carry_out(book: Book, order: Order, moment: datetime) -> Outcome:
    book.begin(moment)
    before = len(book.rows)
    to_stop = False
    for move in order.moves:
        to_stop |= apply(book, order.writer, move)
    rows = tuple(book.rows[before:])
    return Outcome(
        order.account_id, rows, book.head.balance_nanos, replayed=False, to_stop=to_stop, result=order.result
    )


def _remembered(key: CallKey, order: Order, outcome: Outcome, book: Book) -> IdempotencyRow:
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


def _books_of(opened: Opened, orders: Sequence[Order]) -> dict[int, Book]:
    """Raises NotFound."""
    for order in orders:
        if order.account_id not in opened.accounts:
            msg = f"there is no account {account_id_text(order.account_id)}"
            raise NotFound(msg)
    books = {account.id: Book(account) for account in opened.accounts.values()}
    for key, charge in opened.charges.items():
        books[key[0]].charges[key] = charge
    for key, hold in opened.holds.items():
        books[key[0]].holds[key] = hold
    return books


def _kept(books: Iterable[Book], calls: Sequence[IdempotencyRow]) -> Kept:
    books = list(books)
    called = {call.account_id for call in calls}
    return Kept(
        heads=[book.head for book in books if book.has_changed or book.account.id in called],
        rows=[row for book in books for row in book.rows],
        charges=[book.charges[key] for book in books for key in sorted(book.changed_charges)],
        holds=[hold for book in books for _, hold in sorted(book.changed_holds.items())],
        months=sorted(sum_by_month(one for book in books for one in book.increments)),
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
            check_ref(ref)
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
