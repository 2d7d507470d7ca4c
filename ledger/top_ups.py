"""Top-ups: creates a Stripe Checkout session for an account. Only Stripe's event credits the account."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, TypeVar

from db import accounts, stripe_customers, stripe_directory, top_ups
from db.database import Database
from db.errors import AccountMoved
from db.moved_accounts import hold_here
from db.rows import AccountRow
from db.shards import found_account, shard_numbered
from db.top_ups import TopUpRow
from ledger import billing_portal, idempotent_calls
from ledger.accounts import locked_account
from ledger.billing_portal import NewPortalSession
from ledger.errors import NotFound
from ledger.idempotent_calls import CallResult, IdempotentCall
from ledger.ids import account_id_text
from ledger.posting import Clock, LedgerTransaction, utc_now
from ledger.recharges import checked_payment
from ledger.return_addresses import ReturnAddresses
from ledger.stripe.api import CheckoutSession, NewSession, StripeApi
from ledger.stripe.customers import paying
from ledger.stripe.failures import CallInProgress, PaymentsNotSetUp, StripeRefused
from ledger.texts import IDEMPOTENCY_KEY

OPERATION: Final = "createTopUp"

_ANY_ADDRESS: Final = ReturnAddresses()
_MAX_STRIPE_KEY: Final = 255
_PAUSES_SECONDS: Final = (0.1, 0.2, 0.4, 0.8, 1.6)
"""Pauses between repeated calls, while Stripe still carries out the first call with the same key."""

Answer = TypeVar("Answer")


class SessionState(StrEnum):
    OPEN = "open"
    COMPLETE = "complete"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class NewTopUp:
    account_id: int
    amount_nanos: int
    success_url: str
    cancel_url: str
    idempotency_key: str

    def call(self) -> IdempotentCall:
        payload = [self.amount_nanos, self.success_url, self.cancel_url]
        return IdempotentCall(OPERATION, self.idempotency_key, payload, self.account_id)


@dataclass(frozen=True, slots=True)
class KeptTopUp:
    row: TopUpRow
    balance_nanos: int
    is_replayed: bool


def _stripe_key(account_id: int, key: str, operation: str = OPERATION) -> str:
    """Returns a key that Stripe accepts: ASCII, at most 255 characters, and different for each account."""
    full = f"{operation}/{account_id_text(account_id)}/{key}"
    if full.isascii() and len(full) <= _MAX_STRIPE_KEY:
        return full
    return f"{operation}/{account_id_text(account_id)}/{hashlib.sha256(key.encode()).hexdigest()}"


def _customer_key(account: AccountRow, number: int) -> str:
    """Returns the key for creating the customer. It is the same for all calls, in any process, that find no customer.

    The creation time separates accounts with the same id in different databases.
    """
    return f"customer/{account_id_text(account.id)}/{account.created_at.isoformat()}/{number}"


def state_of(row: TopUpRow, now: datetime) -> SessionState:
    if row.completed_at is not None:
        return SessionState.COMPLETE
    return SessionState.OPEN if now < row.expires_at else SessionState.EXPIRED


async def keep(transaction: LedgerTransaction, new: NewTopUp, session: CheckoutSession | None) -> KeptTopUp:
    """Stores the session as the result of the call, or returns the session that was stored first.

    Raises IdempotencyConflict.
    """

    async def kept() -> CallResult:
        account = await locked_account(transaction, new.account_id)
        assert session is not None, "a call that was not made before has just been answered"
        row = TopUpRow(
            account_id=new.account_id,
            key=new.idempotency_key,
            session_id=session.id,
            url=session.url,
            amount_nanos=new.amount_nanos,
            expires_at=session.expires_at,
            completed_at=None,
            created_at=transaction.clock(),
        )
        await top_ups.insert_top_up(transaction.connection, row)
        return CallResult(account.id, account.balance_nanos)

    result = await idempotent_calls.run_once(transaction, new.call(), kept)
    row = await top_ups.top_up(transaction.connection, new.account_id, new.idempotency_key)
    assert row is not None
    assert result.balance_nanos is not None
    return KeptTopUp(row, result.balance_nanos, result.replayed)


class TopUps:
    def __init__(
        self,
        database: Database,
        api: StripeApi | None,
        clock: Clock = utc_now,
        return_addresses: ReturnAddresses = _ANY_ADDRESS,
    ) -> None:
        self._database = database
        self._api = api
        self._clock = clock
        self._return_addresses = return_addresses

    @property
    def has_payments(self) -> bool:
        """Whether calls to Stripe are configured."""
        return self._api is not None

    async def start(self, new: NewTopUp) -> CheckoutSession | None:
        """Creates the session to pass to `keep`. Returns None if the call is a replay.

        Raises BadUserInput, NotFound, IdempotencyConflict, and the errors in `ledger.stripe.failures`.
        """
        checked_payment(new.amount_nanos, "amount")
        self._return_addresses.check(new.success_url, "successUrl")
        self._return_addresses.check(new.cancel_url, "cancelUrl")
        IDEMPOTENCY_KEY.checked(new.idempotency_key, "idempotencyKey")
        if await idempotent_calls.has_result(self._database, new.call()):
            return None
        if self._api is None:
            raise PaymentsNotSetUp
        return await self._new_session(self._api, new)

    async def open_portal(self, new: NewPortalSession) -> str:
        """Returns the address of a session of Stripe's billing portal, also for a replay.

        Raises BadUserInput, NotFound, IdempotencyConflict, and the errors in `ledger.stripe.failures`.
        """
        self._return_addresses.check(new.return_url, "returnUrl")
        IDEMPOTENCY_KEY.checked(new.idempotency_key, "idempotencyKey")
        await idempotent_calls.has_result(self._database, new.call())
        if self._api is None:
            raise PaymentsNotSetUp
        api, customer = self._api, await self._customer(self._api, new.account_id)
        key = _stripe_key(new.account_id, new.idempotency_key, billing_portal.OPERATION)
        return await self._of_customer(customer, lambda: api.create_portal_session(customer, new.return_url, key))

    async def _new_session(self, api: StripeApi, new: NewTopUp) -> CheckoutSession:
        customer = await self._customer(api, new.account_id)
        session = NewSession(new.account_id, customer, new.amount_nanos, new.success_url, new.cancel_url)
        key = _stripe_key(new.account_id, new.idempotency_key)
        return await self._of_customer(customer, lambda: api.create_session(session, key))

    async def _of_customer(self, customer: str, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        try:
            return await _answered(ask)
        except StripeRefused:
            # The customer may have been deleted at Stripe. The worker finds out, and the next top-up creates another
            # customer.
            async with self._database.write() as connection:
                await stripe_customers.update_customer(connection, customer, ask_at=self._clock())
            raise

    async def _customer(self, api: StripeApi, account_id: int) -> str:
        """Returns the account's paying customer, and creates one if there is none. Concurrent calls get the same
        customer."""
        known = paying(await stripe_customers.read_customers_of_account(self._database, account_id))
        if known is not None:
            return known.id
        # The account may have been moved, with its customers.
        home = await found_account(self._database, account_id)
        customers = await stripe_customers.read_customers_of_account(home, account_id)
        known = paying(customers)
        if known is not None:
            return known.id
        account = await _account(home, account_id)
        key = _customer_key(account, len(customers))
        made = await _answered(lambda: api.create_customer(account.id, account.name, key))
        # Link the customer before it can pay, so that its events find their account.
        if not await self._claimed(made, account_id):
            return made
        async with home.write() as connection:
            if not await hold_here(connection, account_id):
                raise AccountMoved("the account was moved before its customer was linked")
            await stripe_customers.link_customer(connection, made, account_id, self._clock())
            found = paying(await stripe_customers.customers_of_account(connection, account_id))
        return made if found is None else found.id

    async def _claimed(self, customer: str, account_id: int) -> bool:
        """Returns whether the customer is the account's in the set. Without a set, its link decides."""
        if self._database.place is None:
            return True
        async with shard_numbered(self._database, 0).write() as connection:
            return await stripe_directory.claim_customer(connection, customer, account_id) == account_id


async def _account(home: Database, account_id: int) -> AccountRow:
    """Returns the account. Raises NotFound."""
    async with home.snapshot() as snapshot:
        found = await snapshot.read(accounts.accounts_by_id(snapshot.is_postgresql, [account_id]))
    if account_id not in found:
        msg = f"there is no account {account_id_text(account_id)}"
        raise NotFound(msg)
    return found[account_id]


async def _answered(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """Repeats the call while Stripe carries out the same call for another caller, possibly in another process."""
    for seconds in _PAUSES_SECONDS:
        try:
            return await ask()
        except CallInProgress:
            await asyncio.sleep(seconds)
    return await ask()
