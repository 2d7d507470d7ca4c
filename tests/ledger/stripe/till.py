"""A ledger that Stripe's events are told to, and short words for what they did."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, NamedTuple

from sqlalchemy import update

from db import stripe_events, stripe_tables
from db.database import Database
from db.recharges import AutoRechargeRow, RechargeAttemptRow, insert_attempt, put_settings
from db.stripe_events import StripeEventRow
from ledger.money import format_nanos
from ledger.recharges import AttemptState, RechargeState
from ledger.stripe.api import StripeApi
from ledger.stripe.customers import SavedCards
from ledger.stripe.events import Receipt, StripeEvents
from ledger.stripe.notices import RECHARGE
from ledger.stripe.retries import EventRetries
from tests.ledger.desk import Desk, usd
from tests.stripe_objects import Object, body, event, payment

CUSTOMER = "cus_1"


class Posted(NamedTuple):
    """A row as Stripe's events should bring it about, whatever their order."""

    type: str
    amount: str
    ref: str
    description: str
    corrects: str | None
    """The ref of the row that it corrects."""


class Till(Desk):
    def __init__(self, database: Database, api: StripeApi | None = None) -> None:
        super().__init__(database)
        self.events = StripeEvents(database, self.ledger, clock=lambda: self.now)
        self.retries = EventRetries(database, self.events, api, lambda: self.now)
        self._api = api

    @property
    def cards(self) -> SavedCards:
        assert self._api is not None
        return SavedCards(self.database, self._api, lambda: self.now)

    async def customer(self, customer: str = CUSTOMER) -> int:
        """A new account with this customer."""
        account_id = await self.account()
        await self.events.link(account_id, customer)
        return account_id

    async def tell(self, kind: str, of: Object, event_id: str | None = None) -> Receipt:
        self.now += timedelta(milliseconds=1)
        return await self.events.receive(body(event(kind, of, event_id)))

    async def posted(self, account_id: int) -> list[Posted]:
        rows = await self.rows(account_id)
        refs = {row.seq: f"{row.ref_type} {row.ref_id}" for row in rows}
        return [
            Posted(
                row.type,
                format_nanos(row.amount_nanos),
                refs[row.seq],
                row.description,
                refs[row.corrects_seq] if row.corrects_seq else None,
            )
            for row in rows
        ]

    async def brief(self, account_id: int) -> list[tuple[str, str]]:
        return [(row.type, row.amount) for row in await self.posted(account_id)]

    async def states(self) -> list[tuple[str, str, str | None]]:
        """(type, state, reason) of the events, as they were received."""
        rows = await stripe_events.newest(self.database, None, 1000)
        return [(row.type, row.state, row.reason) for row in reversed(rows)]

    async def retry_all(self) -> None:
        """Tries all open events, as if the time of each had come: one that was tried often waits longer."""
        is_retried = stripe_tables.stripe_events.c.retry_at.is_not(None)
        async with self.database.write() as connection:
            due = update(stripe_tables.stripe_events).where(is_retried).values(retry_at=self.now)
            await connection.execute(due)
        await self.retries.run()

    async def event_row(self, event_id: str) -> StripeEventRow:
        (row,) = [one for one in await stripe_events.newest(self.database, None, 1000) if one.id == event_id]
        return row

    async def attempt(self, account_id: int, attempt_id: str, **changed: Any) -> None:
        """Auto-recharge that is set to 25.00 below 10.00, and a payment of it that is in flight."""
        row = AutoRechargeRow(
            account_id=account_id,
            state=RechargeState.ACTIVE.value,
            threshold_nanos=usd("10.00"),
            amount_nanos=usd("25.00"),
            daily_limit_nanos=usd("100.00"),
            declines=0,
            retry_at=None,
            last_failure=None,
            last_failure_at=None,
            changed_at=self.now,
        )
        attempt = RechargeAttemptRow(
            id=attempt_id,
            account_id=account_id,
            state=AttemptState.STARTED.value,
            amount_nanos=row.amount_nanos,
            threshold_nanos=row.threshold_nanos,
            customer=CUSTOMER,
            payment_method="pm_1",
            payment_intent=None,
            started_at=self.now,
            sent_at=None,
            retry_at=self.now,
            sends=0,
            ended_at=None,
            failure=None,
        )
        async with self.database.write() as connection:
            await put_settings(connection, row)
            await insert_attempt(connection, attempt._replace(**changed))


def recharge(
    payment_id: str, attempt_id: str, *, customer: str | None = CUSTOMER, amount: int = 2_500, **more: Any
) -> Object:
    return payment(payment_id, customer=customer, amount=amount, metadata={RECHARGE: attempt_id}, **more)
