"""Importing usage: formats, refused lines, what counts once however the lines are cut into files."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, text
from sqlalchemy.engine.interfaces import DBAPIConnection

from db.accounts import account_page
from db.database import Database, DatabaseOptions
from db.errors import DatabaseError, DatabaseFull, NumberOutOfRange
from ledger.imports import importer, sources
from ledger.imports.columns import Format
from ledger.imports.importer import Importer
from ledger.imports.numbering import Numbering
from ledger.imports.options import ImportOptions
from ledger.imports.reports import FileReport, ImportReport
from ledger.imports.sources import Refusal, Source, SourceUnreadable
from ledger.money import format_nanos
from ledger.prices import Prices, Rate
from ledger.verification.accounts import verify_account
from tests.doses import dose

_DATA = Path(__file__).resolve().parents[3] / ".." / "shared" / "data"
_real_data = pytest.mark.skipif(not _DATA.is_dir(), reason="the real data is not there")

_CREATE = ImportOptions(create_accounts=True)
_LOG = replace(_CREATE, account="one", model="m", category="chat")
_PRICES = Prices({"m": Rate(input=Decimal("0.5"), output=Decimal(2))})

_ROLLUP_HEADER = "account,day,model,category,calls,input_tokens,output_tokens,cost_usd"
_LOG_HEADER = "timestamp,account,model,category,input_tokens,output_tokens,cost"


def _now() -> datetime:
    return datetime(2026, 11, 23, 12, tzinfo=UTC)


class _Result(NamedTuple):
    report: ImportReport
    refusals: list[tuple[str, int, str]]

    @property
    def counts(self) -> list[tuple[int, int, int]]:
        return [(file.taken, file.known, file.refused) for file in self.report.files]


async def _import(
    database: Database,
    *files: str | bytes,
    options: ImportOptions = _CREATE,
    prices: Prices = _PRICES,
) -> _Result:
    refusals: list[tuple[str, int, str]] = []

    def refused(name: str, some: Sequence[Refusal]) -> None:
        refusals.extend((name, *one) for one in some)

    opened = [
        Source(f"{number}.csv", BytesIO(file.encode() if isinstance(file, str) else file))
        for number, file in enumerate(files, 1)
    ]
    importer = Importer(database, options, prices, _now, on_refusals=refused)
    return _Result(await importer.run(opened), refusals)


def _rollups(*lines: str) -> str:
    return "\n".join([_ROLLUP_HEADER, *lines, ""])


def _log(*lines: str) -> str:
    return "\n".join([_LOG_HEADER, *lines, ""])


async def _rows(database: Database, statement: str) -> list[tuple[object, ...]]:
    return [tuple(row) for row in await database.read(text(statement))]


async def _days(database: Database) -> list[tuple[object, ...]]:
    return await _rows(
        database,
        "SELECT external_id, CAST(day AS VARCHAR), model, category, origin, calls, input_tokens, output_tokens,"
        " cost_nanos FROM usage_days JOIN accounts ON id = account_id ORDER BY 1, 2, 3, 4, 5",
    )


async def _months(database: Database) -> list[tuple[object, ...]]:
    return await _rows(
        database,
        "SELECT external_id, month, platform_calls, user_inference_calls, tokens FROM monthly_figures"
        " JOIN accounts ON id = account_id ORDER BY 1, 2",
    )


# Formats


async def test_rollups_are_imported(database: Database) -> None:
    result = await _import(
        database, _rollups("one,2026-11-09,m,chat,5,50,10,0.000001500", "two,2026-11-09,m,IMAGE,1,2,3,0")
    )
    assert result.report == ImportReport([FileReport("1.csv", Format.ROLLUPS, taken=2, calls=6)], accounts_created=2)
    assert await _days(database) == [
        ("one", "2026-11-09", "m", "chat", "platform", 5, 50, 10, 1500),
        ("two", "2026-11-09", "m", "image", "platform", 1, 2, 3, 0),
    ]
    assert await _months(database) == [("one", "2026-11", 5, 0, 60), ("two", "2026-11", 1, 0, 0)]
    assert await _rows(database, "SELECT count(*) FROM transactions") == [(0,)]


async def test_columns_may_have_any_order_and_case(database: Database) -> None:
    file = (
        b"\xef\xbb\xbfCOST_USD, Origin ,output_tokens,Day,calls,input_tokens,model,category,account\r\n"
        b'"1.25",user_inference, 3 ,2026-11-09,1,2,"m, large",chat,one\r\n\r\n'
    )
    assert (await _import(database, file)).counts == [(1, 0, 0)]
    assert await _days(database) == [
        ("one", "2026-11-09", "m, large", "chat", "user_inference", 1, 2, 3, 1_250_000_000)
    ]


async def test_category_and_origin_ignore_case(sqlite_database: Database) -> None:
    line = "one,2026-11-09,m,CHAT,5,50,10,1,User_Inference"
    result = await _import(sqlite_database, f"{_ROLLUP_HEADER},origin\n{line}\n")
    assert result.counts == [(1, 0, 0)]
    assert [day[3:5] for day in await _days(sqlite_database)] == [("chat", "user_inference")]


async def test_an_account_is_named_by_id_or_external_id(database: Database) -> None:
    await _import(database, _rollups("one,2026-11-09,m,chat,5,50,10,1"))
    account_id = (await _rows(database, "SELECT id FROM accounts"))[0][0]
    result = await _import(
        database,
        _rollups(
            f"acct_{account_id},2026-11-09,m,chat,5,50,10,1",
            "acct_9999,2026-11-09,m,chat,5,50,10,1",
            "acct_0,2026-11-09,m,chat,5,50,10,1",
            f"acct_0{account_id},2026-11-09,m,chat,5,50,10,1",
        ),
    )
    assert result.counts == [(0, 1, 3)]
    assert result.refusals == [
        ("1.csv", 3, "there is no account 'acct_9999'"),
        ("1.csv", 4, "there is no account 'acct_0'"),
        ("1.csv", 5, f"there is no account 'acct_0{account_id}'"),
    ]


async def test_created_accounts_are_found_and_pass_verification(database: Database) -> None:
    await _import(database, _rollups("MÜLLER,2026-11-09,m,chat,5,50,10,1", "one,2026-11-09,m,chat,5,50,10,1"))
    async with database.snapshot() as snapshot:
        found = await account_page(snapshot, limit=2, after=None, search="müller", search_id=None)
    assert [(row.name, row.external_id) for row in found] == [("MÜLLER", "MÜLLER")]
    assert (await verify_account(database, found[0].id)).faults == []


async def test_log_days_are_utc_and_costs_are_given_or_priced(database: Database) -> None:
    result = await _import(
        database,
        _log(
            "2026-11-09T23:59:59.999999999Z,one,m,chat,3,0,",
            "2026-11-10T00:30:00+01:00,one,m,chat,1,1,",
            "2026-11-09 00:00:00,one,m,chat,1,1,0.5",
            "2026-11-10 00:00:00 UTC,one,m,embedding,1,1,0.25",
        ),
    )
    assert result.refusals == []
    assert await _days(database) == [
        # 3 × 500 + (500 + 2000) nanos, and $0.50.
        ("one", "2026-11-09", "m", "chat", "platform", 3, 5, 2, 500_004_000),
        ("one", "2026-11-10", "m", "embedding", "platform", 1, 1, 1, 250_000_000),
    ]
    assert await _months(database) == [("one", "2026-11", 4, 0, 9)]


_AZURE = (
    "TIMESTAMP,ContextTokens,GeneratedTokens\r\n"
    "2023-11-16 18:17:03.9799600,4808,10\r\n2023-11-16 18:17:04.0319600,3180,8"
)

_BURSTGPT_1 = """\
Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,m,472,18,490,Conversation log
86400.5,m,1087,230,1317,API log
"""
_BURSTGPT_2 = """\
Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type
5,7,1.5,m,472,18,490,Conversation log
86400.5,,2,m,1087,230,1317,API log
"""


async def test_azure_trace_is_imported(database: Database) -> None:
    result = await _import(database, _AZURE, options=_LOG)
    assert result.report.files == [FileReport("1.csv", Format.AZURE, taken=2, calls=2)]
    assert await _days(database) == [("one", "2023-11-16", "m", "chat", "platform", 2, 7988, 18, 4_030_000)]
    assert (await _import(database, _AZURE, options=_LOG)).counts == [(0, 2, 0)]


@pytest.mark.parametrize("trace", [_BURSTGPT_1, _BURSTGPT_2])
async def test_burstgpt_trace_is_imported(database: Database, trace: str) -> None:
    options = ImportOptions(
        create_accounts=True, account="one", category="chat", start=datetime(2023, 1, 31, tzinfo=UTC)
    )
    result = await _import(database, trace, options=options)
    assert result.report.files == [FileReport("1.csv", Format.BURSTGPT, taken=2, calls=2)]
    assert await _months(database) == [("one", "2023-01", 1, 0, 490), ("one", "2023-02", 1, 0, 1317)]
    result = await _import(database, trace, options=replace(options, start=None))
    assert result.refusals == [("1.csv", 1, "the timestamps are seconds since a start time: use --start to give it")]


async def test_column_takes_precedence_over_its_option(database: Database) -> None:
    options = ImportOptions(create_accounts=True, account="two", model="n", category="video", origin="user_inference")
    await _import(database, _log("2026-11-09T00:00:00Z,one,m,chat,1,1,1"), options=options)
    assert await _days(database) == [("one", "2026-11-09", "m", "chat", "user_inference", 1, 1, 1, 1_000_000_000)]


# Refused lines


_GOOD = "one,2026-11-09,m,chat,5,50,10,1"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"one,2026-11-09,m,chat,5,50,10", "the line has 7 fields, but the first line names 8 columns"),
        (b"one,2026-11-09,m,chat,5,50,10,1,", "the line has 9 fields, but the first line names 8 columns"),
        (b"one,2026-11-09,m,chat,five,50,10,1", "calls must be a whole number, not 'five'"),
        (b"one,2026-11-09,m,chat,,50,10,1", "calls must be a whole number, not ''"),
        (b"one,2026-11-09,m,chat,5,1.5,10,1", "input_tokens must be a whole number, not '1.5'"),
        (b"one,2026-11-09,m,chat,5,50,1e3,1", "output_tokens must be a whole number, not '1e3'"),
        (b"one,2026-11-09,m,chat,-5,50,10,1", "calls must not be negative: '-5'"),
        (b"one,2026-11-09,m,chat,5,9223372036854775808,10,1", "input_tokens must be at most 9223372036854775807"),
        (b"one,2026-11-09,m,chat,5,50," + b"9" * 5000 + b",1", "output_tokens must be at most 9223372036854775807"),
        (b"one,2026-11-09,m,chat,5,50,10,1e2", "cost_usd must be a decimal"),
        (b"one,2026-11-09,m,chat,5,50,10,0.0000000001", "cost_usd must be a decimal"),
        (b"one,2026-11-09,m,chat,5,50,10,", "cost_usd must be a decimal"),
        (b"one,2026-11-09,m,chat,5,50,10,nan", "cost_usd must be a decimal"),
        (b"one,2026-11-09,m,chat,5,50,10,-1", "cost_usd must not be negative"),
        (b"one,2026-11-09,m,chat,5,50,10,9999999999", "cost_usd exceeds the range"),
        (b"one,2026-11-09,m,talk,5,50,10,1", "one of chat, embedding, image, audio, video, not 'talk'"),
        (b"one,2026-11-24,m,chat,5,50,10,1", "the day is in the future: today is 2026-11-23 (UTC)"),
        (b"one,2026-02-30,m,chat,5,50,10,1", "the day must be a date such as 2026-11-09, not '2026-02-30'"),
        (b"one,20261109,m,chat,5,50,10,1", "the day must be a date"),
        (b"one,1969-12-31,m,chat,5,50,10,1", "the day is before 1970"),
        (b"one,2026-11-09,,chat,5,50,10,1", "model must not be blank"),
        (b",2026-11-09,m,chat,5,50,10,1", "account must not be blank"),
        (b"one,2026-11-09," + b"m" * 201 + b",chat,5,50,10,1", "model must have at most 200 characters, not 201"),
        (b"one,2026-11-09,m\x1b[31m,chat,5,50,10,1", "model must not contain control characters"),
        (b"one,2026-11-09,m\0,chat,5,50,10,1", "model must not contain control characters"),
        (b"one,2026-11-09,\xff,chat,5,50,10,1", "invalid UTF-8 at byte 16 of the line: save the file as UTF-8"),
        (b'one,2026-11-09,"m"n,chat,5,50,10,1', "unbalanced quotes in the line"),
        (b'one,2026-11-09,"m\nn",chat,5,50,10,1', "model must not contain control characters"),
        (b'one,2026-11-09,"m\n",chat,5,50,10', "the line has 7 fields, but the first line names 8 columns"),
        (b"x" * 70_000, "the line is longer than 65,536 characters"),
        (b"x" * 140_000, "the line is longer than 65,536 characters"),
        (b"one,2026-11-09,m,chat,1.2E+05,50,10,1", "calls must be a whole number, not '1.2E+05': a spreadsheet has"),
        (b'one,2026-11-09,m,chat,5,50,10,"1,25"', "use a point as the decimal separator"),
        (b"one,09.11.2026,m,chat,5,50,10,1", "2026-11-09, not '09.11.2026': write the year first, then month and day"),
        (b"one,2026-11-09,m,chat,6,50,10,1", "already has other figures"),
    ],
)  # fmt: skip
async def test_invalid_line_is_refused_and_the_rest_imported(
    sqlite_database: Database, line: bytes, reason: str
) -> None:
    file = f"{_ROLLUP_HEADER}\n{_GOOD}\n".encode() + line + b"\n" + _GOOD.replace("m", "n").encode()
    result = await _import(sqlite_database, file)
    assert [(name, number) for name, number, _ in result.refusals] == [("1.csv", 3)]
    assert reason in result.refusals[0][2]
    assert result.refusals[0][2].isprintable()
    assert result.counts == [(2, 0, 1)]
    strict = await _import(sqlite_database, file, options=replace(_CREATE, strict=True))
    assert (strict.refusals, strict.counts) == (result.refusals, [(0, 0, 1)])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("yesterday,one,m,chat,1,1,1", "the timestamp must have a form like 2026-11-09T12:30:00.25Z, not 'yesterday'"),
        ("2026-11-24T00:00:00Z,one,m,chat,1,1,1", "the day is in the future"),
        ("2026-11-23T23:30:00-01:00,one,m,chat,1,1,1", "the day is in the future"),
        ("2026-11-09T00:00:00Z,one,unheard-of,chat,1,1,", "no price for the model 'unheard-of'"),
        ("2026-11-09T00:00:00Z,one,m,chat,1,1,0.x", "cost must be a decimal"),
        ("2026-11-09T00:00:00Z,one,m,chat,9223372036854775807,9223372036854775807,", "exceeds the range"),
    ],
)
async def test_invalid_log_line_is_refused(sqlite_database: Database, line: str, reason: str) -> None:
    result = await _import(sqlite_database, _log("2026-11-09T00:00:00Z,one,m,chat,1,1,1", line))
    assert [number for _, number, _ in result.refusals] == [3]
    assert reason in result.refusals[0][2]
    assert result.counts == [(1, 0, 1)]


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (b"", "the first line is empty"),
        (b"\n" + _GOOD.encode(), "the first line is empty"),
        (b"PNG\r\n\x1a\n", "names no usage columns"),
        (b"\x89PNG\r\n\x1a\n", "not a CSV file: invalid UTF-8"),
        (b'{"calls": 5}', "names no usage columns"),
        (b"x" * 100_000, "not a CSV file"),
        (b"\xff\xfea\0c\0c\0", "the first line names no usage columns"),
        (_ROLLUP_HEADER.encode("utf-16-le"), "UTF-16 without a byte order mark"),
        (_ROLLUP_HEADER.replace(",", ":").encode(), "separate them by commas, semicolons, tabs or vertical bars"),
        (b"id,account,seq,amount,balance_after", "this file is an export of transactions"),
        (_ROLLUP_HEADER.encode() + b",colour", "unknown column 'colour'"),
        (_ROLLUP_HEADER.encode() + b",day", "duplicate column 'day'"),
        (_ROLLUP_HEADER.replace(",calls", "").encode(), "the column calls is missing"),
        (_ROLLUP_HEADER.replace(",model", "").encode(), "the column model is missing: add the column or use --model"),
        (b"timestamp,model", "the column account is missing: add the column or use --account"),
        (b"TIMESTAMP,ContextTokens,account,category,model", "the column generatedtokens is missing"),
    ],
)
async def test_invalid_file_is_refused_and_the_others_imported(
    sqlite_database: Database, file: bytes, reason: str
) -> None:
    result = await _import(sqlite_database, file, _rollups(_GOOD))
    assert [(name, number) for name, number, _ in result.refusals] == [("1.csv", 1)]
    assert reason in result.refusals[0][2]
    assert result.counts == [(0, 0, 1), (1, 0, 0)]


async def test_format_option_overrides_detection(sqlite_database: Database) -> None:
    result = await _import(sqlite_database, _rollups(_GOOD), options=ImportOptions(format=Format.REQUESTS))
    assert "unknown column 'day'" in result.refusals[0][2]


async def test_refused_lines_are_reported_in_order(database: Database) -> None:
    lines = [_GOOD, "one,2026-11-09,m,chat,6,50,10,1", "bad", "two,2026-11-09,m,chat,6,50,10,1", "bad"]
    await _import(database, _rollups(_GOOD))
    result = await _import(database, _rollups(*lines), options=ImportOptions())
    assert [number for _, number, _ in result.refusals] == [3, 4, 5, 6]
    assert result.refusals[2][2] == "there is no account 'two' (--create-accounts creates it)"


# Known and replaced


async def test_equal_lines_of_a_file_count_each(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "BATCH_RECORDS", 2)
    line = "2026-11-09T00:00:00Z,one,m,chat,1,1,1"
    again = line.replace("00Z", "00.000")
    assert (await _import(database, _log(line, again, line, line))).counts == [(4, 0, 0)]
    assert (await _import(database, _log(line, line, line, line, line))).counts == [(1, 4, 0)]


async def test_unpriced_line_counts_when_numbering_equal_lines(database: Database) -> None:
    bare, costed = "2026-11-09T00:00:00Z,one,x,chat,1,1,", "2026-11-09T00:00:00Z,one,x,chat,1,1,1"
    assert (await _import(database, _log(costed, bare, costed))).counts == [(2, 0, 1)]
    priced = Prices({"x": Rate(call=Decimal(3))})
    assert (await _import(database, _log(costed, bare, costed), prices=priced)).counts == [(1, 2, 0)]
    assert (await _days(database))[0][5:] == (3, 3, 3, 5_000_000_000)


async def test_replace_option_replaces_figures(database: Database) -> None:
    await _import(database, _rollups(_GOOD), _log("2026-11-10T00:00:00Z,one,m,chat,1,1,1"))
    new = _rollups(_GOOD.replace(",5,", ",7,"), "one,2026-11-10,m,chat,2,1,1,1", _GOOD.replace(",5,", ",8,"))
    assert (await _import(database, new)).counts == [(0, 0, 3)]
    result = await _import(database, new, options=replace(_CREATE, replace=True))
    assert result.counts == [(2, 0, 1)]
    contradicted = (
        "an earlier line of this file has other figures for this account, day, model, category and origin:"
        " the earlier line counts"
    )
    assert result.refusals == [("1.csv", 4, contradicted)]
    assert await _months(database) == [("one", "2026-11", 9, 0, 62)]
    log = _log("2026-11-10T00:00:00Z,one,m,chat,1,1,1", "2026-11-10T00:00:01Z,one,m,chat,1,1,1")
    assert (await _import(database, log, options=replace(_CREATE, replace=True))).counts == [(0, 1, 1)]


@pytest.mark.parametrize("strict", [False, True])
async def test_concurrent_imports_of_the_same_lines_count_once(
    database: Database, monkeypatch: pytest.MonkeyPatch, strict: bool
) -> None:
    monkeypatch.setattr(sources, "BATCH_RECORDS", 7)
    lines = [f"2026-11-09T00:00:{line % 60:02d}Z,a{line % 5},m,chat,{line},1,1" for line in range(100)]
    files = _log(*lines), _log(*reversed(lines)), _log(*lines[::2], *lines[1::2])
    options = replace(_CREATE, strict=strict)
    results = await asyncio.gather(*(_import(database, file, options=options) for file in files))
    assert [result.refusals for result in results] == [[], [], []]
    assert sum(result.report.files[0].taken for result in results) == 100
    assert await _rows(database, "SELECT sum(calls) FROM usage_days") == [(100,)]
    assert await _rows(database, "SELECT sum(platform_calls), count(*) FROM monthly_figures") == [(100, 5)]


# All or nothing


async def test_strict_import_takes_all_files_or_none(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "BATCH_RECORDS", 2)
    strict = replace(_CREATE, strict=True)
    good = _log(*(f"2026-11-09T00:00:0{second}Z,a{second},m,chat,1,1,1" for second in range(5)))
    contradicting = _rollups(_GOOD, _GOOD.replace("m", "n"), _GOOD.replace(",5,", ",6,"))
    result = await _import(database, good, contradicting, options=strict)
    assert result.report == ImportReport(
        [FileReport("1.csv", Format.REQUESTS), FileReport("2.csv", Format.ROLLUPS, refused=1)], accounts_created=0
    )
    assert await _rows(database, "SELECT count(*) FROM accounts") == [(0,)]
    assert (await _import(database, good, _rollups(_GOOD), options=strict)).report == ImportReport(
        [FileReport("1.csv", Format.REQUESTS, 5, calls=5), FileReport("2.csv", Format.ROLLUPS, 1, calls=5)],
        accounts_created=6,
    )
    assert (await _import(database, good, _rollups(_GOOD), options=strict)).counts == [(0, 5, 0), (0, 1, 0)]


@pytest.mark.parametrize("strict", [False, True])
async def test_sum_beyond_64_bits_keeps_only_whole_batches(
    database: Database, monkeypatch: pytest.MonkeyPatch, strict: bool
) -> None:
    monkeypatch.setattr(sources, "BATCH_RECORDS", 2)
    most = "one,2026-11-09,{},image,9223372036854775807,0,0,0"
    file = _rollups(most.format("a"), "two,2026-11-09,m,chat,1,0,0,0", most.format("b"), "")
    importer = Importer(database, replace(_CREATE, strict=strict), _PRICES, _now)
    with pytest.raises(NumberOutOfRange, match=r"1\.csv, lines up to \d: .*64-bit range"):
        await importer.run([Source("1.csv", BytesIO(file.encode()))])
    kept = 0 if strict else 2
    assert importer.report.files[0].taken == kept
    assert len(await _days(database)) == kept


async def test_full_disk_keeps_only_whole_batches(sqlite_file_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "BATCH_RECORDS", 100)
    database = Database(DatabaseOptions(sqlite_file_url))

    @event.listens_for(database.engine.sync_engine, "connect")
    def leave_little_room(connection: DBAPIConnection, _: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA page_count")
        cursor.execute(f"PRAGMA max_page_count = {cursor.fetchall()[0][0] + 40}")

    lines = (f"2026-11-09T00:{second // 60:02d}:{second % 60:02d}Z,one,m{second},chat,1,1,1" for second in range(3000))
    importer = Importer(database, _CREATE, _PRICES, _now)
    with pytest.raises(DatabaseFull):
        await importer.run([Source("1.csv", BytesIO(_log(*lines).encode()))])
    taken = importer.report.files[0].taken
    assert taken > 0
    assert taken % 100 == 0
    assert await _rows(database, "SELECT count(*), sum(calls) FROM usage_days") == [(taken, taken)]
    assert await _rows(database, "SELECT count(*) FROM usage_requests") == [(taken,)]
    assert (await _months(database))[0][2] == taken
    await database.close()


class _Broken(BytesIO):
    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if not data:
            raise OSError(5, "Input/output error")
        return data


@pytest.mark.parametrize("strict", [False, True])
async def test_read_error_is_not_reported_as_a_database_error(sqlite_database: Database, strict: bool) -> None:
    importer = Importer(sqlite_database, replace(_CREATE, strict=strict), _PRICES, _now)
    with pytest.raises(SourceUnreadable, match=r"1\.csv can't be read: Input/output error") as caught:
        await importer.run([Source("1.csv", _Broken(_rollups(_GOOD).encode()))])
    assert not isinstance(caught.value, DatabaseError | OSError)
    assert importer.report.files[0].taken == 0


# However the lines are cut


class _Line(NamedTuple):
    account: int
    second: int
    model: str
    category: str
    input_tokens: int
    request_id: str

    @property
    def cost_nanos(self) -> int:
        return self.input_tokens * 1000 + self.second

    @property
    def origin(self) -> str:
        return "platform" if self.model == "m" else "user_inference"

    @property
    def time(self) -> datetime:
        return datetime(2026, 10, 31, 23, 59, 58 + self.second % 2, tzinfo=UTC) if self.second < 2 else _now()

    def csv(self, prefix: str) -> str:
        return (
            f"{self.time.isoformat()},{prefix}{self.account},{self.model},{self.category},{self.origin},"
            f"{self.input_tokens},1,{self.request_id},{format_nanos(self.cost_nanos)}"
        )


_lines = st.builds(
    _Line,
    st.integers(1, 2),
    st.integers(0, 2),
    st.sampled_from(["m", "n"]),
    st.sampled_from(["chat", "image"]),
    st.integers(1, 3),
    st.sampled_from(["", "", "", "r1", "r2"]),
)
_files = st.lists(st.tuples(st.lists(_lines, max_size=15), st.booleans()), min_size=1, max_size=4)
_prefixes = (f"p{number}-" for number in itertools.count())


def _counted(files: Sequence[Sequence[_Line]]) -> Counter[_Line]:
    """What the contract says: an id counts once, equal lines as often as the file that has most of them."""
    ids: set[tuple[int, str]] = set()
    counted: Counter[_Line] = Counter()
    for lines in files:
        counted |= Counter(line for line in lines if not line.request_id)
        for line in lines:
            if line.request_id and (line.account, line.request_id) not in ids:
                ids.add((line.account, line.request_id))
                counted[line] += 1
    return counted


Key = tuple[str, ...]


def _expected(prefix: str, counted: Counter[_Line]) -> tuple[dict[Key, list[int]], dict[Key, list[int]]]:
    days: dict[Key, list[int]] = {}
    months: dict[Key, list[int]] = {}
    for line, count in counted.items():
        account, day = f"{prefix}{line.account}", str(line.time.date())
        sums = days.setdefault((account, day, line.model, line.category, line.origin), [0, 0, 0, 0])
        month = months.setdefault((account, day[:7]), [0, 0, 0])
        for index, figure in enumerate((1, line.input_tokens, 1, line.cost_nanos)):
            sums[index] += count * figure
        month[0 if line.origin == "platform" else 1] += count
        month[2] += count * (line.input_tokens + 1) if line.category == "chat" else 0
    return days, months


@settings(max_examples=dose(6, 40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=_files)
async def test_days_and_months_match_a_recount(database: Database, files: list[tuple[list[_Line], bool]]) -> None:
    prefix = next(_prefixes)
    header = "timestamp,account,model,category,origin,input_tokens,output_tokens,request_id,cost"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "BATCH_RECORDS", 4)
        for lines, strict in files + files[:1]:
            file = "\n".join([header, *(line.csv(prefix) for line in lines)])
            result = await _import(database, file, options=replace(_CREATE, strict=strict))
            assert result.refusals == []
            assert sum(result.counts[0]) == len(lines)
    days, months = _expected(prefix, _counted([lines for lines, _ in files]))
    mine = [row for row in await _days(database) if str(row[0]).startswith(prefix)]
    assert {row[:5]: list(row[5:]) for row in mine} == days
    mine = [row for row in await _months(database) if str(row[0]).startswith(prefix)]
    assert {row[:2]: list(row[2:]) for row in mine} == months


# The real data


def _real(name: str) -> bytes:
    return (_DATA / name).read_bytes()


@_real_data
@pytest.mark.parametrize("strict", [False, True])
async def test_real_rollups_are_imported_completely(database: Database, strict: bool) -> None:
    options = replace(_CREATE, strict=strict)
    result = await _import(database, _real("usage_days.csv"), options=options)
    assert result.report == ImportReport(
        [FileReport("1.csv", Format.ROLLUPS, taken=3017, calls=3_824_907_861)], accounts_created=421
    )
    assert await _rows(database, "SELECT count(*), sum(calls) FROM usage_days") == [(3017, 3_824_907_861)]
    assert await _rows(database, "SELECT sum(platform_calls) FROM monthly_figures") == [(3_824_907_861,)]
    assert (await _import(database, _real("usage_days.csv"), options=options)).counts == [(0, 3017, 0)]


@_real_data
@pytest.mark.parametrize("strict", [False, True])
async def test_real_logs_are_imported_completely(database: Database, strict: bool) -> None:
    files = [_real("azure_llm_2023_code.csv"), _real("azure_llm_2023_conv.csv")]
    options = replace(_LOG, strict=strict)
    assert (await _import(database, *files, options=options)).counts == [(8819, 0, 0), (19366, 0, 0)]
    assert (await _import(database, *files, options=options)).counts == [(0, 8819, 0), (0, 19366, 0)]
    assert await _rows(database, "SELECT sum(calls) FROM usage_days") == [(28_185,)]
    assert await _rows(database, "SELECT platform_calls FROM monthly_figures") == [(28_185,)]


async def test_line_too_far_out_of_order_is_refused(sqlite_database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importer, "Numbering", partial(Numbering, 4))
    lines = [f"2026-11-{day:02d}T00:00:00Z,one,m,chat,1,1,1" for day in (*range(1, 12), 1)]
    result = await _import(sqlite_database, _log(*lines))
    assert result.counts == [(11, 0, 1)]
    ((_, number, reason),) = result.refusals
    assert number == 13
    assert reason.startswith("the line is too far out of time order to tell whether it is a duplicate")


async def test_cancelled_import_counts_the_committed_batch(
    sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    importing = Importer(sqlite_database, _CREATE, _PRICES, _now)
    record = importing._recorded
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def slow(*given: Any) -> Any:
        begun.set()
        await may_end.wait()
        return await record(*given)

    monkeypatch.setattr(importing, "_recorded", slow)
    task = asyncio.create_task(importing.run([Source("1.csv", BytesIO(_rollups(_GOOD).encode()))]))
    await begun.wait()
    task.cancel()
    await asyncio.sleep(0)
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [file.taken for file in importing.report.files] == [1]
    assert await _rows(sqlite_database, "SELECT count(*) FROM usage_days") == [(1,)]
