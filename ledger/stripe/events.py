"""Stripe events: each event is recorded once, then applied, ignored, or kept until a later try or a person settles
it.

In a set of shards, all events come to shard 0. It records the shard of each event, and that shard records and applies
the event. Until a shard knows what the event names, shard 0 keeps it. If the event's account was moved, the event is
assigned to the account's new shard, unless it is done. A crash can leave an event on two shards: the worker of the one
that no longer has it then removes it there.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from db import accounts, stripe_customers, stripe_events
from db import stripe_directory as directory
from db.database import Database, WriteConnection
from db.errors import AccountMoved, DatabaseError
from db.moved_accounts import MAX_TRIES
from db.rows import AccountRow
from db.shards import account_shard, databases_of, found_account, number_of, place_of, shard_numbered
from db.stripe_events import StripeEventRow
from ledger.accounts import locked_account
from ledger.audit import COMMAND_LINE, Actor, AuditedAction, note
from ledger.errors import BillingError, Conflict, NotFound
from ledger.posting import Clock, Ledger, LedgerTransaction, Work, utc_now
from ledger.stripe.credits import apply
from ledger.stripe.notices import Event, Nothing, Notice, Recharge, notice_of, read_event
from ledger.stripe.places import (
    ShardAway,
    claim_customer,
    customer_of,
    find_shard,
    has_account_of,
    linked_already,
    on_its_way,
    payer_of,
    payment_of,
    read_owner_elsewhere,
    shard_that_keeps,
    waits_for_its_shard,
)
from ledger.stripe.shapes import UnexpectedShape, id_of
from ledger.stripe.verdicts import Applied, Ignored, NeedsAttention, Verdict, Waiting
from ledger.texts import REASON, STRIPE_ID

FIRST_RETRY: Final = timedelta(minutes=1)
LAST_RETRY: Final = timedelta(hours=6)
"""Maximum time between two tries. The time doubles with each try."""

PATIENCE: Final = timedelta(days=1)
"""How long an event may wait before it needs a person."""


class EventState(StrEnum):
    APPLIED = "applied"
    IGNORED = "ignored"
    WAITING = "waiting"
    NEEDS_ATTENTION = "needs_attention"


OPEN: Final = frozenset({EventState.WAITING, EventState.NEEDS_ATTENTION})
"""States of events whose payload is kept, and that an operator can dismiss."""


@dataclass(frozen=True, slots=True)
class Receipt:
    state: EventState
    reason: str | None
    is_repeated: bool = False
    event_id: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class _Assigned:
    """The event belongs to a shard of the set."""

    number: int
    kept: StripeEventRow | None
    """The event as this shard has kept it, which may be another one."""


@dataclass(frozen=True, slots=True)
class _Left:
    """The account of the event is not on the shard that was tried."""

    kept: StripeEventRow | None
    """The event as that shard has kept it."""


_Settled = tuple[StripeEventRow, Verdict | None]
"""An event after a try, and what was found; None if the event was not tried again."""


def retry_at(attempts: int, now: datetime) -> datetime:
    return now + min(FIRST_RETRY * float(2 ** min(attempts, 20)), LAST_RETRY)


def settled(row: StripeEventRow, verdict: Verdict, now: datetime) -> StripeEventRow:
    """Returns the event after a try."""
    tried = row._replace(waits_for=None, retry_at=None, reason=None, attempts=row.attempts + 1)
    match verdict:
        case Applied(doubt=None):
            return tried._replace(state=EventState.APPLIED.value, account_id=verdict.account_id, payload=None)
        case Applied():
            return _for_a_person(tried, verdict.doubt, verdict.account_id)
        case Ignored():
            return tried._replace(state=EventState.IGNORED.value, reason=verdict.reason, payload=None)
        case NeedsAttention():
            told = _for_a_person(tried, verdict.reason, verdict.account_id)
            return told._replace(retry_at=retry_at(row.attempts, now)) if verdict.is_retried else told
        case Waiting():  # pragma: no branch  the last kind
            return _waiting(tried, verdict, now)


def _for_a_person(tried: StripeEventRow, reason: str | None, account_id: int | None) -> StripeEventRow:
    return tried._replace(state=EventState.NEEDS_ATTENTION.value, reason=reason, account_id=account_id)


def _waiting(tried: StripeEventRow, verdict: Waiting, now: datetime) -> StripeEventRow:
    is_late = not verdict.is_harmless and now >= tried.received_at + PATIENCE
    return tried._replace(
        state=(EventState.NEEDS_ATTENTION if is_late else EventState.WAITING).value,
        reason=verdict.reason,
        waits_for=verdict.waits_for,
        account_id=verdict.account_id,
        retry_at=retry_at(tried.attempts - 1, now),
    )


def _can_be_tried(row: StripeEventRow) -> bool:
    return row.state in OPEN and row.retry_at is not None


async def link_customer(transaction: LedgerTransaction, account_id: int, customer: str, actor: Actor) -> AccountRow:
    """Links a Stripe customer to the account and makes the events that wait for the customer due. Returns the account.

    In a set of shards, the customer must have been claimed (`claim_before_link`). Raises NotFound, and Conflict if the
    customer belongs to another account.
    """
    STRIPE_ID.checked(customer, "the customer")
    account = await locked_account(transaction, account_id)
    now = transaction.clock()
    linked = await stripe_customers.link_customer(transaction.connection, customer, account_id, now, ask_at=now)
    if linked != account_id:
        raise Conflict(linked_already(customer, linked))
    await stripe_events.make_due(transaction.connection, customer, now)
    entry = AuditedAction("linkStripeCustomer", actor, account_id, description=customer, new_value=customer)
    await note(transaction, entry)
    return account


async def claim_before_link(
    ledger: Ledger, home: Database, account_id: int, customer: str, check: Work[object] | None = None
) -> None:
    """Makes the customer the account's in the set. `ledger` is that of shard 0, `home` the account's database, and
    `check` may refuse in the transaction. Raises BadUserInput, and Conflict as `link_customer` does.

    Does nothing if there is no such account: `link_customer` refuses it.
    """

    async def work(transaction: LedgerTransaction) -> None:
        if check is not None:
            await check(transaction)
        await claim_customer(transaction, customer, account_id)

    STRIPE_ID.checked(customer, "the customer")
    if await accounts.has_account(home, account_id):
        await ledger.within(work)


async def dismiss_event(transaction: LedgerTransaction, event_id: str, reason: str, actor: Actor) -> StripeEventRow:
    """Ends an open event by an operator's decision. Raises BadUserInput, NotFound, and Conflict if it is not open."""
    STRIPE_ID.checked(event_id, "eventId")
    REASON.checked(reason, "reason")
    if await _locked_in_set(transaction.connection, event_id):
        raise Conflict(on_its_way(event_id))
    row = await stripe_events.locked(transaction.connection, event_id)
    if row is None:
        raise NotFound("there is no such event")
    if row.state not in OPEN:
        msg = f"the event {event_id} is already {row.state}"
        raise Conflict(msg)
    row = settled(row, Ignored(f"dismissed: {reason}"), transaction.clock())
    await stripe_events.put(transaction.connection, row)
    await note(transaction, AuditedAction("dismissStripeEvent", actor, description=f"{event_id}: {reason}"))
    return row


