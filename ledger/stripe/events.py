"""Stripe events: each event is recorded once, then applied, ignored, or kept until a later try or a person settles
it.

In a set of shards, all events come to shard 0. It records the shard of each event, which never changes, and that shard
records and applies the event. Until a shard knows what the event names, shard 0 keeps it. A crash can leave an event
on both: the worker of shard 0 then removes it there.
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
from db.errors import DatabaseError
from db.rows import AccountRow
from db.shards import account_shard, databases_of, found_account, place_of, shard_numbered
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
    linked_already,
    on_its_way,
    payment_of,
    read_owner_elsewhere,
    shard_that_keeps,
    shard_that_knows,
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
class _Elsewhere:
    """The event belongs to another shard than the first."""

    number: int
    row: StripeEventRow | None
    """The event as shard 0 has kept it."""


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
            found = await (self._place(new, event, notice) if self._is_first_of_set else self._try(new, event, notice))
            if isinstance(found, _Elsewhere):
                return await self._hand_over(new, found, event, notice)
            row, verdict = found
        except ShardAway as away:
            row, verdict = await self._recorded(new, Waiting(str(away))), Ignored("")
        except BillingError as refusal:
            # The ledger refused and the transaction was rolled back, but the event must be recorded.
            row, verdict = await self._recorded(new, NeedsAttention(str(refusal), is_retried=True)), Ignored("")
        if isinstance(verdict, Applied) and verdict.payment_intent is not None:
            await self.retry_waiting_for(verdict.payment_intent)
        return Receipt(EventState(row.state), row.reason, verdict is None, event.id)

    def _readable(self, event: Event) -> Notice | None:
        """Returns the notice; None for an event that cannot be read, which `_verdict` then says why."""
        try:
            return self.read(event)
        except (UnexpectedShape, BillingError):
            return None

    @property
    def _is_first_of_set(self) -> bool:
        place = self._database.place
        return place is not None and place.number == 0

    async def _place(self, new: StripeEventRow, event: Event, notice: Notice | None) -> _Settled | _Elsewhere:
        """Finds the shard of the event. Settles it if that is shard 0, or if no shard knows what the event names."""
        names = None if notice is None else payment_of(notice)
        known = None if names is None else await shard_that_knows(databases_of(self._database), names)
        notice = await self._with_owner(notice)

        async def settle(transaction: LedgerTransaction) -> _Settled | _Elsewhere:
            connection = transaction.connection
            number = await directory.lock_event(connection, new.id)
            kept = await stripe_events.locked(connection, new.id)
            if number is None:
                if kept is not None and not _can_be_tried(kept):
                    return kept, None
                number = await self._shard_of_customer(connection, notice) if known is None else known
                if number is None:
                    return await self._settled(transaction, new, event, notice, waits_for_its_shard(notice))
                await directory.assign_event(connection, new.id, number)
            if number > 0:
                return _Elsewhere(number, kept)
            return await self._settled(transaction, new, event, notice)

        return await self._ledger.within(settle)

    async def _shard_of_customer(self, connection: WriteConnection, notice: Notice | None) -> int | None:
        customer = None if notice is None else customer_of(notice)
        owner = None if customer is None else await directory.owner_of_customer(connection, customer)
        place = None if owner is None else account_shard(self._database, owner).place
        return None if place is None else place.number

    async def _hand_over(self, new: StripeEventRow, found: _Elsewhere, event: Event, notice: Notice | None) -> Receipt:
        """Settles the event on its shard, then removes it from shard 0. Raises ShardAway."""
        row = (found.row or new)._replace(account_id=None)
        try:
            receipt = await self.of_shard(found.number).settle(row, event, notice)
        except DatabaseError as error:
            raise ShardAway(found.number, error) from error
        if found.row is not None:
            async with self._database.write() as connection:
                await stripe_events.remove(connection, new.id)
        return receipt

    async def _try(self, new: StripeEventRow, event: Event, notice: Notice | None) -> _Settled:
        notice = await self._with_owner(notice)
        return await self._ledger.within(lambda transaction: self._settled(transaction, new, event, notice))

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
        number = 0 if database.place is None else database.place.number
        if database.place is not None:
            await claim_before_link(self._ledger.of_shard(0), database, account_id, customer)
        await self._ledger.of_shard(number).within(work)
        return await self.of_shard(number).retry_waiting_for(customer)

    async def dismiss(self, event_id: str, reason: str, actor: Actor = COMMAND_LINE) -> StripeEventRow:
        number = await shard_that_keeps(shard_numbered(self._database, 0), event_id)
        ledger = self._ledger.of_shard(number)
        return await ledger.within(lambda transaction: dismiss_event(transaction, event_id, reason, actor))
