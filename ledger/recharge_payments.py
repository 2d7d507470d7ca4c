"""Recharge payments: asks Stripe for the payments of auto-recharge.

An attempt is committed before Stripe is called, and its id is the idempotency key at Stripe. If the process dies in
between, the call is repeated with the same key and the card is charged once. Stripe forgets keys, so an attempt that is
older than `RESEND` is looked up among the customer's payments instead. Only the webhook writes credit.

The conditions for an attempt are checked each time that it is sent. An attempt that is no longer wanted is withdrawn.
If it was already sent, it is withdrawn only after asking Stripe whether the card was charged. No other attempt starts
before the answer is known.
"""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, time, timedelta
from typing import Final

import structlog

from db import accounts, recharges, stripe_customers
from db.database import Database, WriteConnection
from db.moved_accounts import hold_here
from db.recharges import AutoRechargeRow, RechargeAttemptRow
from ledger.errors import IdempotencyConflict
from ledger.ids import account_id_text
from ledger.kinds import AccountStatus
from ledger.money import format_nanos
from ledger.posting import Clock, utc_now
from ledger.recharges import DAILY_LIMIT, NO_CARD, AttemptState, RechargeState, end, fail, locked
from ledger.stripe.api import NewPayment, Payment, StripeApi
from ledger.stripe.customers import paying, store_cards
from ledger.stripe.failures import PaymentFailed, StripeRefused, StripeUnavailable, TooManyRequests

log = structlog.get_logger()

RESEND: Final = timedelta(hours=1)
"""How long a payment is requested again with the same key. Stripe keeps keys for at least a day."""
FIRST_RETRY: Final = timedelta(minutes=2)
LAST_RETRY: Final = timedelta(minutes=15)
CHECK: Final = timedelta(hours=1)
"""How often Stripe is asked about a payment whose event has not arrived."""
NO_CARD_WAIT: Final = timedelta(hours=1)
AT_ONCE: Final = 8
SETTLED: Final = timedelta(minutes=15)
"""If Stripe does not list a payment this long after it was requested, no payment was made."""


class Unwanted(Exception):
    """The attempt must not be sent again, but may have charged the card."""


class Left(Exception):
    """The attempt has left the shard with its account. The worker of its new shard goes on with it, with the same
    key."""


def next_day(moment: datetime) -> datetime:
    return datetime.combine(moment.astimezone(UTC).date() + timedelta(days=1), time(), UTC)


def _new_attempt(settings: AutoRechargeRow, customer: str, now: datetime) -> RechargeAttemptRow:
    return RechargeAttemptRow(
        id=f"recharge_{settings.account_id}_{uuid.uuid4().hex}",
        account_id=settings.account_id,
        state=AttemptState.STARTED.value,
        amount_nanos=settings.amount_nanos,
        threshold_nanos=settings.threshold_nanos,
        customer=customer,
        payment_method=None,
        payment_intent=None,
        started_at=now,
        sent_at=None,
        retry_at=now,
        sends=0,
        ended_at=None,
        failure=None,
    )


