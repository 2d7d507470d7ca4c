"""Which customer of an account pays, and what is known of its cards."""

from __future__ import annotations

from datetime import timedelta

import pytest

from db import stripe_customers
from db.database import Database
from db.stripe_customers import StripeCustomerRow
from ledger.stripe.api import Cards, StripeApi
from ledger.stripe.customers import paying, store_cards
from ledger.stripe.events import EventState, Receipt
from tests.ledger.stripe.till import CUSTOMER, Till
from tests.stripe_objects import Object, body, event, payment_method, session
from tests.stripe_stand_in import StandIn


class Wallet(Till):
    """A till whose customers the stand-in knows, with the cards that they have saved."""

    def __init__(self, database: Database, stand_in: StandIn, api: StripeApi) -> None:
        super().__init__(database, api)
        self.stand_in = stand_in

    def have(self, customer: str, *cards: str) -> None:
        self.stand_in.customers[customer] = {"id": customer, "object": "customer", "invoice_settings": {}}
        self.stand_in.cards[customer] = list(cards)

    async def linked(self, account_id: int, customer: str, *cards: str) -> None:
        self.have(customer, *cards)
        self.now += timedelta(seconds=1)
        await self.events.link(account_id, customer)

    async def known(self, account_id: int) -> list[tuple[str, bool]]:
        """(customer, whether it has a card), the one that pays first."""
        rows = await stripe_customers.read_customers_of_account(self.database, account_id)
        return [(one.id, one.has_card) for one in rows]

    async def row(self, customer: str = CUSTOMER) -> StripeCustomerRow:
        row = await stripe_customers.read_customer(self.database, customer)
        assert row is not None
        return row

    async def has_card(self, account_id: int) -> bool:
        """As a query reads it."""
        async with self.database.snapshot() as snapshot:
            read = stripe_customers.saved_cards(snapshot.is_postgresql, [account_id, account_id + 1])
            found = await snapshot.read(read)
        assert not found[account_id + 1], "nobody else's"
        return found[account_id]

    async def detached(self, customer: str) -> Receipt:
        previous = {"customer": customer}
        of = payment_method("pm_1", None)
        return await self.events.receive(body(event("payment_method.detached", of, previous=previous)))


@pytest.fixture
def wallet(database: Database, stand_in: StandIn, api: StripeApi) -> Wallet:
    return Wallet(database, stand_in, api)


async def test_customer_with_a_card_pays(wallet: Wallet) -> None:
    account_id = await wallet.account()
    await wallet.linked(account_id, "cus_1")
    await wallet.linked(account_id, "cus_2", "pm_2")
    await wallet.linked(account_id, "cus_3", "pm_3")
    assert await wallet.known(account_id) == [("cus_1", False), ("cus_2", False), ("cus_3", False)]
    assert await wallet.cards.run() == 3
    assert await wallet.known(account_id) == [("cus_2", True), ("cus_3", True), ("cus_1", False)]
    await wallet.tell("checkout.session.completed", session("cs_1", customer="cus_3", payment_intent="pi_1"))
    assert await wallet.known(account_id) == [("cus_3", True), ("cus_2", True), ("cus_1", False)]
    await wallet.tell("customer.deleted", {"id": "cus_3", "object": "customer"})
    assert await wallet.known(account_id) == [("cus_2", True), ("cus_1", False), ("cus_3", False)]
    assert paying([]) is None
    assert await wallet.cards.run() == 0, "all is known"


async def test_paid_top_up_saves_the_card(wallet: Wallet) -> None:
    account_id = await wallet.account()
    await wallet.linked(account_id, CUSTOMER)
    await wallet.cards.run()
    assert not await wallet.has_card(account_id)
    paid = session("cs_1", customer=CUSTOMER, payment_intent="pi_1")
    await wallet.tell("checkout.session.completed", paid | {"payment_status": "unpaid"})
    assert not await wallet.has_card(account_id)
    await wallet.tell("checkout.session.async_payment_succeeded", paid)
    assert await wallet.has_card(account_id)
    # Stripe has the last word.
    await wallet.cards.run()
    assert not await wallet.has_card(account_id)


async def test_attached_and_detached_cards_are_checked_at_stripe(wallet: Wallet) -> None:
    account_id = await wallet.account()
    await wallet.linked(account_id, CUSTOMER)
    await wallet.cards.run()
    wallet.have(CUSTOMER, "pm_1", "pm_2")
    await wallet.tell("payment_method.attached", payment_method("pm_1", CUSTOMER))
    assert await wallet.has_card(account_id)
    await wallet.cards.run()
    wallet.have(CUSTOMER, "pm_2")
    assert (await wallet.detached(CUSTOMER)).state == EventState.APPLIED
    await wallet.cards.run()
    assert await wallet.has_card(account_id), "another one is saved"
    wallet.have(CUSTOMER)
    await wallet.detached(CUSTOMER)
    await wallet.cards.run()
    assert not await wallet.has_card(account_id)
    # Events come in any order: what Stripe says counts.
    await wallet.tell("payment_method.attached", payment_method("pm_1", CUSTOMER))
    await wallet.cards.run()
    assert not await wallet.has_card(account_id)


@pytest.mark.parametrize(
    ("kind", "of", "reason"),
    [
        ("payment_method.attached", payment_method("pm_1", "cus_9"), "the customer cus_9 is not linked to an account"),
        ("payment_method.attached", payment_method("pm_1", None), "the object has no customer"),
        ("payment_method.detached", payment_method("pm_1", None), "the object has no customer"),
        ("customer.deleted", {"id": "cus_9", "object": "customer"}, "the customer cus_9 is not linked to an account"),
    ],
)
async def test_cards_of_unknown_customers_are_ignored(wallet: Wallet, kind: str, of: Object, reason: str) -> None:
    assert await wallet.tell(kind, of) == Receipt(EventState.IGNORED, reason)


async def test_change_during_a_lookup_causes_another_lookup(wallet: Wallet) -> None:
    account_id = await wallet.account()
    await wallet.linked(account_id, CUSTOMER, "pm_1")
    asked = await wallet.row()
    await wallet.tell("payment_method.attached", payment_method("pm_1", CUSTOMER))
    async with wallet.database.write() as connection:
        await store_cards(connection, asked, Cards(None), wallet.now)
    assert await wallet.has_card(account_id)
    assert await wallet.cards.run() == 1
    assert (await wallet.row()).ask_at is None


async def test_failed_lookup_is_repeated(wallet: Wallet) -> None:
    account_id = await wallet.account()
    await wallet.linked(account_id, "cus_gone")
    del wallet.stand_in.customers["cus_gone"]
    await wallet.linked(account_id, CUSTOMER, "pm_1")
    wallet.stand_in.faults = ["503"]
    assert await wallet.cards.run() == 0
    # A customer that Stripe does not know keeps nobody waiting.
    assert await wallet.cards.run() == 2
    assert await wallet.known(account_id) == [(CUSTOMER, True), ("cus_gone", False)]
    wallet.stand_in.customers[CUSTOMER]["deleted"] = True
    await wallet.detached(CUSTOMER)
    await wallet.cards.run()
    assert (await wallet.row()).deleted_at == wallet.now
    assert not await wallet.has_card(account_id)
