"""Gateways and workers that share a database, and what can happen to them while they work."""

from __future__ import annotations

import asyncio
import types
from collections.abc import AsyncIterator, Collection, Coroutine, Generator
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import asyncpg

from db.database import Database, DatabaseOptions
from ledger.cycles import CycleSettlement, HoldExpiry
from ledger.posting import Clock, Ledger, LedgerTransaction, Result, Work
from ledger.recharge_payments import RechargePayments
from ledger.storage import StorageBilling
from ledger.stripe.api import StripeApi
from ledger.stripe.events import StripeEvents
from ledger.stripe.retries import EventRetries
from tests.ledger.model import GRACE

T = TypeVar("T")


PATIENCE_SECONDS: Final = 120.0
"""For a lock, a statement or an answer: a slow machine is none of the things that happen here."""


class PowerCut(Exception):
    """Raised where a transaction has done its work and is not committed yet."""


class MortalLedger(Ledger):
    transactions_left: int | None = None
    """How many it lives for."""

    @asynccontextmanager
    async def open_transaction(
        self, work: Work[Result], account_ids: Collection[int] = (), *, patience_seconds: float | None = None
    ) -> AsyncIterator[tuple[LedgerTransaction, Result]]:
        async def mortal(transaction: LedgerTransaction) -> Result:
            result = await work(transaction)
            if self.transactions_left is not None:
                self.transactions_left -= 1
                if self.transactions_left < 0:
                    raise PowerCut
            return result

        async with super().open_transaction(mortal, account_ids, patience_seconds=patience_seconds) as found:
            yield found


class Process:
    def __init__(self, url: str, clock: Clock, api: StripeApi) -> None:
        self.database = Database(
            DatabaseOptions(
                url, pool_size=4, statement_timeout_seconds=PATIENCE_SECONDS, lock_timeout_seconds=PATIENCE_SECONDS
            )
        )
        self.ledger = MortalLedger(self.database, clock)
        self.events = StripeEvents(self.database, self.ledger, clock=clock)
        self.retries = EventRetries(self.database, self.events, api, clock)
        self.payments = RechargePayments(self.database, api, clock)
        self.jobs: dict[str, StorageBilling | CycleSettlement | HoldExpiry] = {
            "storage": StorageBilling(self.database, self.ledger, clock=clock),
            "cycles": CycleSettlement(self.database, self.ledger, clock=clock),
            "expiry": HoldExpiry(self.database, self.ledger, GRACE, clock),
        }


class Processes:
    """Two of them."""

    def __init__(self, url: str, clock: Clock, api: StripeApi) -> None:
        self._url, self._clock, self._api = url, clock, api
        self._open()

    def _open(self) -> None:
        self.first, self.second = (Process(self._url, self._clock, self._api) for _ in range(2))

    async def close(self) -> None:
        await self.first.database.close()
        await self.second.database.close()

    async def restart(self) -> None:
        """When what was under way has been kept or undone."""
        await self.close()
        if self.first.database.is_postgresql:
            await _no_backends(self._url)
        self._open()
        if not self.first.database.is_postgresql:
            async with self.first.database.write():
                pass


async def _no_backends(url: str) -> None:
    name = url.partition("@/")[2].partition("?")[0]
    connection = await asyncpg.connect(url.replace(f"@/{name}?", "@/postgres?"))
    try:
        while await connection.fetchval("SELECT count(*) FROM pg_stat_activity WHERE datname = $1", name):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    finally:
        await connection.close()


@types.coroutine
def _cancelled_at(work: Coroutine[Any, Any, T], number: int) -> Generator[Any, Any, T]:
    """Cancels the task where it waits for the n-th time: for an answer of the database, or of Stripe."""
    task = asyncio.current_task()
    assert task is not None
    waits, error = 0, None
    while True:
        try:
            waited = work.send(None) if error is None else work.throw(error)
        except StopIteration as end:
            result: T = end.value
            return result
        waits, error = waits + 1, None
        if waits == number:
            asyncio.get_running_loop().call_soon(task.cancel)
        try:
            yield waited
        except BaseException as raised:  # noqa: BLE001  handed on to the work
            error = raised


async def cancelled_at(work: Coroutine[Any, Any, T], number: int) -> T | None:
    """What the work came to; None if it was cancelled."""

    async def run() -> T:
        return await _cancelled_at(work, number)

    try:
        return await asyncio.create_task(run())
    except asyncio.CancelledError:
        return None
