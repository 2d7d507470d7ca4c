"""Runway: how fast an account spends, and when its available credit reaches zero if that goes on.

Cost counts in the time that it covers: a hold is cost of the time that its instance runs, not of the moment in which it
was held. Costs of a window are therefore those of its rows, less what open holds have paid in advance, and corrected by
the holds that began before the window.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from fractions import Fraction
from typing import Final, NamedTuple

from db.hour_totals import COST, Grouping, GroupPage, GroupsFound, HourFilter
from db.hours import hour_of, time_of_hour
from db.rows import AccountRow
from db.runway import CrossingHold
from ledger.kinds import CostKind, RefType
from resolvers.context import QueryContext
from resolvers.reads import authorizations, recharges
from resolvers.reads.phrases import money, since

MAX_DAYS: Final = 3_653
"""Ten years: an end that is further away is not given."""

_MICROSECOND: Final = timedelta(microseconds=1)
_HOUR: Final = timedelta(hours=1) // _MICROSECOND
_DAY: Final = timedelta(days=1) // _MICROSECOND
_WINDOWS: Final = (timedelta(days=1), timedelta(days=7))
_BY_KIND: Final = Grouping(keys=("kind",))
_PACED: Final = (CostKind.API_USAGE.value, CostKind.OTHER.value)
"""Kinds of cost that go on at their pace. GPU instances do too, but their open holds are used up first."""


class RunwayState(StrEnum):
    ENDS = "ends"
    LASTS = "lasts"
    NOTHING_SPENT = "nothing_spent"
    NO_CREDIT = "no_credit"


class Burn(NamedTuple):
    """Cost of the time of a window, in all and by kind."""

    from_time: datetime
    to_time: datetime
    kinds: dict[str, int]

    @property
    def cost_nanos(self) -> int:
        return sum(self.kinds.values())

    @property
    def length(self) -> int:
        """Microseconds; at least an hour, so that the first minutes of an account are not taken for its pace."""
        return max((self.to_time - self.from_time) // _MICROSECOND, _HOUR)

    @property
    def per_day_nanos(self) -> int:
        return round(Fraction(self.cost_nanos * _DAY, self.length))


class Due(NamedTuple):
    """An amount that is taken at once: now plus these microseconds, and every 24 hours after."""

    after: int
    nanos: int


@dataclass(frozen=True, slots=True)
class Plan:
    """How available credit falls."""

    length: int
    """Microseconds of the window that the pace is of."""
    paced_nanos: int
    """Cost of the window that goes on evenly."""
    gpu_nanos: int
    """Cost of GPU instances in the window, which goes on evenly too."""
    prepaid_nanos: int
    """Unused part of the open holds of GPU instances. It is used up before GPU instances cost available credit."""
    due: Sequence[Due]

    def drawn_nanos(self, after: int) -> int:
        """Returns how much of the credit is gone after these microseconds, without the fraction of a nano-dollar."""
        gpu = max(self.gpu_nanos * after - self.prepaid_nanos * self.length, 0)
        due = sum(one.nanos * ((after - one.after) // _DAY + 1) for one in self.due if one.after <= after)
        return (self.paced_nanos * after + gpu) // self.length + due

    @property
    def costs_nothing(self) -> bool:
        return not (self.paced_nanos or self.gpu_nanos or self.due)


@dataclass(frozen=True, slots=True)
class RunwayEstimate:
    account: AccountRow
    state: RunwayState
    available_nanos: int
    running_hour_nanos: int
    ends_at: datetime | None
    lowest_nanos: int
    """The balance just before `ends_at`, or now without it."""
    last_day: Burn
    last_week: Burn


def _start(now: datetime, length: timedelta) -> datetime:
    """Returns the start of a window: the beginning of an hour."""
    return time_of_hour(hour_of(now - length))


def _costs(now: datetime, length: timedelta) -> GroupPage:
    hours = HourFilter(hour_of(now - length), hour_of(now) + 1)
    return GroupPage(COST, hours, _BY_KIND, limit=len(CostKind))


def prefetch_runway(context: QueryContext, account_id: int) -> int:
    """Prefetches all but auto-recharge. Returns the account, the key for the fields below."""
    authorizations.prefetch_available(context, account_id)
    context.loaders.volume_day_costs.load((account_id, None))
    for length in _WINDOWS:
        context.loaders.hour_groups.load((account_id, _costs(context.now, length)))
        context.loaders.crossing_holds.load((account_id, _start(context.now, length)))
    return account_id


def _part(nanos: int, start: datetime, end: datetime, window: tuple[datetime, datetime]) -> int:
    """Returns the part of an amount whose time lies in the window."""
    covered = max(min(end, window[1]) - max(start, window[0]), timedelta())
    return nanos * (covered // _MICROSECOND) // ((end - start) // _MICROSECOND) if end > start else 0


def _end(hold: CrossingHold) -> datetime:
    """Returns when the used time of the hold ended, or will end."""
    if hold.settled_at is None:
        return hold.period_end
    # A settlement may be late, even after the hold expired.
    ended = hold.ended_at or hold.settled_at
    overran = hold.used_nanos is not None and hold.used_nanos > hold.held_nanos
    return ended if overran else min(hold.period_end, ended)


def _correction(hold: CrossingHold, window: tuple[datetime, datetime]) -> int:
    """Returns the cost of the hold's time within the window, less what its rows in the window add up to."""
    used = hold.held_nanos if hold.used_nanos is None else hold.used_nanos
    opened = 0 if hold.is_earlier else hold.held_nanos
    settled = used - hold.held_nanos if hold.settled_seq is not None else 0
    return _part(used, hold.period_start, _end(hold), window) - opened - settled


