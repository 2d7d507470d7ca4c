"""Stripe events: each event is recorded once, then applied, ignored, or kept until a later try or a person settles
it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from db import stripe_customers, stripe_events
from db.database import Database
from db.rows import AccountRow
from db.stripe_events import StripeEventRow
from ledger.accounts import locked_account
from ledger.audit import COMMAND_LINE, Actor, AuditedAction, note
from ledger.errors import BillingError, Conflict, NotFound
from ledger.ids import account_id_text
from ledger.posting import Clock, Ledger, LedgerTransaction, utc_now
from ledger.stripe.credits import apply
from ledger.stripe.notices import Event, Nothing, Notice, notice_of, read_event
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

    Raises NotFound, and Conflict if the customer belongs to another account.
    """
    STRIPE_ID.checked(customer, "the customer")
    account = await locked_account(transaction, account_id)
    now = transaction.clock()
    linked = await stripe_customers.link_customer(transaction.connection, customer, account_id, now, ask_at=now)
    if linked != account_id:
        msg = f"the customer {customer} is already linked to {account_id_text(linked)}"
        raise Conflict(msg)
    await stripe_events.make_due(transaction.connection, customer, now)
    entry = AuditedAction("linkStripeCustomer", actor, account_id, description=customer, new_value=customer)
    await note(transaction, entry)
    return account


async def dismiss_event(transaction: LedgerTransaction, event_id: str, reason: str, actor: Actor) -> StripeEventRow:
    """Ends an open event by an operator's decision. Raises BadUserInput, NotFound, and Conflict if it is not open."""
    STRIPE_ID.checked(event_id, "eventId")
    REASON.checked(reason, "reason")
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
        return await self._settle(new, event)

    async def retry(self, event_id: str, notice: Notice | None = None) -> Receipt | None:
        """Tries an event again, with the notice if more was learned. Returns None if the event must not be tried."""
        async with self._database.write() as connection:
            row = await stripe_events.locked(connection, event_id)
        if row is None or row.payload is None or not _can_be_tried(row):
            return None
        return await self._settle(row, read_event(row.payload), notice)

    async def _settle(self, new: StripeEventRow, event: Event, notice: Notice | None = None) -> Receipt:
        async def settle(transaction: LedgerTransaction) -> tuple[StripeEventRow, Verdict | None]:
            row = await stripe_events.received(transaction.connection, new)
            if not _can_be_tried(row):
                return row, None
            verdict = await self._verdict(transaction, event, row, notice)
            row = settled(row, verdict, self._clock())
            await stripe_events.put(transaction.connection, row)
            return row, verdict

        try:
            row, verdict = await self._ledger.within(settle)
        except BillingError as refusal:
            # The ledger refused and the transaction was rolled back, but the event must be recorded.
            row, verdict = await self._refused(new, refusal), Ignored("")
        if isinstance(verdict, Applied) and verdict.payment_intent is not None:
            await self.retry_waiting_for(verdict.payment_intent)
        return Receipt(EventState(row.state), row.reason, verdict is None, event.id)

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

    async def _refused(self, new: StripeEventRow, refusal: BillingError) -> StripeEventRow:
        async with self._database.write() as connection:
            row = await stripe_events.received(connection, new)
            if _can_be_tried(row):
                row = settled(row, NeedsAttention(str(refusal), is_retried=True), self._clock())
                await stripe_events.put(connection, row)
            return row

    async def retry_waiting_for(self, name: str) -> int:
        """Tries the events that wait for this customer or payment, one after the other. Returns how many."""
        event_ids = await stripe_events.waiting_for(self._database, name)
        for event_id in event_ids:
            await self.retry(event_id)
        return len(event_ids)

    async def link(self, account_id: int, customer: str, actor: Actor = COMMAND_LINE) -> int:
        """Links the customer as `link_customer` does, and tries the events that waited for it. Returns how many."""

        async def work(transaction: LedgerTransaction) -> None:
            await link_customer(transaction, account_id, customer, actor)

        await self._ledger.within(work)
        return await self.retry_waiting_for(customer)

    async def dismiss(self, event_id: str, reason: str, actor: Actor = COMMAND_LINE) -> StripeEventRow:
        return await self._ledger.within(lambda transaction: dismiss_event(transaction, event_id, reason, actor))
