"""Prices of usage, and the requests that are kept in full, with all that they refer to."""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import BigInteger, LargeBinary, and_, bindparam, select, tuple_

from db import tables
from db.attribution_rows import RequestDetailRow, UsagePriceRow
from db.attribution_tables import request_details, usage_prices
from db.recount import Read
from db.recount.usage_hours import price_of
from db.statements import columns
from db.tables import timestamp

_PRICE: Final = usage_prices
_DETAIL: Final = request_details
_REQUEST: Final = tables.usage_requests
_ROW: Final = tables.transactions

_ID: Final = bindparam("account_id", type_=BigInteger())
_LIMIT: Final = bindparam("rows", type_=BigInteger())

_PRICES: Final = (
    select(*columns(_PRICE, UsagePriceRow))
    .where(_PRICE.c.account_id == _ID, _PRICE.c.id > bindparam("after", type_=BigInteger()))
    .order_by(_PRICE.c.id)
    .limit(_LIMIT)
)


async def prices_after(read: Read, account_id: int, price_id: int, limit: int) -> list[UsagePriceRow]:
    given = {"account_id": account_id, "after": price_id, "rows": limit}
    return [UsagePriceRow._make(row) for row in await read(_PRICES, given)]


class StoredDetail(NamedTuple):
    row: RequestDetailRow
    price: UsagePriceRow | None
    """None if there is none with the request's price id."""
    is_counted: bool
    """Whether the request's digest is stored."""
    ref_type: str | None
    """The ref type of the row that charged it; None if there is no such row. The next two as well."""
    period_start: datetime | None
    period_end: datetime | None


_DETAILS: Final = (
    select(
        *columns(_DETAIL, RequestDetailRow),
        *columns(_PRICE, UsagePriceRow),
        _REQUEST.c.digest,
        _ROW.c.ref_type,
        _ROW.c.period_start,
        _ROW.c.period_end,
    )
    .select_from(
        _DETAIL.outerjoin(_PRICE, and_(_PRICE.c.account_id == _DETAIL.c.account_id, _PRICE.c.id == _DETAIL.c.price_id))
        .outerjoin(_REQUEST, and_(_REQUEST.c.account_id == _DETAIL.c.account_id, _REQUEST.c.digest == _DETAIL.c.digest))
        .outerjoin(_ROW, and_(_ROW.c.account_id == _DETAIL.c.account_id, _ROW.c.seq == _DETAIL.c.seq))
    )
    .where(
        _DETAIL.c.account_id == _ID,
        tuple_(_DETAIL.c.at, _DETAIL.c.digest)
        > tuple_(bindparam("at", type_=timestamp()), bindparam("digest", type_=LargeBinary())),
    )
    .order_by(_DETAIL.c.at, _DETAIL.c.digest)
    .limit(_LIMIT)
)


async def details_after(read: Read, account_id: int, at: datetime, digest: bytes, limit: int) -> list[StoredDetail]:
    """Reads requests in the order of their times."""
    given = {"account_id": account_id, "at": at, "digest": digest, "rows": limit}
    width = len(RequestDetailRow._fields)
    end = width + len(UsagePriceRow._fields)
    return [
        StoredDetail(
            RequestDetailRow._make(row[:width]), price_of(row[width:end]), row[end] is not None, *row[end + 1 :]
        )
        for row in await read(_DETAILS, given)
    ]