def _burn(
    context: QueryContext, account: AccountRow, length: timedelta, found: GroupsFound, holds: Sequence[CrossingHold]
) -> Burn:
    window = _start(context.now, length), context.now
    kinds = {group.keys[0]: group.figures.cost_nanos for group in found.groups}
    for hold in holds:
        kinds[hold.ref_type] = kinds.get(hold.ref_type, 0) + _correction(hold, window)
    opened = time_of_hour(hour_of(account.created_at))
    return Burn(min(max(window[0], opened), context.now), context.now, kinds)


def _is_open(hold: CrossingHold) -> bool:
    return hold.used_nanos is None


def _running_hour_nanos(holds: Sequence[CrossingHold], volume_day_nanos: int) -> int:
    """Returns what open instances and volumes cost per hour."""
    lengths = ((hold.held_nanos, (hold.period_end - hold.period_start) // _MICROSECOND) for hold in holds)
    of_holds = sum((Fraction(nanos * _HOUR, length) for nanos, length in lengths if length), Fraction())
    return round(of_holds + Fraction(volume_day_nanos, 24))


def _due(now: datetime, holds: Sequence[CrossingHold], volume_day_nanos: int) -> list[Due]:
    """Returns the renewals of inference instances, and the daily rows of volumes."""
    due = [
        Due(max((hold.period_end - now) // _MICROSECOND, 0), hold.held_nanos)
        for hold in holds
        if hold.ref_type == RefType.INFERENCE_INSTANCE
    ]
    midnight = datetime.combine(now.astimezone(UTC).date() + timedelta(days=1), time(), UTC)
    return [*due, Due((midnight - now) // _MICROSECOND, volume_day_nanos)] if volume_day_nanos else due


def plan_of(now: datetime, burn: Burn, holds: Sequence[CrossingHold], volume_day_nanos: int) -> Plan:
    """`holds` are the open ones."""
    gpu = [hold for hold in holds if hold.ref_type == RefType.GPU_INSTANCE]
    future = now, datetime.max.replace(tzinfo=UTC)
    return Plan(
        length=burn.length,
        paced_nanos=max(sum(burn.kinds.get(kind, 0) for kind in _PACED), 0),
        gpu_nanos=max(burn.kinds.get(RefType.GPU_INSTANCE.value, 0), 0),
        prepaid_nanos=sum(_part(hold.held_nanos, hold.period_start, hold.period_end, future) for hold in gpu),
        due=_due(now, holds, volume_day_nanos),
    )


def _state(available_nanos: int, plan: Plan) -> RunwayState:
    if available_nanos <= 0:
        return RunwayState.NO_CREDIT
    if plan.costs_nothing:
        return RunwayState.NOTHING_SPENT
    return RunwayState.ENDS if plan.drawn_nanos(MAX_DAYS * _DAY) >= available_nanos else RunwayState.LASTS


def ends_after(available_nanos: int, plan: Plan) -> timedelta:
    """Returns the first microsecond after which nothing is left. The plan must use the credit up in MAX_DAYS."""
    return bisect_left(range(MAX_DAYS * _DAY), available_nanos, key=plan.drawn_nanos) * _MICROSECOND


async def runway(context: QueryContext, account: AccountRow) -> RunwayEstimate:
    loaders, now = context.loaders, context.now
    costs = [loaders.hour_groups.load((account.id, _costs(now, length))) for length in _WINDOWS]
    crossing = [loaders.crossing_holds.load((account.id, _start(now, length))) for length in _WINDOWS]
    available, volume_day_nanos, *_ = await asyncio.gather(
        authorizations.available_nanos(context, account), loaders.volume_day_costs.load((account.id, None)), *costs
    )
    last_day, last_week = [
        _burn(context, account, length, await found, await holds)
        for length, found, holds in zip(_WINDOWS, costs, crossing, strict=True)
    ]
    running = [hold for hold in await crossing[0] if _is_open(hold)]
    plan = plan_of(now, last_week, running, volume_day_nanos)
    state = _state(available, plan)
    after = ends_after(available, plan) if state == RunwayState.ENDS else None
    return RunwayEstimate(
        account=account,
        state=state,
        available_nanos=available,
        running_hour_nanos=_running_hour_nanos(running, volume_day_nanos),
        ends_at=None if after is None else now + after,
        lowest_nanos=account.balance_nanos - (plan.drawn_nanos(after // _MICROSECOND - 1) if after else 0),
        last_day=last_day,
        last_week=last_week,
    )


async def recharges_before(context: QueryContext, found: RunwayEstimate) -> bool:
    """Returns whether auto-recharge would charge the card before the credit runs out.

    It need not: what authorizations reserve, or what is left when a renewal cannot be paid, may be above the threshold.
    """
    row = await recharges.auto_recharge(context, found.account.id)
    if row is None or found.ends_at is None or found.lowest_nanos >= row.threshold_nanos:
        return False
    if await recharges.block(context, row) is None:
        return True
    next_try = await recharges.next_try_at(context, row)
    return next_try is not None and next_try < found.ends_at


def prefetch_recharges_before(context: QueryContext, account_id: int) -> None:
    recharges.prefetch_auto_recharge(context, account_id)
    recharges.prefetch_block(context, account_id)


async def explanation(context: QueryContext, found: RunwayEstimate) -> str:
    """Returns one to three sentences."""
    currency = found.account.currency
    available = money(found.available_nanos, currency)
    if found.state == RunwayState.NO_CREDIT:
        return f"There is no available credit: {available}."
    if found.state == RunwayState.NOTHING_SPENT:
        return f"{available} is available. Nothing was spent in the last 7 days, and nothing runs that costs credit."
    pace, hour = money(found.last_week.per_day_nanos, currency), money(found.running_hour_nanos, currency)
    basis = f"{available} is available. The last 7 days cost {pace} a day; what runs now costs {hour} an hour."
    if found.ends_at is None:
        return f"{basis} If this goes on, the credit lasts for more than ten years."
    said = f"{basis} If this goes on, the credit lasts until about {since(found.ends_at)} UTC."
    return f"{said} Auto-recharge charges the card before." if await recharges_before(context, found) else said
