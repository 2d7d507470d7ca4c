"""Retries: tries events again, with additional data from Stripe's API."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

import structlog

from db import stripe_events
from db.database import Database
from db.stripe_events import StripeEventRow
from ledger.errors import BillingError
from ledger.posting import Clock, utc_now
from ledger.stripe.api import StripeApi
from ledger.stripe.events import OPEN, EventState, StripeEvents
from ledger.stripe.failures import StripeRefused
from ledger.stripe.notices import ChargeRefunded, Notice, Refund, read_event
from ledger.stripe.refunds import REFUND_WAIT
from ledger.stripe.shapes import UnexpectedShape

log = structlog.get_logger()

AT_MOST: Final = 100


class EventRetries:
    def __init__(self, database: Database, events: StripeEvents, api: StripeApi | None, clock: Clock = utc_now) -> None:
        self._database = database
        self._events = events
        self._api = api
        self._clock = clock

    async def run(self) -> int:
        """Tries the events that are due. Returns how many of them are done."""
        done = 0
        for row in await stripe_events.due(self._database, self._clock(), AT_MOST):
            receipt = await self._events.retry(row.id, await self._notice(row))
            done += receipt is not None and receipt.state not in OPEN
            if receipt is not None and receipt.state == EventState.NEEDS_ATTENTION != row.state:
                log.warning("stripe event needs attention", event_id=row.id, reason=receipt.reason)
        return done

    async def _notice(self, row: StripeEventRow) -> Notice | None:
        """Returns the notice with the missing data; None if nothing more can be learned."""
        if row.payload is None:
            return None
        try:
            notice = self._events.read(read_event(row.payload))
            if self._api is not None:
                return await self._learned(self._api, notice, row.received_at)
            return replace(notice, nobody_to_ask=True) if isinstance(notice, ChargeRefunded) else None
        except (UnexpectedShape, BillingError, StripeRefused) as error:
            log.info("data missing from a stripe event was not found", event_id=row.id, reason=str(error))
            return None

    async def _learned(self, api: StripeApi, notice: Notice, received_at: datetime) -> Notice:
        if isinstance(notice, ChargeRefunded) and notice.names_less_than_all:
            return notice.with_refunds(await api.refunds_of_charge(notice.charge))
        is_late = self._clock() >= received_at + REFUND_WAIT
        if isinstance(notice, Refund) and notice.customer is None and notice.charge is not None and is_late:
            return replace(notice, customer=await api.customer_of_charge(notice.charge))
        return notice
