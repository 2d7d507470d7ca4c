"""Volumes: what services report about them, which is that a volume exists, its size and price, and its deletion."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from db import volumes, writes
from db.database import WriteConnection
from db.volumes import RateRow, ResourceKey, VolumeRow
from ledger.attribution import NOBODY, Attribution, check_same
from ledger.commands import Ref
from ledger.descriptions import title
from ledger.errors import BadUserInput, Conflict, NotFound
from ledger.kinds import RefType
from ledger.past import checked_past
from ledger.rates import DAY, checked_rate
from ledger.texts import REF_ID

MAX_BACK: Final = timedelta(days=366)
"""How long ago a newly reported volume may have been created."""

KINDS: Final = (RefType.VOLUME, RefType.SHARED_FILESYSTEM)


@dataclass(frozen=True, slots=True)
class VolumeRate:
    ref: Ref
    gib: int
    price_nanos: int
    """Price per GiB and day."""
    since: datetime | None = None
    """None means now."""


def _key(account_id: int, ref: Ref) -> ResourceKey:
    if ref.type not in KINDS:
        raise BadUserInput("refType must be VOLUME or SHARED_FILESYSTEM")
    REF_ID.checked(ref.id, "refId")
    return account_id, ref.type.value, ref.id


async def _locked(connection: WriteConnection, key: ResourceKey) -> VolumeRow | None:
    """Locks the volume by its account's row, as the billing worker does. Raises NotFound."""
    if not await writes.lock_accounts(connection, [key[0]]):
        raise NotFound("there is no such account")
    return (await volumes.volumes_by_key(connection, [key])).get(key)


def _checked_moment(given: datetime | None, now: datetime, what: str) -> datetime:
    moment = now if given is None else checked_past(given, now, what)
    if moment < now - MAX_BACK:
        msg = f"{what} must not be more than {MAX_BACK.days} days ago"
        raise BadUserInput(msg)
    return moment.astimezone(UTC)


def _check_unbilled(volume: VolumeRow, moment: datetime, what: str) -> None:
    if volume.next_day is None or moment.date() < volume.next_day:
        msg = f"{what} must not be in a day that is already billed: the first day not yet billed is {volume.next_day}"
        raise Conflict(msg)


async def set_volume(
    connection: WriteConnection, account_id: int, rate: VolumeRate, now: datetime, attribution: Attribution = NOBODY
) -> VolumeRow:
    """Registers the volume, or changes its size or price from a moment on.

    Raises BadUserInput, and Conflict if the volume was deleted, has another attribution, the day is already billed, or
    the moment is before the newest change.
    """
    checked_rate(rate.gib, rate.price_nanos, DAY, "gib", "pricePerGibDay")
    key = _key(account_id, rate.ref)
    volume = await _locked(connection, key)
    since = _checked_moment(rate.since, now, "since")
    if volume is None:
        who = (attribution.api_key or None, attribution.project or None)
        volume = VolumeRow(*key, since, None, since.date(), *who)
    elif volume.deleted_at is not None:
        msg = f"{title(rate.ref)} was deleted: its id cannot be used again"
        raise Conflict(msg)
    else:
        check_same(attribution, attribution_of(volume), title(rate.ref))
        _check_unbilled(volume, since, "since")
        newest = (await volumes.rates_by_key(connection, [key]))[key][-1]
        if since < newest.since:
            raise Conflict("since must not be before the newest change of the volume")
    await volumes.put_volume(connection, volume)
    await volumes.put_rate(connection, RateRow(*key, since=since, quantity=rate.gib, price_nanos=rate.price_nanos))
    return volume


def attribution_of(volume: VolumeRow) -> Attribution:
    return Attribution(volume.api_key or "", volume.project or "")


async def delete_volume(
    connection: WriteConnection, account_id: int, ref: Ref, deleted_at: datetime | None, now: datetime
) -> VolumeRow:
    """Deletes the volume. Its last day is billed up to this moment. Raises NotFound, BadUserInput and Conflict."""
    key = _key(account_id, ref)
    volume = await _locked(connection, key)
    if volume is None:
        msg = f"there is no {title(ref)}"
        raise NotFound(msg)
    if volume.deleted_at is not None:
        msg = f"{title(ref)} was already deleted"
        raise Conflict(msg)
    moment = _checked_moment(deleted_at, now, "deletedAt")
    _check_unbilled(volume, moment, "deletedAt")
    newest = (await volumes.rates_by_key(connection, [key]))[key][-1]
    if moment < newest.since:
        raise Conflict("deletedAt must not be before the newest change of the volume")
    volume = volume._replace(deleted_at=moment)
    await volumes.put_volume(connection, volume)
    return volume
