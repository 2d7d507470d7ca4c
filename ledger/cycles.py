"""Billing by the clock: ends the 24-hour cycles of inference instances and expires holds whose owner vanished."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

import structlog

from db import instances, volumes, writes
from db.database import Database, WriteConnection
from db.instances import InstanceRow
from db.rows import HoldRow
from db.volumes import RateRow, ResourceKey
from ledger.commands import ExpireHold, Posting, Ref, RenewHold, Writer
from ledger.ids import account_id_text
from ledger.kinds import ChargeState, RefType, WriterKind
from ledger.posting import Clock, Ledger, LedgerTransaction, utc_now
from ledger.rates import HOUR, cost_nanos, stretches
from ledger.unbilled import PATIENCE, REFUSALS, Unbilled

log = structlog.get_logger()

CYCLE_WRITER: Final = Writer(WriterKind.SERVICE, "cycle-worker")
EXPIRY_WRITER: Final = Writer(WriterKind.SERVICE, "expiry-worker")
AT_ONCE: Final = 200
CYCLE_HOURS: Final = 24

Read = Callable[[Database, datetime, int], Awaitable[list[ResourceKey]]]


def _next_amount(rates: Sequence[RateRow], at: datetime) -> int:
    """Returns the cost of the next cycle at the rate that is in force when the cycle begins."""
    in_force = ([rate for rate in rates if rate.since <= at] or list(rates[:1]))[-1]
    return in_force.quantity * in_force.price_nanos * CYCLE_HOURS


async def _renewed_instance(connection: WriteConnection, hold: HoldRow) -> InstanceRow | None:
    """Returns the hold's instance if the worker renews it. `db.instances` applies the same rule to many instances."""
    if hold.ref_type != RefType.INFERENCE_INSTANCE:
        return None
    found = await instances.instance(connection, hold.account_id, hold.ref_id)
    return found if found is not None and found.reported_at >= hold.period_start else None


class _EndedHolds(ABC):
    """Base of the jobs that end holds whose time is over, each in its own transaction."""

    def __init__(self, database: Database, ledger: Ledger, delay: timedelta, clock: Clock) -> None:
        self._database = database
        self._ledger = ledger
        self._delay = delay
        """How long after its end a hold is processed."""
        self._clock = clock
        self._patience_seconds = PATIENCE * database.lock_timeout_seconds
        self._unbilled = Unbilled("hold not ended")

    async def _run(self, read: Read) -> int:
        done = 0
        tried: set[ResourceKey] = set()
        while keys := [key for key in await self._due(read) if key not in tried]:
            for key in keys:
                try:
                    ended = await self._end(key)
                    self._unbilled.billed(key)
                except REFUSALS as error:
                    self._unbilled.refused(key, error)
                    ended = False
                done += ended
                if not ended:
                    tried.add(key)
        return done

    async def _due(self, read: Read) -> list[ResourceKey]:
        return await read(self._database, self._clock() - self._delay, AT_ONCE)

    async def _end(self, key: ResourceKey) -> bool:
        async def work(transaction: LedgerTransaction) -> bool:
            await writes.lock_accounts(transaction.connection, [key[0]])
            hold = await instances.newest_hold(transaction.connection, key)
            # The instance's service or another worker may have changed the hold since the keys were read.
            if hold is None or hold.state != ChargeState.OPEN or hold.period_end > self._clock() - self._delay:
                return False
            return await self._process(transaction, hold)

        return await self._ledger.within(work, [key[0]], patience_seconds=self._patience_seconds)

    @abstractmethod
    async def _process(self, transaction: LedgerTransaction, hold: HoldRow) -> bool:
        """Returns whether the hold was ended. Its account is locked."""


class CycleSettlement(_EndedHolds):
    """Renews the instances that have a rate: posts the next hold, then the refund or overage of the cycle that
    ended."""

    def __init__(
        self, database: Database, ledger: Ledger, delay: timedelta = timedelta(), clock: Clock = utc_now
    ) -> None:
        super().__init__(database, ledger, delay, clock)

    async def run(self) -> int:
        """Processes all cycles that are over. Returns how many."""
        return await self._run(instances.ended_cycles)

    async def _process(self, transaction: LedgerTransaction, hold: HoldRow) -> bool:
        connection = transaction.connection
        instance = await _renewed_instance(connection, hold)
        if instance is None:
            return False
        ref = Ref(RefType(hold.ref_type), hold.ref_id)
        key = hold.account_id, hold.ref_type, hold.ref_id
        rates = (await volumes.rates_by_key(connection, [key]))[key]
        used = cost_nanos(stretches(rates, hold.period_start, hold.period_end), HOUR, "what the cycle came to")
        command = RenewHold(ref, used, None, _next_amount(rates, hold.period_end), None)
        call = f"{hold.ref_id}/{hold.cycle}"
        (outcome,) = await transaction.post(Posting(hold.account_id, CYCLE_WRITER, (command,), "endCycle", call))
        if outcome.to_stop:
            await instances.put_instance(connection, instance._replace(to_stop_since=self._clock()))
            log.warning("instance to stop", account=account_id_text(hold.account_id), instance=hold.ref_id)
        return True


class HoldExpiry(_EndedHolds):
    """Settles holds that nobody settled during the grace period, at exactly the held amount.

    A late settlement can still follow.
    """

    def __init__(self, database: Database, ledger: Ledger, grace: timedelta, clock: Clock = utc_now) -> None:
        super().__init__(database, ledger, grace, clock)

    async def run(self) -> int:
        return await self._run(instances.abandoned_holds)

    async def _process(self, transaction: LedgerTransaction, hold: HoldRow) -> bool:
        if await _renewed_instance(transaction.connection, hold) is not None:
            return False
        ref = Ref(RefType(hold.ref_type), hold.ref_id)
        await transaction.post(Posting(hold.account_id, EXPIRY_WRITER, (ExpireHold(ref),), "expireHold"))
        log.warning("hold expired", account=account_id_text(hold.account_id), resource=hold.ref_id)
        return True
