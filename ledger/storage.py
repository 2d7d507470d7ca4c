"""Storage billing: one row per volume and UTC day, whenever the worker gets to it.

A day is billed for the time that the volume existed, at its sizes and prices at that time, and rounded once. The
transaction that writes a volume's rows also moves its next day to bill. The idempotency key, made of the volume and the
day, refuses a second row in any case.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from db import volumes, writes
from db.database import Database
from db.volumes import RateRow, ResourceKey, VolumeRow
from ledger.commands import Command, EndCharge, Entry, Period, Posting, Ref, Writer
from ledger.descriptions import dollars, duration, title
from ledger.kinds import RefType, TransactionType, WriterKind
from ledger.posting import Clock, Ledger, LedgerTransaction, utc_now
from ledger.rates import DAY, Stretch, cost_nanos, stretches
from ledger.unbilled import PATIENCE, REFUSALS, Unbilled
from ledger.volumes import attribution_of

WRITER: Final = Writer(WriterKind.STORAGE_WORKER, "storage-worker")
OPERATION: Final = "billStorage"

AT_ONCE: Final = 200
"""Volumes per transaction. Their accounts are locked while it runs."""
DAYS_AT_ONCE: Final = 31
"""Maximum number of days of one volume per transaction, when billing catches up."""


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def last_ended_day(now: datetime, delay: timedelta) -> date:
    """Returns the newest UTC day that ended at least `delay` ago, so that all its changes have been reported."""
    return (now - delay).astimezone(UTC).date() - timedelta(days=1)


def _lived(volume: VolumeRow, day: date) -> Period | None:
    start = max(volume.created_at, _midnight(day))
    end = min(volume.deleted_at or datetime.max.replace(tzinfo=UTC), _midnight(day + timedelta(days=1)))
    return Period(start, end) if start < end else None


def _describe(ref: Ref, day: date, parts: Sequence[Stretch]) -> str:
    """Example: Cloud drive #v-1 on 2026-11-20: 100 GiB × $0.0033 a day; the used part of a day in brackets."""

    def one(part: Stretch) -> str:
        time = part.end - part.start
        of_day = "" if time == DAY else f" ({duration(time)} of it)"
        return f"{part.quantity:,} GiB × {dollars(part.price_nanos)} a day{of_day}"

    shown = [one(part) for part in parts[:3]]
    if len(parts) > len(shown):
        shown.append(f"and {len(parts) - len(shown)} more sizes")
    return f"{title(ref)} on {day}: {', then '.join(shown)}"


def _posting(volume: VolumeRow, rates: Sequence[RateRow], day: date) -> Posting | None:
    """Returns None if the day costs nothing."""
    lived = _lived(volume, day)
    if lived is None:
        return None
    ref = Ref(RefType(volume.ref_type), volume.ref_id)
    parts = stretches(rates, lived.start, lived.end)
    cost = cost_nanos(parts, DAY, f"the price of {title(ref)}")
    if not cost:
        return None
    entry = Entry(TransactionType.STORAGE_BILLING, -cost, _describe(ref, day, parts), ref=ref, period=lived)
    call = f"{volume.ref_type}/{volume.ref_id}/{day}"
    return Posting(volume.account_id, WRITER, (entry,), OPERATION, call, attribution=attribution_of(volume))


def _last_day(volume: VolumeRow) -> date | None:
    """Returns the day of the volume's last moment; None if the volume still exists."""
    if volume.deleted_at is None:
        return None
    return (max(volume.deleted_at - timedelta(microseconds=1), volume.created_at)).date()


def _billed(volume: VolumeRow, rates: Sequence[RateRow], last_day: date) -> tuple[list[Posting], VolumeRow]:
    """Returns the postings that are due for the volume, and the volume after them."""
    assert volume.next_day is not None
    ends = _last_day(volume)
    last = min(last_day, volume.next_day + timedelta(days=DAYS_AT_ONCE - 1), ends or date.max)
    days = [volume.next_day + timedelta(days=number) for number in range((last - volume.next_day).days + 1)]
    postings = [posting for day in days if (posting := _posting(volume, rates, day))]
    is_over = ends is not None and last >= ends
    if is_over:
        end: Command = EndCharge(Ref(RefType(volume.ref_type), volume.ref_id))
        postings.append(Posting(volume.account_id, WRITER, (end,), OPERATION))
    return postings, volume._replace(next_day=None if is_over else max(last + timedelta(days=1), volume.next_day))


class StorageBilling:
    def __init__(
        self, database: Database, ledger: Ledger, delay: timedelta = timedelta(), clock: Clock = utc_now
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._delay = delay
        """How long after its end a day is billed."""
        self._clock = clock
        self._patience_seconds = PATIENCE * database.lock_timeout_seconds
        self._unbilled = Unbilled("volume not billed")

    async def run(self) -> int:
        """Bills all days that are over. Returns how many rows were written."""
        rows = 0
        last_day = last_ended_day(self._clock(), self._delay)
        refused: set[ResourceKey] = set()
        while not refused.issuperset(keys := await volumes.due(self._database, last_day, AT_ONCE)):
            left = [key for key in keys if key not in refused]
            try:
                rows += await self._bill(left, last_day)
            except REFUSALS:
                rows += await self._bill_one_by_one(left, last_day, refused)
        return rows

    async def _bill_one_by_one(self, keys: Sequence[ResourceKey], last_day: date, refused: set[ResourceKey]) -> int:
        """Bills each volume in its own transaction, so that a refused row does not stop the billing of other
        volumes."""
        rows = 0
        for key in keys:
            try:
                rows += await self._bill([key], last_day)
                self._unbilled.billed(key)
            except REFUSALS as error:
                self._unbilled.refused(key, error)
                refused.add(key)
        return rows

    async def _bill(self, keys: Sequence[ResourceKey], last_day: date) -> int:
        async def work(transaction: LedgerTransaction) -> int:
            connection = transaction.connection
            await writes.lock_accounts(connection, {key[0] for key in keys})
            found = await volumes.volumes_by_key(connection, keys)
            rates = await volumes.rates_by_key(connection, keys)
            postings: list[Posting] = []
            for key, volume in sorted(found.items()):
                # Another worker may have billed the volume since the keys were read.
                if volume.next_day is not None and volume.next_day <= last_day:
                    of_volume, after = _billed(volume, rates[key], last_day)
                    postings += of_volume
                    await volumes.put_volume(connection, after)
            outcomes = await transaction.post(*postings) if postings else []
            return sum(len(outcome.transactions) for outcome in outcomes if not outcome.replayed)

        return await self._ledger.within(work, patience_seconds=self._patience_seconds)