async def _locked_in_set(connection: WriteConnection, event_id: str) -> int | None:
    """Locks the event for the whole set, if the transaction is on its shard 0. Returns the event's shard, if it has
    one."""
    place = place_of(connection)
    return await directory.lock_event(connection, event_id) if place is not None and place.number == 0 else None


class StripeEvents:
    def __init__(
        self, database: Database, ledger: Ledger, *, livemode: bool | None = None, clock: Clock = utc_now
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._livemode = livemode
        """Whether real money moves; None if the key does not tell. Events of the other mode are ignored."""
        self._clock = clock

    def read(self, event: Event) -> Notice:
        """Reads the event. Raises UnexpectedShape, and BillingError for amounts that the ledger cannot store."""
        if self._livemode is not None and event.livemode != self._livemode:
            return Nothing(
                "the event is from Stripe's test mode" if self._livemode else "the event is from Stripe's live mode"
            )
        return notice_of(event)

    async def receive(self, body: str) -> Receipt:
        """Receives an event whose signature was checked. Returns its state. Raises BadUserInput if the body is not an
        event."""
        event = read_event(body)
        now = self._clock()
        new = StripeEventRow(
            id=event.id,
            type=event.type,
            created_at=event.created_at,
            received_at=now,
            state=EventState.WAITING.value,
            reason=None,
            account_id=None,
            waits_for=None,
            payload=body,
            attempts=0,
            retry_at=now,
            object_id=id_of(event.object, "id"),
        )
        return await self.settle(new, event)

    def of_shard(self, number: int) -> StripeEvents:
        """Returns the events of a shard of the same set. Without a set, these."""
        database = shard_numbered(self._database, number)
        if database is self._database:
            return self
        return StripeEvents(database, self._ledger.of_shard(number), livemode=self._livemode, clock=self._clock)

    async def retry(self, event_id: str, notice: Notice | None = None) -> Receipt | None:
        """Tries an event again, with the notice if more was learned. Returns None if the event must not be tried."""
        async with self._database.write() as connection:
            row = await stripe_events.locked(connection, event_id)
        if row is None or row.payload is None or not _can_be_tried(row):
            return None
        return await self.settle(row, read_event(row.payload), notice)

    async def settle(self, new: StripeEventRow, event: Event, notice: Notice | None = None) -> Receipt:
        """Records the event if it is new, and tries it, with the notice if more was learned."""
        notice = notice or self._readable(event)
        try:
            placed = await self._place(new, event, notice)
            if isinstance(placed, _Assigned):
                return await self._settle_in_set(new, placed, event, notice)
        except (ShardAway, AccountMoved) as away:
            return await self._receipt(await self._recorded(new, Waiting(str(away))), Ignored(""))
        except BillingError as refusal:
            return await self._refused(new, refusal)
        return await self._receipt(*placed)

    async def _receipt(self, row: StripeEventRow, verdict: Verdict | None) -> Receipt:
        if isinstance(verdict, Applied) and verdict.payment_intent is not None:
            await self.retry_waiting_for(verdict.payment_intent)
        return Receipt(EventState(row.state), row.reason, verdict is None, row.id)

    async def _refused(self, new: StripeEventRow, refusal: BillingError) -> Receipt:
        """Records an event that the ledger refused: the transaction was rolled back."""
        row = await self._recorded(new, NeedsAttention(str(refusal), is_retried=True))
        return await self._receipt(row, Ignored(""))

    def _readable(self, event: Event) -> Notice | None:
        """Returns the notice; None for an event that cannot be read, which `_verdict` then says why."""
        try:
            return self.read(event)
        except (UnexpectedShape, BillingError):
            return None

    async def _place(self, new: StripeEventRow, event: Event, notice: Notice | None) -> _Settled | _Assigned:
        """Returns the shard of the event. Settles the event without a set, if its shard is 0, or if no shard knows what
        it names."""
        if self._database.place is None:
            return await self._ledger.within(lambda transaction: self._settled(transaction, new, event, notice))
        if number_of(self._database) > 0:
            return _Assigned(await self._number_of(new.id), new)
        known = await self._shard_of_payment(notice)
        notice = await self._with_owner(notice)

        async def settle(transaction: LedgerTransaction) -> _Settled | _Assigned:
            connection = transaction.connection
            number = await directory.lock_event(connection, new.id)
            kept = await stripe_events.locked(connection, new.id)
            if kept is not None and not _can_be_tried(kept) and not number:
                return kept, None
            if number is None:
                number = await self._shard_of_customer(connection, notice) if known is None else known
                if number is None:
                    return await self._settled(transaction, new, event, notice, waits_for_its_shard(notice))
                await directory.assign_event(connection, new.id, number)
            if number == 0 and await has_account_of(connection, notice):
                return await self._settled(transaction, new, event, notice)
            return _Assigned(number, kept)

        return await self._ledger.within(settle)

    async def _number_of(self, event_id: str) -> int:
        """Returns the event's shard, of an event that this shard has kept. Raises ShardAway."""
        try:
            number = await directory.read_event_shard(shard_numbered(self._database, 0), event_id)
        except DatabaseError as error:
            raise ShardAway(0, error) from error
        return number_of(self._database) if number is None else number

    async def _shard_of_payment(self, notice: Notice | None) -> int | None:
        """Returns the shard of the notice's payment, as far as is known. Raises ShardAway."""
        names = None if notice is None else payment_of(notice)
        payer = None if names is None else await payer_of(databases_of(self._database), names)
        if payer is None or payer.account_id is None:
            return None if payer is None else payer.number
        return number_of(account_shard(self._database, payer.account_id))

    async def _shard_of_customer(self, connection: WriteConnection, notice: Notice | None) -> int | None:
        customer = None if notice is None else customer_of(notice)
        owner = None if customer is None else await directory.owner_of_customer(connection, customer)
        return None if owner is None else number_of(account_shard(self._database, owner))

    async def _settle_in_set(
        self, new: StripeEventRow, placed: _Assigned, event: Event, notice: Notice | None
    ) -> Receipt:
        """Settles the event on its shard, or on the one that its account was moved to. Then removes it from the shards
        that kept it before. Raises ShardAway, and AccountMoved if the account is moved again and again."""
        number, kept = placed.number, placed.kept
        before = set() if kept is None else {number_of(self._database)}
        row, is_found = kept or new, False
        for _ in range(MAX_TRIES):  # pragma: no branch  a move takes longer than a try
            shard = self.of_shard(number)
            found = await self._settled_on(shard, row._replace(account_id=None), event, notice, is_found=is_found)
            if isinstance(found, Receipt):
                for other in before - {number}:
                    await self._remove_left(new.id, other)
                return found
            if found.kept is not None:
                before.add(number)
                row = found.kept
            assigned = await self._assigned_anew(new.id, number, notice)
            number, is_found = assigned, assigned == number
        raise AccountMoved("the account was moved each time the event was tried")  # pragma: no cover  see above

    async def _settled_on(
        self, shard: StripeEvents, row: StripeEventRow, event: Event, notice: Notice | None, *, is_found: bool
    ) -> Receipt | _Left:
        try:
            return await shard._try(row, event, notice, is_found=is_found)
        except DatabaseError as error:
            if shard is self or isinstance(error, ShardAway):
                raise
            raise ShardAway(number_of(shard._database), error) from error

    async def _try(
        self, new: StripeEventRow, event: Event, notice: Notice | None, *, is_found: bool
    ) -> Receipt | _Left:
        """Settles the event, if its account is on this shard. `is_found` says that no shard is known to have it, or
        that this one is."""
        notice = await self._with_owner(notice)

        async def settle(transaction: LedgerTransaction) -> _Settled | _Left:
            kept = await stripe_events.locked(transaction.connection, new.id)
            if kept is not None and not _can_be_tried(kept):
                return kept, None
            is_here = await has_account_of(transaction.connection, notice)
            if is_here is None and is_found:
                return await self._settled(transaction, new, event, notice, waits_for_its_shard(notice))
            return await self._settled(transaction, new, event, notice) if is_here else _Left(kept)

        try:
            found = await self._ledger.within(settle)
        except BillingError as refusal:
            return await self._refused(new, refusal)
        return found if isinstance(found, _Left) else await self._receipt(*found)

    async def _assigned_anew(self, event_id: str, number: int, notice: Notice | None) -> int:
        """Assigns an event, whose account is not on the shard with this number, to the one that the account is on.
        Returns the event's shard, which is the same one if no other is known. Raises ShardAway."""
        first = shard_numbered(self._database, 0)
        assert notice is not None
        target = await find_shard(first, notice)
        try:
            async with first.write() as connection:
                current = await directory.lock_event(connection, event_id)
                if current != number or target is None:
                    return number if current is None else current
                await directory.assign_event(connection, event_id, target)
                return target
        except DatabaseError as error:
            raise ShardAway(0, error) from error

    async def _remove_left(self, event_id: str, number: int) -> None:
        """Removes the event from the shard with this number, unless it was assigned to that shard again."""
        async with shard_numbered(self._database, number).write() as connection:
            # An event is locked on its shard only after it was assigned: the lock comes before the question.
            if await stripe_events.locked(connection, event_id) is None:
                return
            if await directory.read_event_shard(shard_numbered(self._database, 0), event_id) != number:
                await stripe_events.remove(connection, event_id)

    async def _with_owner(self, notice: Notice | None) -> Notice | None:
        if not isinstance(notice, Recharge) or notice.customer is None:
            return notice
        return replace(notice, customer_elsewhere=await read_owner_elsewhere(self._database, notice.customer))

    async def _settled(
        self,
        transaction: LedgerTransaction,
        new: StripeEventRow,
        event: Event,
        notice: Notice | None,
        verdict: Verdict | None = None,
    ) -> _Settled:
        """Records the event if it is new, and tries it, unless the verdict is given."""
        row = await stripe_events.received(transaction.connection, new)
        if not _can_be_tried(row):
            return row, None
        if verdict is None:
            verdict = await self._verdict(transaction, event, row, notice)
        row = settled(row, verdict, self._clock())
        await stripe_events.put(transaction.connection, row)
        return row, verdict

    async def _verdict(
        self, transaction: LedgerTransaction, event: Event, row: StripeEventRow, notice: Notice | None
    ) -> Verdict:
        try:
            notice = notice or self.read(event)
        except UnexpectedShape as shape:
            return NeedsAttention(str(shape), is_retried=True)
        verdict = await apply(transaction, notice, row.received_at, self._clock())
        if isinstance(verdict, NeedsAttention) and row.object_id is not None:
            other = await stripe_events.other_needing_attention(transaction.connection, row.object_id, row.id)
            return verdict if other is None else Ignored(f"{other} already reported it: {verdict.reason}")
        return verdict

    async def _recorded(self, new: StripeEventRow, verdict: Verdict) -> StripeEventRow:
        async with self._database.write() as connection:
            row = await stripe_events.received(connection, new)
            if _can_be_tried(row):
                row = settled(row, verdict, self._clock())
                await stripe_events.put(connection, row)
            return row

    async def retry_waiting_for(self, name: str) -> int:
        """Tries the events that wait for this customer or payment, here and on shard 0, one after the other. Returns
        how many."""
        count, first = await self.retry_kept_for(name), self.of_shard(0)
        if first is not self:
            # If shard 0 is away, its worker tries them later.
            with contextlib.suppress(DatabaseError):
                count += await first.retry_kept_for(name)
        return count

    async def retry_kept_for(self, name: str) -> int:
        """Does the same on this shard only."""
        event_ids = await stripe_events.waiting_for(self._database, name)
        for event_id in event_ids:
            await self.retry(event_id)
        return len(event_ids)

    async def link(self, account_id: int, customer: str, actor: Actor = COMMAND_LINE) -> int:
        """Links the customer as `link_customer` does, and tries the events that waited for it. Returns how many."""

        async def work(transaction: LedgerTransaction) -> None:
            await link_customer(transaction, account_id, customer, actor)

        database = await found_account(self._database, account_id)
        number = number_of(database)
        if database.place is not None:
            await claim_before_link(self._ledger.of_shard(0), database, account_id, customer)
        await self._ledger.of_shard(number).within(work)
        return await self.of_shard(number).retry_waiting_for(customer)

    async def dismiss(self, event_id: str, reason: str, actor: Actor = COMMAND_LINE) -> StripeEventRow:
        number = await shard_that_keeps(shard_numbered(self._database, 0), event_id)
        ledger = self._ledger.of_shard(number)
        return await ledger.within(lambda transaction: dismiss_event(transaction, event_id, reason, actor))
