"""Customers: an account's customers at Stripe, which of them pays, and whether a card is saved.

Events arrive in any order, so they only tell that something changed: `SavedCards` asks Stripe for the current state. A
transaction that also changes auto-recharge locks auto-recharge first.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import structlog

from db import recharges, stripe_customers
from db.database import Database, WriteConnection
from db.stripe_customers import StripeCustomerRow
from ledger.ids import account_id_text
from ledger.posting import Clock, utc_now
from ledger.recharges import NO_CARD
from ledger.stripe.api import Cards, StripeApi
from ledger.stripe.failures import StripeRefused, StripeUnavailable, TooManyRequests

log = structlog.get_logger()

AT_MOST: Final = 100
"""Maximum number of customers to ask Stripe about per round."""


def paying(customers: Sequence[StripeCustomerRow]) -> StripeCustomerRow | None:
    """Returns the customer that top-ups and auto-recharge are charged to. The customers must be in the order of
    `db`."""
    return next((one for one in customers if one.deleted_at is None), None)


async def record_card(
    connection: WriteConnection, account_id: int, customer: str, now: datetime, **more: datetime
) -> None:
    """Records from an event that a card was saved, so that auto-recharge stops waiting for a card."""
    await recharges.forget_failure(connection, account_id, NO_CARD)
    await stripe_customers.update_customer(connection, customer, has_card=True, ask_at=now, **more)


async def store_cards(connection: WriteConnection, asked: StripeCustomerRow, cards: Cards, now: datetime) -> None:
    """Stores Stripe's answer about the customer."""
    has_card = cards.payment_method is not None
    if has_card:
        await recharges.forget_failure(connection, asked.account_id, NO_CARD)
    deleted_at = (asked.deleted_at or now) if cards.is_deleted else None
    await stripe_customers.store_answer(connection, asked, has_card=has_card, deleted_at=deleted_at)


class SavedCards:
    """Asks Stripe about customers whose cards may have changed."""

    def __init__(self, database: Database, api: StripeApi, clock: Clock = utc_now) -> None:
        self._database = database
        self._api = api
        self._clock = clock

    async def run(self) -> int:
        """Returns how many customers Stripe answered about. The rest is asked about in the next round."""
        done = 0
        for customer in await stripe_customers.customers_to_ask(self._database, self._clock(), AT_MOST):
            try:
                cards = await self._cards(customer)
            except (StripeUnavailable, TooManyRequests) as error:
                log.warning("Stripe does not report which cards are saved", reason=str(error))
                break
            async with self._database.write() as connection:
                await store_cards(connection, customer, cards, self._clock())
            done += 1
        return done

    async def _cards(self, customer: StripeCustomerRow) -> Cards:
        try:
            return await self._api.cards_of(customer.id)
        except StripeRefused as refused:
            # For example a customer of another Stripe account, linked by hand.
            account = account_id_text(customer.account_id)
            log.warning(
                "Stripe does not know this customer", account=account, customer=customer.id, reason=str(refused)
            )
            return Cards(None)
