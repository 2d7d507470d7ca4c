"""Usage days, together with the requests that were counted once each."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, NamedTuple

from sqlalchemy import BigInteger, LargeBinary, Select, bindparam, select

from db import tables
from db.recount import Read
from db.statements import exact_sum, exact_sums

_DAY: Final = tables.usage_days
_REQUEST: Final = tables.usage_requests

_ID: Final = bindparam("account_id", type_=BigInteger())


class FedByRequests(NamedTuple):
    """Sums of all days that were added up from requests."""

    calls: int
    cost_nanos: int


@lru_cache(maxsize=2)
def _fed_by_requests(postgresql: bool) -> Select[Any]:
    sums = (exact_sum(figure, postgresql=postgresql) for figure in (_DAY.c.calls, _DAY.c.cost_nanos))
    return select(*(part for one in sums for part in one)).where(_DAY.c.account_id == _ID, _DAY.c.fed_by == "requests")


async def fed_by_requests(read: Read, account_id: int, *, postgresql: bool) -> FedByRequests:
    [sums] = await read(_fed_by_requests(postgresql), {"account_id": account_id})
    return FedByRequests(*exact_sums(sums, postgresql=postgresql))


_DIGESTS: Final = (
    select(_REQUEST.c.digest)
    .where(_REQUEST.c.account_id == _ID, _REQUEST.c.digest > bindparam("after", type_=LargeBinary()))
    .order_by(_REQUEST.c.digest)
    .limit(bindparam("rows", type_=BigInteger()))
)

_AT_ONCE: Final = 10_000


async def request_count(read: Read, account_id: int) -> int:
    """Counts the requests in steps, because counting a whole table may exceed the statement timeout."""
    count, after = 0, b"\x00"
    while rows := await read(_DIGESTS, {"account_id": account_id, "after": after, "rows": _AT_ONCE}):
        count, after = count + len(rows), bytes(rows[-1][0])
    return count
