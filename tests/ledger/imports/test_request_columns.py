"""Columns of request logs that say who sent a request and all that it used."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import BytesIO
from typing import Final

import pytest
from sqlalchemy import select

from db.attribution_rows import RequestDetailRow, UsageHourRow
from db.attribution_tables import request_details, usage_hours
from db.database import Database
from db.statements import columns
from ledger.imports.importer import Importer
from ledger.imports.options import ImportOptions
from ledger.imports.reports import FileReport
from ledger.imports.sources import Refusal, Source
from ledger.prices import Prices, Rate
from ledger.usage import id_digest, line_digest, nth_digest
from ledger.usage_prices import PriceSource, UsagePrice, price_id

NOW: Final = datetime(2026, 11, 23, 12, tzinfo=UTC)
OPTIONS: Final = ImportOptions(account="one", model="m", category="chat", create_accounts=True)
PRICES: Final = Prices(
    {"m": Rate(Decimal("1.25"), Decimal(10), cached_input=Decimal("0.125"), unit=Decimal("0.04"))}, with_list=False
)
PRICE: Final = UsagePrice(1_250_000_000, 125_000_000, 10_000_000_000, None, 40_000_000, source=PriceSource.TABLE)
HEADER: Final = (
    "timestamp,request_id,input_tokens,output_tokens,cost,api_key,project,end_user,cached_input_tokens,"
    "reasoning_tokens,units"
)
PLAIN: Final = "timestamp,request_id,input_tokens,output_tokens,cost"


async def imported(
    database: Database, header: str, *lines: str, options: ImportOptions = OPTIONS
) -> tuple[FileReport, list[Refusal]]:
    refusals: list[Refusal] = []
    importer = Importer(database, options, PRICES, lambda: NOW, on_refusals=lambda _, found: refusals.extend(found))
    source = Source("log.csv", BytesIO("\n".join([header, *lines, ""]).encode()))
    return (await importer.run([source])).files[0], refusals


async def hours(database: Database) -> list[UsageHourRow]:
    rows = await database.read(select(*columns(usage_hours, UsageHourRow)).order_by(*usage_hours.primary_key))
    return [UsageHourRow._make(row) for row in rows]


async def details(database: Database) -> list[RequestDetailRow]:
    rows = await database.read(select(*columns(request_details, RequestDetailRow)).order_by(request_details.c.at))
    return [RequestDetailRow._make(row) for row in rows]


async def test_columns_reach_hours_and_requests(database: Database) -> None:
    report, refusals = await imported(
        database,
        HEADER,
        "2026-11-22T10:59:59.1234567Z,r-1,1000,50,,key-7,search,u-1,400,20,2.5",
        "2026-11-22T12:30:00+01:00,,7,3,0.01,,,,,,",
    )
    assert (report.taken, refusals) == (2, [])
    hour = int(datetime(2026, 11, 22, 10, tzinfo=UTC).timestamp()) // 3600
    # 600 × 1.25 + 400 × 0.125 + 50 × 10 millionths of a dollar, and 2.5 × 0.04 dollars.
    cost = 1_300_000 + 100_000_000
    with_price, given = await hours(database)
    account = with_price.account_id
    assert with_price == UsageHourRow(
        *(account, hour, 1, "m", "chat", "platform", "key-7", "search", price_id(PRICE)),
        *(1, 1000, 400, 50, 20, 2_500_000_000, cost, cost),
    )
    assert given == UsageHourRow(
        *(account, hour + 1, 1, "m", "chat", "platform", "", "", 0, 1, 7, 0, 3, 0, 0, 10_000_000, 10_000_000)
    )
    first, second = await details(database)
    assert first == RequestDetailRow(
        account_id=account,
        at=datetime(2026, 11, 22, 10, 59, 59, 123_456, tzinfo=UTC),
        digest=id_digest("r-1"),
        request_id="r-1",
        model="m",
        category="chat",
        origin="platform",
        api_key="key-7",
        project="search",
        end_user="u-1",
        input_tokens=1000,
        cached_input_tokens=400,
        output_tokens=50,
        reasoning_tokens=20,
        units_nanos=2_500_000_000,
        cost_nanos=cost,
        price_id=price_id(PRICE),
    )
    at = int(datetime(2026, 11, 22, 11, 30, tzinfo=UTC).timestamp()) * 10**9
    assert (second.request_id, second.digest) == (None, nth_digest(line_digest(at, "m", "chat", 7, 3), 1))
    assert (second.api_key, second.project, second.end_user, second.price_id) == (None, None, None, 0)


async def test_lines_that_are_known_stay_known_with_more_columns(database: Database) -> None:
    times = ("2026-11-22T10:00:00Z,r-1,1000,50,0.5", "2026-11-22T11:00:00Z,,7,3,0.5", "2026-11-22T11:00:00Z,,7,3,0.5")
    assert (await imported(database, PLAIN, *times))[0].taken == 3
    before = await hours(database), await details(database)
    more = [f"{line},key-7,search,u-1,5,1,2" for line in times]
    report, refusals = await imported(database, HEADER, *more)
    assert ((report.taken, report.known), refusals) == ((0, 3), [])
    assert (await hours(database), await details(database)) == before


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        (
            "1,1,0,,,,2,,",
            "cached_input_tokens must not exceed input_tokens, of which they are a part: 2 is more than 1",
        ),
        ("1,1,0,,,,,2,", "reasoning_tokens must not exceed output_tokens, of which they are a part: 2 is more than 1"),
        ("1,1,0,,,,-1,,", "cached_input_tokens must not be negative: '-1'"),
        ("1,1,0,,,,,1.5,", "reasoning_tokens must be a whole number, not '1.5'"),
        ("1,1,0,,,,,,-1", "units must not be negative: '-1'"),
        ("1,1,0,,,,,,0.0000000001", "units must be a decimal with at most nine fraction digits"),
        (f"1,1,0,{'k' * 129},,,,,", "api_key must have at most 128 characters, not 129"),
        ("1,1,0,,a\u202eb,,,,", "project must not contain control characters"),
        ("1,1,0,,,a\x01b,,,", "end_user must not contain control characters"),
    ],
)
async def test_invalid_cell_refuses_its_line_only(sqlite_database: Database, cells: str, reason: str) -> None:
    time = "2026-11-22T10:00:00Z,"
    report, refusals = await imported(sqlite_database, HEADER, f"{time}r-1,{cells}", f"{time}r-2,1,1,0,,,,,,")
    assert (report.taken, report.refused) == (1, 1)
    (refusal,) = refusals
    assert refusal.line == 2
    assert refusal.reason.startswith(reason)
    assert [one.request_id for one in await details(sqlite_database)] == ["r-2"]


@pytest.mark.parametrize(("days", "kept"), [(35, ["new", "newest"]), (1, ["newest"]), (0, [])])
async def test_only_recent_requests_are_kept_in_full(sqlite_database: Database, days: int, kept: list[str]) -> None:
    moments = {"old": NOW - timedelta(days=35), "new": NOW - timedelta(days=34), "newest": NOW - timedelta(hours=1)}
    lines = [f"{moment.isoformat()},{name},1,1,0" for name, moment in moments.items()]
    report, _ = await imported(sqlite_database, PLAIN, *lines, options=replace(OPTIONS, detail_days=days))
    assert report.taken == 3
    assert [one.request_id for one in await details(sqlite_database)] == kept
    assert sum(row.calls for row in await hours(sqlite_database)) == 3


async def test_an_export_by_hour_is_refused(sqlite_database: Database) -> None:
    header = "account,hour,span_hours,model,category,origin,api_key,project,calls,input_tokens,cost"
    report, refusals = await imported(sqlite_database, header, "acct_1,2026-11-22T10:00:00Z,1,m,chat,platform,,,1,1,1")
    assert report.refused == 1
    assert refusals[0].reason == "this file is an export of usage by hour. Only the export by day can be imported"


async def test_traces_take_the_columns_too(sqlite_database: Database) -> None:
    report, _ = await imported(
        sqlite_database, "TIMESTAMP,ContextTokens,GeneratedTokens,Api_Key,cost", "2026-11-22 10:00:00,5,5,key-7,1"
    )
    assert report.taken == 1
    assert [row.api_key for row in await hours(sqlite_database)] == ["key-7"]
