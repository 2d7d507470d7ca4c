"""Requests in full and their prices, written as they are."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import insert

from db.attribution_rows import RequestDetailRow, UsageHourRow
from db.attribution_tables import request_details, usage_hours, usage_prices
from db.database import Database
from ledger.usage import id_digest
from ledger.usage_prices import UsagePrice, price_id


def request_row(account_id: int, name: str, at: datetime, **changed: Any) -> RequestDetailRow:
    row = RequestDetailRow(
        account_id=account_id,
        at=at,
        digest=id_digest(name),
        request_id=name,
        model="m-large",
        category="chat",
        origin="platform",
        api_key=None,
        project=None,
        end_user=None,
        input_tokens=100,
        cached_input_tokens=40,
        output_tokens=20,
        reasoning_tokens=5,
        units_nanos=0,
        cost_nanos=135,
        price_id=0,
    )
    return row._replace(**changed)


async def put_requests(database: Database, *rows: RequestDetailRow) -> None:
    if rows:
        async with database.write() as connection:
            await connection.execute(insert(request_details), [row._asdict() for row in rows])


async def put_hours(database: Database, *rows: UsageHourRow) -> None:
    async with database.write() as connection:
        await connection.execute(insert(usage_hours), [row._asdict() for row in rows])


async def put_price(database: Database, account_id: int, price: UsagePrice) -> int:
    """Returns the id of the price."""
    async with database.write() as connection:
        await connection.execute(insert(usage_prices).values(**price.row(account_id)._asdict()))
    return price_id(price)
