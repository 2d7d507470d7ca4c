"""Costs by hour, and the spend limits that they count in."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, NamedTuple

from sqlalchemy import BigInteger, Select, bindparam, func, or_, select

from db.attribution_rows import CostHourRow
from db.attribution_tables import cost_hours
from db.limit_rows import SpendLimitRow
from db.limit_tables import spend_limits
from db.recount import Read
from db.statements import columns, exact_sum, exact_sums
from db.tables import name

_COST: Final = cost_hours
_SPEND_LIMIT: Final = spend_limits

_ID: Final = bindparam("account_id", type_=BigInteger())
_FIRST: Final = bindparam("first_hour", type_=BigInteger())
_END: Final = bindparam("end_hour", type_=BigInteger())

END_OF_HOURS: Final = 2**62
"""An hour after every other one; negative, one before every other one."""

_HOURS: Final = (
    select(*columns(_COST, CostHourRow))
    .where(_COST.c.account_id == _ID, _COST.c.hour >= _FIRST, _COST.c.hour < _END)
    .order_by(*_COST.primary_key)
)


async def cost_hours_from(read: Read, account_id: int, first_hour: int, end_hour: int) -> list[CostHourRow]:
    """Reads the costs from an hour to before another one."""
    given = {"account_id": account_id, "first_hour": first_hour, "end_hour": end_hour}
    return [CostHourRow._make(row) for row in await read(_HOURS, given)]


_LIMITS_IN_FORCE: Final = (
    select(*columns(_SPEND_LIMIT, SpendLimitRow))
    .where(_SPEND_LIMIT.c.account_id == _ID, _SPEND_LIMIT.c.deleted_at.is_(None))
    .order_by(_SPEND_LIMIT.c.number)
)


async def limits_in_force(read: Read, account_id: int) -> list[SpendLimitRow]:
    return [SpendLimitRow._make(row) for row in await read(_LIMITS_IN_FORCE, {"account_id": account_id})]


class Spent(NamedTuple):
    """Costs of one API key and project, or of all."""

    nanos: int
    """Net cost of the window."""
    later_hours: int
    """Rows of hours after the window."""


@lru_cache(maxsize=2)
def _spent(postgresql: bool) -> Select[Any]:
    scopes = (
        or_(bindparam(one, type_=name()) == "", _COST.c[one] == bindparam(one, type_=name()))
        for one in ("api_key", "project")
    )
    sums = (
        part
        for figure in (_COST.c.gross_nanos, _COST.c.refunded_nanos)
        for part in exact_sum(figure, postgresql=postgresql, only=_COST.c.hour < _END)
    )
    return select(func.count().filter(_COST.c.hour >= _END), *sums).where(
        _COST.c.account_id == _ID, _COST.c.hour >= _FIRST, *scopes
    )


async def spent(read: Read, limit: SpendLimitRow, first_hour: int, end_hour: int, *, postgresql: bool) -> Spent:
    """Adds up what counts in the limit from an hour to before another one."""
    scope = {"account_id": limit.account_id, "api_key": limit.api_key, "project": limit.project}
    given = {**scope, "first_hour": first_hour, "end_hour": end_hour}
    [(later, *sums)] = await read(_spent(postgresql), given)
    gross, refunded = exact_sums(sums, postgresql=postgresql)
    return Spent(gross - refunded, later)