class RechargePayments:
    def __init__(self, database: Database, api: StripeApi, clock: Clock = utc_now) -> None:
        self._database = database
        self._api = api
        self._clock = clock

    async def run(self, limit: int = 100) -> int:
        """Starts the attempts that are due and continues those in flight. Returns how many attempts were processed."""
        now = self._clock()
        for account_id in await recharges.accounts_below(self._database, now, limit):
            await self._start(account_id)
        attempts = await recharges.due_attempts(self._database, self._clock(), limit)
        bound = asyncio.Semaphore(AT_ONCE)

        async def bring_on(attempt: RechargeAttemptRow) -> None:
            async with bound:
                await self._bring_on(attempt)

        async with asyncio.TaskGroup() as group:
            for attempt in attempts:
                group.create_task(bring_on(attempt))
        return len(attempts)

    async def _start(self, account_id: int) -> None:
        """Commits an attempt, if the account still needs one and is allowed one."""
        async with self._database.write() as connection:
            # A move locks the account before its settings.
            if not await hold_here(connection, account_id):
                return
            settings = await recharges.lock_settings(connection, account_id)
            now = self._clock()
            if settings is None or not await self._needs_one(connection, settings, now):
                return
            spent = await _spent_today(connection, account_id, now)
            customer = paying(await stripe_customers.customers_of_account(connection, account_id))
            if spent + settings.amount_nanos > settings.daily_limit_nanos:
                await self._put_off(connection, settings, _limit_reached(settings), next_day(now), now)
            elif customer is None or not (customer.has_card or customer.ask_at):
                await self._put_off(connection, settings, NO_CARD, now + NO_CARD_WAIT, now)
                await stripe_customers.schedule_card_lookups(connection, account_id, now)
            else:
                attempt = _new_attempt(settings, customer.id, now)
                await recharges.insert_attempt(connection, attempt)
                log.info("auto-recharge started", account=account_id_text(account_id), attempt=attempt.id)

    async def _needs_one(self, connection: WriteConnection, settings: AutoRechargeRow, now: datetime) -> bool:
        return (
            (settings.retry_at is None or settings.retry_at <= now)
            and await _objection(connection, settings) is None
            and await recharges.in_flight(connection, settings.account_id) is None
        )

    async def _put_off(
        self, connection: WriteConnection, settings: AutoRechargeRow, reason: str, until: datetime, now: datetime
    ) -> None:
        log.info("auto-recharge put off", account=account_id_text(settings.account_id), reason=reason)
        row = settings._replace(retry_at=until, last_failure=reason, last_failure_at=now)
        await recharges.put_settings(connection, row)

    async def _bring_on(self, attempt: RechargeAttemptRow) -> None:
        try:
            if attempt.state == AttemptState.SUBMITTED:
                await self._check(attempt)
            elif attempt.sends and attempt.started_at + RESEND <= self._clock():
                await self._look_for(attempt)
            else:
                await self._send(attempt)
        except Left:
            log.info("auto-recharge has left the shard", attempt=attempt.id)
        except PaymentFailed as declined:
            await self._fail(attempt, str(declined))
        except StripeRefused as refused:
            await self._fail(attempt, str(refused))
        except TooManyRequests as refused:
            await self._postpone(attempt, timedelta(seconds=refused.retry_after_seconds), str(refused))
        except StripeUnavailable as unavailable:
            await self._postpone(attempt, timedelta(), unavailable.reason)

    async def _check(self, attempt: RechargeAttemptRow) -> None:
        assert attempt.payment_intent is not None
        await self._conclude(attempt, await self._api.payment(attempt.payment_intent))

    async def _look_for(self, attempt: RechargeAttemptRow, objection: str | None = None) -> None:
        """Asks Stripe about an attempt that is not sent again, because of the objection or because Stripe forgot its
        key."""
        assert attempt.customer is not None
        found = await self._api.payment_of_attempt(attempt.customer, attempt.id, attempt.started_at)
        if found is None:
            await self._give_up(attempt, objection)
        else:
            await self._conclude(attempt, found)

    async def _give_up(self, attempt: RechargeAttemptRow, objection: str | None) -> None:
        """Ends an attempt without a payment at Stripe, after waiting until a payment would be listed."""
        async with self._database.write() as connection:
            found = await locked(connection, attempt.id)
            now = self._clock()
            if found is None or (found[1].state, found[1].sends) != (AttemptState.STARTED, attempt.sends):
                return
            row = found[1]
            assert row.sent_at is not None
            if row.sent_at + SETTLED > now:
                await recharges.update_attempt(connection, row._replace(retry_at=row.sent_at + SETTLED))
                return
            if objection is None:
                await fail(connection, row.id, "Stripe could not be reached", now, is_decline=False)
            else:
                await end(connection, row, objection, now)
        log.warning("auto-recharge given up", attempt=attempt.id, reason=objection)

    async def _send(self, attempt: RechargeAttemptRow) -> None:
        method = attempt.payment_method or await self._saved_card(attempt)
        if method is None:
            await self._fail(attempt, NO_CARD, is_decline=False)
            return
        try:
            claimed = await self._claim(attempt, method)
        except Unwanted as unwanted:
            await self._look_for(attempt, str(unwanted))
            return
        if claimed is None or claimed.customer is None or claimed.payment_method is None:
            return
        new = NewPayment(claimed.id, claimed.account_id, claimed.customer, claimed.payment_method, claimed.amount_nanos)
        try:
            payment = await self._api.pay(new)
        except IdempotencyConflict:
            # An older release sent this key with other arguments: the payment may have been made.
            await self._look_for(claimed)
            return
        await self._conclude(claimed, payment)

    async def _saved_card(self, attempt: RechargeAttemptRow) -> str | None:
        """Returns the payment method to charge, as Stripe reports it now."""
        assert attempt.customer is not None
        customer = await stripe_customers.read_customer(self._database, attempt.customer)
        if customer is None:
            raise Left
        cards = await self._api.cards_of(attempt.customer)
        async with self._database.write() as connection:
            await store_cards(connection, customer, cards, self._clock())
        return cards.payment_method

    async def _claim(self, attempt: RechargeAttemptRow, method: str) -> RechargeAttemptRow | None:
        """Commits that the attempt is being sent, and returns it.

        Returns None if it must not be sent: another worker has it, its event has arrived, or it is no longer wanted and
        was withdrawn. Raises Unwanted if an unwanted attempt was sent before.
        """
        async with self._database.write() as connection:
            found = await locked(connection, attempt.id)
            now = self._clock()
            if found is None or found[1].state != AttemptState.STARTED or found[1].retry_at > now:
                return None
            settings, row = found
            objection = await _objection_to(connection, settings, row, now)
            if objection is None:
                return await _sent(connection, row, method, now)
            if row.sends:
                raise Unwanted(objection)
            await end(connection, row, objection, now)
        log.info("auto-recharge withdrawn", attempt=attempt.id, reason=objection)
        return None

    async def _conclude(self, attempt: RechargeAttemptRow, payment: Payment) -> None:
        if payment.status == "failed":
            await self._fail(attempt, payment.failure or "the payment failed")
            return
        if payment.status == "paid" and attempt.state == AttemptState.SUBMITTED:
            log.warning("auto-recharge was paid, but Stripe's event has not come", attempt=attempt.id)
        async with self._database.write() as connection:
            found = await locked(connection, attempt.id)
            if found is None or found[1].ended_at is not None:
                return
            row = found[1]._replace(
                state=AttemptState.SUBMITTED.value, payment_intent=payment.id, retry_at=self._clock() + CHECK
            )
            await recharges.update_attempt(connection, row)
        log.info("auto-recharge submitted", attempt=attempt.id, payment=payment.id)

    async def _postpone(self, attempt: RechargeAttemptRow, at_least: timedelta, reason: str) -> None:
        log.warning("auto-recharge put off", attempt=attempt.id, reason=reason)
        async with self._database.write() as connection:
            found = await locked(connection, attempt.id)
            if found is None or found[1].ended_at is not None:
                return
            row = found[1]
            retry_at = self._clock() + max(_wait(max(row.sends - 1, 0)), at_least)
            await recharges.update_attempt(connection, row._replace(retry_at=retry_at))

    async def _fail(self, attempt: RechargeAttemptRow, failure: str, *, is_decline: bool = True) -> None:
        async with self._database.write() as connection:
            settings = await fail(connection, attempt.id, failure, self._clock(), is_decline=is_decline)
        if settings is not None:
            stopped = settings.state == RechargeState.STOPPED
            log.warning("auto-recharge failed", attempt=attempt.id, failure=failure, stopped=stopped)


