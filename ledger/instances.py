"""Inference instances: what services report about them, which is the number of GPUs, the price, and that they still
run.

The worker (`ledger.cycles`) renews an instance that has a rate: a cycle costs the price of its GPUs' time. An instance
without a rate is renewed by its service, which knows its usage, through `renewHold`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from db import instances, volumes, writes
from db.database import WriteConnection
from db.instances import InstanceRow
from db.volumes import RateRow
from ledger.attribution import NOBODY, Attribution, check_same
from ledger.commands import Ref
from ledger.descriptions import title
from ledger.errors import BadUserInput, Conflict, NotFound
from ledger.kinds import ChargeState, RefType
from ledger.past import checked_past
from ledger.rates import HOUR, checked_rate
from ledger.texts import REF_ID


@dataclass(frozen=True, slots=True)
class InstanceRate:
    ref_id: str
    gpus: int
    price_nanos: int
    """Price per GPU and hour."""
    since: datetime | None = None
    """None means now."""


async def set_rate(
    connection: WriteConnection, account_id: int, rate: InstanceRate, now: datetime, attribution: Attribution = NOBODY
) -> InstanceRow:
    """Changes the rate from a moment in the running cycle on. The same rate again reports that the instance still runs.

    Raises BadUserInput, NotFound for an instance without a hold, and Conflict if the hold is settled, the moment is in
    a settled cycle, or the instance was opened with another attribution. If the next cycle could not be paid, nothing
    is changed: see `to_stop_since`.
    """
    checked_rate(rate.gpus, rate.price_nanos, HOUR, "gpus", "pricePerGpuHour")
    if not rate.price_nanos:
        raise BadUserInput("pricePerGpuHour must be above zero")
    REF_ID.checked(rate.ref_id, "refId")
    ref = Ref(RefType.INFERENCE_INSTANCE, rate.ref_id)
    key = account_id, ref.type.value, ref.id
    await writes.lock_accounts(connection, [account_id])
    hold = await instances.newest_hold(connection, key)
    if hold is None:
        msg = f"{title(ref)} has no hold: open it first"
        raise NotFound(msg)
    if attribution != NOBODY:
        charge = (await writes.charges_by_ref(connection, [key]))[key]
        check_same(attribution, Attribution(charge.api_key or "", charge.project or ""), title(ref))
    known = await instances.instance(connection, account_id, ref.id)
    if known is not None and known.to_stop_since is not None:
        return known
    if hold.state != ChargeState.OPEN:
        msg = f"the hold of {title(ref)} is already {hold.state}"
        raise Conflict(msg)
    since = (now if rate.since is None else checked_past(rate.since, now, "since")).astimezone(UTC)
    if since < hold.period_start:
        raise Conflict("since must not be in a cycle that is already settled, or before the first cycle")
    given = RateRow(*key, since=since, quantity=rate.gpus, price_nanos=rate.price_nanos)
    await _put_rate(connection, given)
    row = InstanceRow(account_id, ref.id, reported_at=max(now, since), to_stop_since=None)
    await instances.put_instance(connection, row)
    return row


async def _put_rate(connection: WriteConnection, given: RateRow) -> None:
    key = given[:3]
    rates = (await volumes.rates_by_key(connection, [key]))[key]
    if rates:
        if given.since < rates[-1].since:
            raise Conflict("since must not be before the newest change of the instance's rate")
        if given[4:] == rates[-1][4:]:
            return
    await volumes.put_rate(connection, given)
