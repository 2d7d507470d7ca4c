"""Top-ups: a Checkout session of Stripe's for an account. What it is credited comes of Stripe's event alone."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from db import accounts, stripe_credits
from db.database import Database
from ledger.errors import BadUserInput, NotFound
from ledger.ids import account_id_text
from ledger.moves import MAX_KEY, checked_text
from ledger.posting import Clock, utc_now
from ledger.recharges import checked_payment
from ledger.stripe.api import CheckoutSession, NewSession, StripeApi
from ledger.stripe.failures import StripeUnavailable

MAX_URL: Final = 2_000

_LOCAL: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_MAX_STRIPE_KEY: Final = 255


@dataclass(frozen=True, slots=True)
class NewTopUp:
    account_id: int
    amount_nanos: int
    success_url: str
    cancel_url: str
    idempotency_key: str


def checked_url(given: str, what: str) -> str:
    """An address that a browser may be sent to. Raises BadUserInput."""
    checked_text(given, what, MAX_URL)
    try:
        parts = urlsplit(given)
        host = parts.hostname
    except ValueError:
        host = None
    else:
        if host and (parts.scheme == "https" or (parts.scheme == "http" and host in _LOCAL)):
            return given
    msg = f"{what} must be an https address, such as https://example.com/billing"
    raise BadUserInput(msg)


def _stripe_key(account_id: int, key: str) -> str:
    """Stripe takes 255 characters of ASCII, and doesn't know accounts."""
    full = f"createTopUp/{account_id_text(account_id)}/{key}"
    if full.isascii() and len(full) <= _MAX_STRIPE_KEY:
        return full
    return f"createTopUp/{account_id_text(account_id)}/{hashlib.sha256(key.encode()).hexdigest()}"


class TopUps:
    def __init__(self, database: Database, api: StripeApi | None, clock: Clock = utc_now) -> None:
        self._database = database
        self._api = api
        self._clock = clock

    async def start(self, new: NewTopUp) -> CheckoutSession:
        """Raises BadUserInput, and what `ledger.stripe.failures` lists."""
        checked_payment(new.amount_nanos, "amount")
        checked_url(new.success_url, "successUrl")
        checked_url(new.cancel_url, "cancelUrl")
        checked_text(new.idempotency_key, "idempotencyKey", MAX_KEY)
        if self._api is None:
            raise StripeUnavailable("no secret key of Stripe's is set")
        key = _stripe_key(new.account_id, new.idempotency_key)
        customer = await stripe_credits.read_customer_of_account(self._database, new.account_id)
        if customer is None:
            customer = await self._new_customer(self._api, new, key)
        session = NewSession(new.account_id, customer, new.amount_nanos, new.success_url, new.cancel_url)
        return await self._api.create_session(session, key)

    async def _new_customer(self, api: StripeApi, new: NewTopUp, key: str) -> str:
        """Linked before it can pay: its events then find their account. Raises NotFound."""
        async with self._database.snapshot() as snapshot:
            found = await snapshot.read(accounts.accounts_by_id(snapshot.is_postgresql, [new.account_id]))
        account = found.get(new.account_id)
        if account is None:
            msg = f"there is no account {account_id_text(new.account_id)}"
            raise NotFound(msg)
        digest = hashlib.sha256(key.encode()).hexdigest()
        customer = await api.create_customer(new.account_id, account.name, f"customer/{digest}")
        async with self._database.write() as connection:
            await stripe_credits.link_customer(connection, customer, new.account_id, self._clock())
        return customer