def _wait(sends: int) -> timedelta:
    return min(FIRST_RETRY * float(2 ** min(sends, 10)), LAST_RETRY)


async def _sent(connection: WriteConnection, row: RechargeAttemptRow, method: str, now: datetime) -> RechargeAttemptRow:
    row = row._replace(
        payment_method=row.payment_method or method,
        sends=row.sends + 1,
        sent_at=now,
        retry_at=now + _wait(row.sends),
    )
    await recharges.update_attempt(connection, row)
    return row


async def _spent_today(connection: WriteConnection, account_id: int, now: datetime) -> int:
    end_of_day = next_day(now)
    return await recharges.nanos_of_day(connection, account_id, end_of_day - timedelta(days=1), end_of_day)


def _limit_reached(settings: AutoRechargeRow) -> str:
    return f"{DAILY_LIMIT} {format_nanos(settings.daily_limit_nanos)} is reached"


async def _objection(connection: WriteConnection, settings: AutoRechargeRow) -> str | None:
    """Returns why no payment may be requested now, or None."""
    account = await accounts.account_now(connection, settings.account_id)
    if settings.state != RechargeState.ACTIVE:
        return f"auto-recharge is {settings.state}"
    if account.status != AccountStatus.ACTIVE:
        return "the account is suspended"
    if account.balance_nanos >= settings.threshold_nanos:
        return "the balance is not below the threshold any more"
    return None


async def _objection_to(
    connection: WriteConnection, settings: AutoRechargeRow, attempt: RechargeAttemptRow, now: datetime
) -> str | None:
    """Returns why this attempt may not be sent now, or None.

    The attempt counts towards the limit of the day on which it started.
    """
    objection = await _objection(connection, settings)
    if objection is not None:
        return objection
    if attempt.amount_nanos != settings.amount_nanos:
        return "the amount was changed"
    if next_day(attempt.started_at) != next_day(now):
        return "its day is over"
    if await _spent_today(connection, settings.account_id, now) > settings.daily_limit_nanos:
        return _limit_reached(settings)
    return None
