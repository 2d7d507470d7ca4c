from __future__ import annotations

import asyncio
import contextlib
import csv
import io
import json
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Protocol

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from yarl import URL

from access.keys import IssuedKey, Keys, KeyScope, NewKey
from db import writes
from db.database import Database
from db.errors import DatabaseUnavailable
from db.rows import TransactionRow, UsageDayRow
from db.usage_writes import FedDay, put_usage_days
from gateway.requests import edge
from gateway.rest import add_rest_routes, exports, statements, transactions, usage, usage_hours, usage_requests
from gateway.rest import reading as rest_reading
from gateway.services import SERVICES, Services, build_services
from gateway.settings import Settings
from ledger.chain import canonical_text
from ledger.commands import Command, Entry, OpenHold, Period, Posting, Ref, SettleHold, Writer
from ledger.ids import account_id_text, transaction_id_text
from ledger.kinds import RefType, TransactionType, WriterKind
from ledger.money import format_nanos, parse_nanos
from ledger.posting import Ledger
from resolvers.context import QueryContext

pytestmark = pytest.mark.one_database

START: Final = datetime(2026, 10, 30, 9, 0, 0, 250, tzinfo=UTC)
HOUR: Final = timedelta(hours=1)
DOLLAR: Final = 1_000_000_000

# ledger.md, "A ledger row".
LEDGER_COLUMNS: Final = [
    *("id", "account", "seq", "created_at", "type", "amount", "balance_after", "description", "source"),
    *("ref_type", "ref_id", "actor", "corrects", "period_start", "period_end", "hash"),
]
USAGE_COLUMNS: Final = [
    *("account", "day", "model", "category", "origin"),
    *("calls", "input_tokens", "output_tokens", "tokens", "cost"),
]

PATHS: Final = ("/billing/transactions", "/billing/transactions.csv", "/billing/usage.csv")
SINGLE: Final = "/billing/usage/requests/{id}"
"""tests/gateway/test_usage_requests.py reads it."""
STATEMENTS: Final = ("/billing/statement", "/billing/statement.csv", "/billing/statement.pdf")
"""tests/gateway/test_statements.py reads them."""
POSTED: Final = ("/billing/export-links", "/console/sign-in")
ROOT: Final = Path(__file__).parents[2]
GUIDE: Final = ROOT / "docs" / "rest.md"

Row = dict[str, Any]


class TickingClock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        # A posting looks at the clock when its account is read, and for its rows.
        self.now += HOUR / 2
        return self.now


@dataclass
class Rest:
    client: TestClient[web.Request, web.Application]
    services: Services
    ledger: Ledger
    keys: Keys
    mine: int
    other: int
    rows: list[Row]
    """Of the account `mine`, newest first, as JSON should have them."""
    usage: list[Row]
    """Of the account `mine`, oldest first, as CSV should have them."""
    key: str
    """A read key of the account `mine`."""

    @property
    def database(self) -> Database:
        return self.services.database

    async def issue(self, scope: KeyScope, **more: Any) -> IssuedKey:
        return await self.keys.create(NewKey(scope, "test", **more))

    async def get(self, path: str, key: str | None = None, **more: Any) -> aiohttp.ClientResponse:
        headers = {"Authorization": f"Bearer {key or self.key}"}
        return await self.client.get(path, headers=headers, **more)

    async def page(self, parameters: Any = None, key: str | None = None) -> list[Row]:
        response = await self.get("/billing/transactions", key, params=parameters)
        assert response.status == 200, await response.text()
        found = await response.json()
        assert isinstance(found, list)
        return found

    async def export(self, path: str, parameters: Any = None, key: str | None = None) -> list[dict[str, str]]:
        response = await self.get(path, key, params=parameters)
        assert response.status == 200, await response.text()
        return list(csv.DictReader(io.StringIO(await response.text(), newline=""), strict=True))

    async def refusal(self, path: str, query: str, key: str | None = None) -> tuple[int, str, str]:
        response = await self.get(f"{path}?{query}", key)
        error = (await response.json())["error"]
        assert list(error) == ["code", "message", "requestId"]
        assert error["requestId"] == response.headers["X-Request-Id"]
        return response.status, error["code"], error["message"]

    async def post(self, commands: Sequence[Command], kind: WriterKind = WriterKind.SERVICE) -> list[Row]:
        """The rows written, oldest first."""
        outcome = await self.ledger.post(Posting(self.mine, Writer(kind, f"eco_{kind.value}"), commands, "test"))
        return [as_json(row) for row in outcome[0].transactions]

    def count(self, name: str, **labels: str) -> float:
        return self.services.metrics.registry.get_sample_value(name, labels) or 0.0


def as_json(row: TransactionRow) -> Row:
    return dict(zip(LEDGER_COLUMNS, [*json.loads(canonical_text(row)), row.hash.hex()], strict=True))


def entry(kind: TransactionType, dollars: str, text: str, ref: Ref | None = None, **more: Any) -> Entry:
    return Entry(kind, parse_nanos(dollars), text, ref=ref, **more)


async def new_account(database: Database, name: str) -> int:
    async with database.write() as connection:
        return (await writes.insert_account(connection, external_id=None, name=name, created_at=START)).id


_T: Final = TransactionType
_GPU: Final = Ref(RefType.GPU_INSTANCE, "132")

STORY: Final[list[tuple[WriterKind, list[Command]]]] = [
    (WriterKind.ACCOUNT_CREATION, [entry(_T.BONUS, "5", "Signup bonus", Ref(RefType.PROMOTION, "signup"))]),
    (
        WriterKind.WEBHOOK,
        [
            entry(_T.TOPUP, "100", "=Checkout cs_1", Ref(RefType.STRIPE_CHECKOUT_SESSION, "@cs_1")),
            entry(_T.AUTO_RECHARGE, "25.5", "Auto-recharge, pi_7", Ref(RefType.STRIPE_PAYMENT_INTENT, "-pi_7")),
        ],
    ),
    (
        WriterKind.SERVICE,
        [OpenHold(_GPU, 3 * DOLLAR, "GPU Instance #132: hold", Period(START, START + HOUR))],
    ),
    (WriterKind.SERVICE, [SettleHold(_GPU, DOLLAR + 1, "GPU Instance #132: unused")]),
    (
        WriterKind.SERVICE,
        [
            entry(_T.GPU_USAGE, "-0.000000135", 'API: ‘Ünïcode’, 100% "chat"', Ref(RefType.API_USAGE, "b,1")),
            entry(_T.GPU_USAGE, "-1.25", "API usage", Ref(RefType.API_USAGE, "b2")),
        ],
    ),
    (WriterKind.STORAGE_WORKER, [entry(_T.STORAGE_BILLING, "-1.25", "Drive v1", Ref(RefType.VOLUME, "v1"))]),
    (
        WriterKind.OPERATOR,
        [
            entry(_T.ADMIN_CORRECTION, "1.25", "'quoted' correction of the drive", corrects_seq=8),
            entry(_T.ADMIN_CORRECTION, "-2", "'+1 looks like a formula", corrects_seq=1),
            entry(_T.CONTRACT_GRANT, "10000", "+Contract C-1", Ref(RefType.CONTRACT, "C-1")),
        ],
    ),
]

USAGE_STORY: Final = [
    (date(2026, 11, day), model, category, origin, 10 * day, 20, 36_700_000_000, 135 * day)
    for day in (1, 2, 3)
    for model, category in (("=evil()", "chat"), ("bge-m3", "embedding"), ("llama", "chat"))
    for origin in ("platform", "user_inference")
]


def usage_row(row: UsageDayRow) -> Row:
    figures = [*map(str, row[5:8]), str(row.input_tokens + row.output_tokens), format_nanos(row.cost_nanos)]
    texts = [account_id_text(row.account_id), row.day.isoformat(), *row[2:5]]
    return dict(zip(USAGE_COLUMNS, [*texts, *figures], strict=True))


async def fill_usage(database: Database, account_id: int) -> list[Row]:
    rows = [UsageDayRow(account_id, *values) for values in USAGE_STORY]
    async with database.write() as connection:
        await put_usage_days(connection, [FedDay(row, "rollup") for row in rows])
    return [usage_row(row) for row in sorted(rows)]


@pytest.fixture
async def rest(database_url: str) -> AsyncIterator[Rest]:
    settings: dict[str, Any] = {"database_url": database_url, "key_cache_seconds": 0}
    services = build_services(Settings(**settings))
    app = web.Application(middlewares=[edge(services)])
    app[SERVICES] = services
    add_rest_routes(app)
    keys = Keys(services.database)
    mine, other = await new_account(services.database, "Mine"), await new_account(services.database, "Other")
    key = (await keys.create(NewKey(KeyScope.READ, "test", mine))).secret
    async with TestClient(TestServer(app)) as client:
        ledger = Ledger(services.database, TickingClock())
        rest = Rest(client, services, ledger, keys, mine, other, [], [], key)
        for kind, commands in STORY:
            rest.rows += await rest.post(commands, kind)
        rest.rows.reverse()
        other_writer = Writer(WriterKind.WEBHOOK, "eco_webhook")
        await rest.ledger.post(Posting(other, other_writer, [entry(_T.TOPUP, "1", "Theirs")], "test"))
        rest.usage = await fill_usage(services.database, mine)
        await fill_usage(services.database, other)
        yield rest
    await services.database.close()


def many_entries(count: int) -> list[Command]:
    return [entry(_T.GPU_USAGE, "-0.01", f"API usage {number}") for number in range(count)]


def unescaped(text: str) -> str:
    return re.sub("^'('*[=+\\-@\t\r\n＝＋－＠])", r"\1", text)


def from_csv(cells: Mapping[str, str]) -> Row:
    row: Row = {name: unescaped(text) or None for name, text in cells.items()}
    return {**row, "seq": int(cells["seq"]), "amount": cells["amount"], "balance_after": cells["balance_after"]}


class Step(Protocol):
    async def __call__(self, number: int) -> None: ...


def before_each_read(monkeypatch: pytest.MonkeyPatch, module: Any, step: Step) -> list[int]:
    """Has `step` run before each read of the module and each step of an export; the list holds the numbers of the
    reads."""
    reading = module.reading
    numbers: list[int] = []

    @contextlib.asynccontextmanager
    async def watched(request: web.Request, points: float, **more: Any) -> AsyncIterator[QueryContext]:
        numbers.append(len(numbers))
        await step(numbers[-1])
        async with reading(request, points, **more) as context:
            yield context

    for one in (module, rest_reading):
        monkeypatch.setattr(one, "reading", watched)
    return numbers


async def nothing(number: int) -> None:
    pass


# The page


async def test_page_is_a_bare_array_newest_first(rest: Rest) -> None:
    response = await rest.get("/billing/transactions")
    assert response.status == 200
    assert response.content_type == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    assert "Link" not in response.headers
    assert await response.json() == rest.rows
    assert [list(row) for row in await response.json()] == [LEDGER_COLUMNS] * len(rest.rows)
    row = rest.rows[-4]
    assert (row["type"], row["amount"], row["balance_after"]) == ("gpu_usage", "-3.00", "127.50")
    assert row["created_at"] == "2026-10-30T12:00:00.000250Z"
    assert row["period_start"] == "2026-10-30T09:00:00.000250Z"


async def test_default_and_largest_page(rest: Rest) -> None:
    rows = [*rest.rows[::-1], *await rest.post(many_entries(1_100))][::-1]
    assert await rest.page() == rows[:50]
    assert await rest.page({"limit": "1"}) == rows[:1]
    assert await rest.page({"limit": "200"}) == rows[:200]
    assert await rest.page({"limit": "1000"}) == rows[:1_000]


async def test_before_reaches_every_row_once(rest: Rest) -> None:
    found, query = [], {"limit": "3"}
    while page := await rest.page(query):
        found += page
        query["before"] = page[-1]["id"]
    assert found == rest.rows
    assert query["before"] == transaction_id_text(rest.mine, 1)


@pytest.mark.parametrize("more", [{}, {"types": "topup,gpu_usage,refund", "sources": ["metering", "stripe_webhook"]}])
async def test_next_links_reach_every_row_once(rest: Rest, more: dict[str, Any]) -> None:
    wanted = [row for row in rest.rows if not more or row["type"] in more["types"].split(",")]
    address: str | None = "/billing/transactions"
    parameters: Any = {"limit": "2", **more}
    found: list[Row] = []
    pages = 0
    while address is not None:
        response = await rest.get(address, params=parameters)
        found += await response.json()
        pages += 1
        match = re.fullmatch(r'<(/billing/transactions\?[^<>"]+)>; rel="next"', response.headers.get("Link", ""))
        address, parameters = (match[1] if match else None), None
        assert (address is not None) == ("Link" in response.headers)
    assert found == wanted
    assert pages == -(-len(wanted) // 2)


async def test_next_link_keeps_the_filter_as_it_was(rest: Rest) -> None:
    search = 'ä+b & c="d">%2C'
    await rest.post([entry(_T.GPU_USAGE, "-1", f"{number} {search}") for number in range(3)])
    query = {"limit": "2", "search": search, "account": account_id_text(rest.mine)}
    response = await rest.get("/billing/transactions", params=query)
    assert [row["description"] for row in await response.json()] == [f"2 {search}", f"1 {search}"]
    address = URL(str(response.links["next"]["url"])).relative()
    assert dict(address.query) == {**query, "before": (await response.json())[-1]["id"]}
    older = await rest.get(str(address))
    assert [row["description"] for row in await older.json()] == [f"0 {search}"]
    assert "Link" not in older.headers


async def test_before_under_a_filter_need_not_match_it(rest: Rest) -> None:
    for index, row in enumerate(rest.rows):
        wanted = [older for older in rest.rows[index + 1 :] if older["type"] == "gpu_usage"]
        assert await rest.page({"types": "gpu_usage", "before": row["id"]}) == wanted


async def test_unknown_foreign_and_malformed_before_are_not_found(rest: Rest) -> None:
    foreign = transaction_id_text(rest.other, 1)
    unknown = transaction_id_text(rest.mine, len(rest.rows) + 1)
    nobody = transaction_id_text(999, 1)
    for before in (foreign, unknown, nobody, "txn_1_0", "txn_1_01", "", "1", "garbage", f"txn_{rest.mine}_{2**64}"):
        status, code, message = await rest.refusal("/billing/transactions", f"before={before}")
        assert (status, code, message) == (404, "NOT_FOUND", "before: there is no such transaction")


async def test_empty_account(rest: Rest) -> None:
    account = await new_account(rest.database, "Empty")
    key = (await rest.issue(KeyScope.MANAGE, account_id=account)).secret
    assert await rest.page(key=key) == []
    for path, columns in (("transactions", LEDGER_COLUMNS), ("usage", USAGE_COLUMNS)):
        response = await rest.get(f"/billing/{path}.csv", key)
        assert await response.text() == ",".join(columns) + "\r\n"


# Filters

Matches = Callable[[Row], bool]


def amount(row: Row) -> int:
    return parse_nanos(row["amount"])


FILTERS: Final[list[tuple[list[tuple[str, str]], Matches]]] = [
    ([("types", "topup")], lambda row: row["type"] == "topup"),
    ([("types", "topup,refund")], lambda row: row["type"] in {"topup", "refund"}),
    ([("types", "topup"), ("types", "refund")], lambda row: row["type"] in {"topup", "refund"}),
    ([("types", "")], lambda row: False),
    ([("types", ""), ("types", "bonus")], lambda row: row["type"] == "bonus"),
    ([("types", ",".join(TransactionType))], lambda row: True),
    ([("sources", "metering")], lambda row: row["source"] == "metering"),
    ([("sources", "")], lambda row: False),
    ([("types", "refund"), ("sources", "stripe_webhook")], lambda row: False),
    ([("created_at_gte", "2026-10-30T12:00:00.00025Z")], lambda row: row["seq"] >= 4),
    ([("created_at_gte", "2026-10-30T12:00:00.000251Z")], lambda row: row["seq"] >= 5),
    ([("created_at_lt", "2026-10-30T13:00:00.00025+01:00")], lambda row: row["seq"] < 4),
    (
        [("created_at_gte", "2026-10-30T11:00:00Z"), ("created_at_lt", "2026-10-30T14:00:00Z")],
        lambda row: 2 <= row["seq"] <= 5,
    ),
    ([("created_at_gte", "2026-11-01T00:00:00Z"), ("created_at_lt", "2026-11-01T00:00:00Z")], lambda row: False),
    ([("amount_gte", "1.25")], lambda row: amount(row) >= 1_250_000_000),
    ([("amount_lte", "-1.25")], lambda row: amount(row) <= -1_250_000_000),
    ([("amount_gte", "-1.25"), ("amount_lte", "-1.25")], lambda row: row["amount"] == "-1.25"),
    ([("amount_gte", "-0.000000135"), ("amount_lte", "5")], lambda row: -135 <= amount(row) <= 5 * DOLLAR),
    ([("ref_type", "api_usage")], lambda row: row["ref_type"] == "api_usage"),
    ([("ref_id", "b,1")], lambda row: row["ref_id"] == "b,1"),
    ([("ref_type", "gpu_instance"), ("ref_id", "132")], lambda row: row["ref_id"] == "132"),
    ([("search", "ÜNÏCODE")], lambda row: "Ünïcode" in row["description"]),
    ([("search", "100%")], lambda row: "100%" in row["description"]),
    ([("search", "PI_7")], lambda row: row["ref_id"] == "-pi_7"),
    ([("search", "nowhere")], lambda row: False),
]


async def test_filters(rest: Rest) -> None:
    for query, matches in FILTERS:
        wanted = [row for row in rest.rows if matches(row)]
        assert await rest.page(query) == wanted, query
        exported = await rest.export("/billing/transactions.csv", query)
        assert [from_csv(cells) for cells in exported] == wanted[::-1], query
    assert {name for query, _ in FILTERS for name, _ in query} | {"account"} == {
        parameter.name for parameter in transactions.EXPORT_PARAMETERS
    }


USAGE_FILTERS: Final[list[tuple[list[tuple[str, str]], Matches]]] = [
    ([], lambda row: True),
    ([("day_gte", "2026-11-02")], lambda row: row["day"] >= "2026-11-02"),
    ([("day_lt", "2026-11-02")], lambda row: row["day"] < "2026-11-02"),
    ([("day_gte", "2026-11-02"), ("day_lt", "2026-11-03")], lambda row: row["day"] == "2026-11-02"),
    ([("models", "llama,bge-m3")], lambda row: row["model"] in {"llama", "bge-m3"}),
    ([("models", "llama"), ("models", "=evil()")], lambda row: row["model"] in {"llama", "=evil()"}),
    ([("models", "")], lambda row: False),
    ([("categories", "embedding")], lambda row: row["category"] == "embedding"),
    ([("categories", "")], lambda row: False),
    ([("origins", "platform")], lambda row: row["origin"] == "platform"),
    ([("origins", "platform,user_inference")], lambda row: True),
    ([("origins", "")], lambda row: False),
]


async def test_usage_export(rest: Rest, monkeypatch: pytest.MonkeyPatch) -> None:
    for step_rows in (1_000, 4, 1):
        monkeypatch.setattr(usage, "STEP_ROWS", step_rows)
        for query, matches in USAGE_FILTERS:
            exported = await rest.export("/billing/usage.csv", query)
            found = [{**cells, "model": unescaped(cells["model"])} for cells in exported]
            assert found == [row for row in rest.usage if matches(row)], query
    # tests/gateway/test_usage_hours.py has those of hours.
    assert {name for query, _ in USAGE_FILTERS for name, _ in query} | {"account", "by", "api_keys", "projects"} == {
        parameter.name for parameter in usage.EXPORT_PARAMETERS
    }


async def test_usage_export_ends_at_the_newest_day_of_its_start(rest: Rest, monkeypatch: pytest.MonkeyPatch) -> None:
    later = [FedDay(UsageDayRow(rest.mine, date(2026, 11, 4 + number), "new", "chat", "platform", 1, 1, 1, 1), "rollup")
             for number in range(20)]  # fmt: skip

    async def put(number: int) -> None:
        if number:
            async with rest.database.write() as connection:
                await put_usage_days(connection, [later[number]])

    monkeypatch.setattr(usage, "STEP_ROWS", 4)
    context = before_each_read(monkeypatch, usage, put)
    exported = await rest.export("/billing/usage.csv")
    assert [cells["day"] for cells in exported] == [row["day"] for row in rest.usage]
    assert len(context) == 1 + -(-len(rest.usage) // 4)


# Bad input

BAD: Final = [
    ("limit=0", "limit"),
    ("limit=1001", "limit"),
    ("limit=-1", "limit"),
    ("limit=", "limit"),
    ("limit", "limit"),
    ("limit=1e2", "limit"),
    ("limit=5.0", "limit"),
    ("limit=%D9%A3", "limit"),
    ("limit=" + "9" * 5_000, "limit"),
    ("limit=5&limit=5", "limit"),
    ("before=txn_1_1&before=txn_1_1", "before"),
]
BAD_FILTERS: Final = [
    ("types=TOPUP", "types"),
    ("types=topup,", "types"),
    ("types=topup,nonsense", "types"),
    ("sources=stripe", "sources"),
    ("ref_type=GPU_INSTANCE", "ref_type"),
    ("ref_type=", "ref_type"),
    ("ref_type=volume&ref_type=contract", "ref_type"),
    ("ref_id=", "ref_id"),
    ("ref_id=" + "x" * 201, "ref_id"),
    ("ref_id=a%00b", "ref_id"),
    ("search=ab", "search"),
    ("search=" + "x" * 201, "search"),
    ("search=abc%00", "search"),
    ("search=abc&search=abc", "search"),
    ("created_at_gte=2026-11-01", "created_at_gte"),
    ("created_at_gte=2026-11-01T00:00:00", "created_at_gte"),
    ("created_at_gte=2026-11-01T00:00:00+01:00", "created_at_gte"),
    ("created_at_lt=yesterday", "created_at_lt"),
    ("created_at_lt=2026-02-30T00:00:00Z", "created_at_lt"),
    ("created_at_gte=2026-11-02T00:00:00Z&created_at_lt=2026-11-01T00:00:00Z", "created_at_lt"),
    ("amount_gte=1e3", "amount_gte"),
    ("amount_gte=0.0000000001", "amount_gte"),
    ("amount_gte=9999999999", "amount_gte"),
    ("amount_lte=", "amount_lte"),
    ("amount_lte=NaN", "amount_lte"),
    ("amount_gte=2&amount_lte=1", "amount_lte"),
    ("account=acct_1&account=acct_1", "account"),
    ("first=5", "first"),
    ("Limit=5", "Limit"),
    ("type=topup", "type"),
    ("=", '""'),
]
BAD_USAGE: Final = [
    ("day_gte=2026-11", "day_gte"),
    ("day_gte=2026-11-31", "day_gte"),
    ("day_lt=2026-11-01T00:00:00Z", "day_lt"),
    ("day_gte=2026-11-02&day_lt=2026-11-01", "day_lt"),
    ("models=a,,b", "models"),
    ("models=" + ",".join(map(str, range(101))), "models"),
    ("models=a%00", "models"),
    ("models=a%ff", "the parameters"),
    ("models=a%c3", "the parameters"),
    ("categories=CHAT", "categories"),
    ("origins=chat", "origins"),
    ("origins=platform,", "origins"),
    ("limit=5", "limit"),
    ("before=txn_1_1", "before"),
    ("types=topup", "types"),
]
EXPORT_PARAMETERS_ALONE: Final = [("limit=5", "limit"), ("before=txn_1_1", "before")]


async def test_bad_input_names_the_parameter(rest: Rest) -> None:
    page, export, usage_export = PATHS
    cases = [
        *((page, *case) for case in BAD + BAD_FILTERS),
        *((export, *case) for case in BAD_FILTERS + EXPORT_PARAMETERS_ALONE),
        *((usage_export, *case) for case in BAD_USAGE),
    ]
    for path, query, name in cases:
        status, code, message = await rest.refusal(path, query)
        assert (status, code) == (400, "BAD_USER_INPUT"), (path, query)
        assert name in message.replace("; known parameters are", "").split(", ")[0], (query, message)
        assert len(message) < 400


async def test_other_methods(rest: Rest) -> None:
    headers = {"Authorization": f"Bearer {rest.key}"}
    for path in PATHS:
        refused = await rest.client.post(path, headers=headers, json={})
        assert refused.status == 405
        assert (await refused.json())["error"]["code"] == "METHOD_NOT_ALLOWED"
        head = await rest.client.head(path, headers=headers)
        assert (head.status, await head.read()) == (200, b"")


# Who may read what


async def test_without_a_valid_key(rest: Rest) -> None:
    revoked = await rest.issue(KeyScope.READ, account_id=rest.mine)
    assert (await rest.get("/billing/transactions", revoked.secret)).status == 200
    await rest.keys.revoke(revoked.row.prefix)
    headers: list[dict[str, str]] = [
        {},
        {"Authorization": "Bearer eco_nonsense"},
        {"Authorization": f"Basic {rest.key}"},
        {"Authorization": rest.key},
        {"Authorization": f"Bearer {rest.key[:-1]}"},
        {"Authorization": f"Bearer {rest.key[:-4]}AAAA"},
        {"Authorization": f"Bearer {revoked.secret}"},
    ]
    for path in PATHS:
        for given in headers:
            # The key comes first: what else is wrong with a request is no business of strangers.
            for query in ("", "?limit=nonsense"):
                response = await rest.client.get(path + query, headers=given)
                assert response.status == 401, given
                assert (await response.json())["error"]["code"] == "UNAUTHENTICATED"
                assert response.headers["WWW-Authenticate"] == 'Bearer realm="billing"'


async def test_keys_and_accounts(rest: Rest) -> None:
    mine, other = account_id_text(rest.mine), account_id_text(rest.other)
    read, manage = rest.key, (await rest.issue(KeyScope.MANAGE, account_id=rest.mine)).secret
    outsider = (await rest.issue(KeyScope.READ, account_id=rest.other)).secret
    listed = (await rest.issue(KeyScope.SERVICE, account_ids=(rest.mine,))).secret
    service = (await rest.issue(KeyScope.SERVICE)).secret
    operator = (await rest.issue(KeyScope.OPERATOR)).secret
    # By key: without an account, with mine, with the other one, with one that does not exist, with nonsense.
    matrix = {
        read: (200, 200, 404, 404, 404),
        manage: (200, 200, 404, 404, 404),
        outsider: (200, 404, 200, 404, 404),
        listed: (400, 200, 404, 404, 404),
        service: (400, 200, 200, 404, 404),
        operator: (400, 200, 200, 404, 404),
    }
    for path in PATHS:
        for key, statuses in matrix.items():
            for account, status in zip((None, mine, other, "acct_999", "7"), statuses, strict=True):
                query = "" if account is None else f"account={account}"
                if status == 200:
                    response = await rest.get(f"{path}?{query}", key)
                    assert response.status == 200
                    body = await response.text()
                    shown = other if account == other or (key == outsider and account is None) else mine
                    assert (mine in body, other in body) == (shown == mine, shown == other)
                    continue
                found, code, message = await rest.refusal(path, query, key)
                wanted = "account is required" if status == 400 else "there is no such account"
                assert (found, code) == (status, "BAD_USER_INPUT" if status == 400 else "NOT_FOUND")
                assert message.startswith(wanted)


async def test_operator_reads_before_in_the_account_named(rest: Rest) -> None:
    operator = (await rest.issue(KeyScope.OPERATOR)).secret
    query = {"account": account_id_text(rest.mine), "before": rest.rows[2]["id"]}
    assert await rest.page(query, operator) == rest.rows[3:]
    query["account"] = account_id_text(rest.other)
    response = await rest.get("/billing/transactions", operator, params=query)
    assert response.status == 404


# Exports


async def test_export_has_the_rows_of_json(rest: Rest) -> None:
    response = await rest.get("/billing/transactions.csv")
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8; header=present"
    name = f"transactions-{account_id_text(rest.mine)}.csv"
    assert response.headers["Content-Disposition"] == f'attachment; filename="{name}"'
    assert response.headers["Transfer-Encoding"] == "chunked"
    assert response.headers["X-Request-Id"]
    text = (await response.read()).decode()
    assert text.startswith(",".join(LEDGER_COLUMNS) + "\r\n")
    assert text.endswith("\r\n")
    assert text.count("\n") == text.count("\r\n") == len(rest.rows) + 1
    exported = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    assert [from_csv(cells) for cells in exported] == rest.rows[::-1]


async def test_text_that_looks_like_a_formula(rest: Rest) -> None:
    exported = await rest.export("/billing/transactions.csv")
    assert {(cells["description"], cells["ref_id"]) for cells in exported} >= {
        ("'=Checkout cs_1", "'@cs_1"),
        ("Auto-recharge, pi_7", "'-pi_7"),
        ("''+1 looks like a formula", ""),
        ("'quoted' correction of the drive", ""),
        ("'+Contract C-1", "C-1"),
    }
    assert {cells["amount"] for cells in exported} >= {"-3.00", "-0.000000135"}
    assert {cells["model"] for cells in await rest.export("/billing/usage.csv")} == {"'=evil()", "bge-m3", "llama"}


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@a", "\t=1", "\r=1", "\n=1", "＝1", "'=1", "''-1"])
def test_formulas_are_quoted_so_that_it_can_be_undone(text: str) -> None:
    columns = [column for column in transactions.COLUMNS if column.name in {"description", "amount"}]
    (amount, description), *more = csv.reader(
        io.StringIO(exports.csv_lines(columns, [["-1", text]]).decode(), newline="")
    )
    assert (amount, description, more) == ("-1", f"'{text}", [])
    assert unescaped(description) == text


async def test_export_ends_at_the_head_of_its_start(rest: Rest, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [*rest.rows[::-1], *await rest.post(many_entries(2_500))]

    async def post(number: int) -> None:
        if number:
            await rest.post(many_entries(50))

    context = before_each_read(monkeypatch, transactions, post)
    exported = await rest.export("/billing/transactions.csv")
    assert [from_csv(cells) for cells in exported] == rows
    assert len(context) == 1 + 3


async def test_steps_of_any_size_give_the_same_rows(rest: Rest, monkeypatch: pytest.MonkeyPatch) -> None:
    for step_rows in (1, 2, len(rest.rows), len(rest.rows) + 1):
        monkeypatch.setattr(transactions, "STEP_ROWS", step_rows)
        exported = await rest.export("/billing/transactions.csv")
        assert [from_csv(cells) for cells in exported] == rest.rows[::-1]


async def test_a_search_reads_stretch_by_stretch(rest: Rest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transactions, "SEARCHED_ROWS", 4)
    context = before_each_read(monkeypatch, transactions, nothing)
    for step_rows in (1, 2, 1_000):
        monkeypatch.setattr(transactions, "STEP_ROWS", step_rows)
        context.clear()
        exported = await rest.export("/billing/transactions.csv", {"search": "API"})
        wanted = [row for row in rest.rows[::-1] if "API" in row["description"]]
        assert [from_csv(cells) for cells in exported] == wanted
        assert len(context) >= 1 + -(-len(rest.rows) // 4)


async def test_an_error_at_the_start_is_answered_as_such(rest: Rest, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(number: int) -> None:
        if number == 1:
            raise DatabaseUnavailable("gone")

    for path, module in zip(PATHS[1:], (transactions, usage), strict=True):
        with monkeypatch.context() as patch:
            before_each_read(patch, module, fail)
            assert (await rest.refusal(path, ""))[:2] == (503, "UNAVAILABLE")


async def _raw(rest: Rest, version: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(rest.client.host, rest.client.port)
    lines = f"GET /billing/transactions.csv HTTP/{version}", "Host: test", f"Authorization: Bearer {rest.key}", "", ""
    writer.write("\r\n".join(lines).encode())
    return reader, writer


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def test_an_error_midway_does_not_look_like_the_end(rest: Rest, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(number: int) -> None:
        if number % 4 == 3:
            raise DatabaseUnavailable("gone")

    monkeypatch.setattr(transactions, "STEP_ROWS", 3)
    before_each_read(monkeypatch, transactions, fail)
    response = await rest.get("/billing/transactions.csv")
    assert response.status == 200
    with pytest.raises(aiohttp.ClientPayloadError):
        await response.read()
    assert rest.count("billing_errors_total", code="UNAVAILABLE") == 1
    # Without chunks, a connection that ends in good order is all that tells the end.
    reader, writer = await _raw(rest, "1.0")
    with pytest.raises(ConnectionResetError):
        await reader.read(-1)
    await _closed(writer)
    assert rest.count("billing_errors_total", code="UNAVAILABLE") == 2


async def test_a_key_revoked_midway_ends_the_export(rest: Rest, monkeypatch: pytest.MonkeyPatch) -> None:
    issued = await rest.issue(KeyScope.READ, account_id=rest.mine)

    async def revoke(number: int) -> None:
        if number == 3:
            await rest.keys.revoke(issued.row.prefix)

    monkeypatch.setattr(transactions, "STEP_ROWS", 2)
    before_each_read(monkeypatch, transactions, revoke)
    response = await rest.get("/billing/transactions.csv", issued.secret)
    with pytest.raises(aiohttp.ClientPayloadError):
        await response.read()


async def test_a_client_that_leaves_stops_the_export(rest: Rest, monkeypatch: pytest.MonkeyPatch) -> None:
    await rest.post(many_entries(2_000))
    left = asyncio.Event()

    async def wait(number: int) -> None:
        if number == 3:
            await left.wait()

    monkeypatch.setattr(transactions, "STEP_ROWS", 1)
    context = before_each_read(monkeypatch, transactions, wait)
    reader, writer = await _raw(rest, "1.1")
    assert (await reader.read(100)).startswith(b"HTTP/1.1 200 OK\r\n")
    writer.transport.abort()
    await asyncio.sleep(0.05)
    left.set()
    route = "/billing/transactions.csv"
    async with asyncio.timeout(20):
        while not rest.count("billing_http_requests_total", route=route, method="GET", status="499", code=""):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert len(context) < 100
    assert rest.count("billing_errors_total", code="INTERNAL") == 0
    # No connection was left behind: all of the pool can be had at once.
    pages = await asyncio.gather(*(rest.page({"limit": "1"}) for _ in range(30)))
    assert len(pages) == 30


# OpenAPI


async def described(rest: Rest) -> Row:
    response = await rest.client.get("/openapi.json")
    assert (response.status, response.content_type) == (200, "application/json")
    document = await response.json()
    assert isinstance(document, dict)
    return document


async def test_openapi_is_valid(rest: Rest) -> None:
    document = await described(rest)
    validate(document)
    assert document["openapi"].startswith("3.1")
    assert set(document["paths"]) == {
        *(*PATHS, SINGLE, *STATEMENTS, *POSTED, "/openapi.json", "/healthz", "/readyz", "/metrics")
    }


async def test_openapi_describes_what_is_answered(rest: Rest) -> None:
    document = await described(rest)
    # Addressed as a resource of its own, so that its references lead into the document.
    schemas = {name: {**schema, "$defs": {}} for name, schema in document["components"]["schemas"].items()}
    assert list(schemas["Transaction"]["properties"]) == schemas["Transaction"]["required"] == LEDGER_COLUMNS
    validator = Draft202012Validator(schemas["Transaction"])
    for row in await rest.page():
        validator.validate(row)
    assert not validator.is_valid({**rest.rows[0], "amount": 5})
    response = await rest.get("/billing/transactions?limit=0")
    Draft202012Validator(schemas["Error"]).validate(await response.json())
    for path, columns in ((PATHS[1], LEDGER_COLUMNS), (PATHS[2], USAGE_COLUMNS)):
        answer = document["paths"][path]["get"]["responses"]["200"]
        assert list(answer["content"]) == ["text/csv"]
        assert f"`{','.join(columns)}`" in answer["description"]
    assert all("429" in document["paths"][path]["get"]["responses"] for path in (*PATHS, *STATEMENTS))


async def test_openapi_parameters_are_those_that_are_accepted(rest: Rest) -> None:
    document = await described(rest)
    for path in PATHS:
        parameters = document["paths"][path]["get"]["parameters"]
        names = [parameter["name"] for parameter in parameters]
        _, _, message = await rest.refusal(path, "unknown=1")
        assert message == f'unknown parameter "unknown"; known parameters are {", ".join(names)}'
        for parameter in parameters:
            assert (parameter["in"], parameter.get("required", False)) == ("query", False)
            example = {"account": account_id_text(rest.mine), "before": rest.rows[0]["id"]}.get(
                parameter["name"], parameter["example"]
            )
            many = isinstance(example, list)
            assert many == (parameter["schema"]["type"] == "array")
            values = [example, [",".join(example)], []] if many else [[str(example)]]
            for texts in values:
                query = [(parameter["name"], text) for text in texts or [""]]
                response = await rest.get(path, params=query)
                assert response.status == 200, (query, await response.text())


# The shell lines of the documentation


def tool(name: str) -> str:
    if shutil.which(name) is None:
        pytest.fail(f"{name} is not installed: apt-get install {name}")
    return name


async def shell(line: str, folder: Path, **variables: str) -> bytes:
    process = await asyncio.create_subprocess_exec(
        "bash", "-o", "pipefail", "-c", line, cwd=folder, env=os.environ | variables, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output


async def test_the_shell_lines_work_as_they_stand(rest: Rest, tmp_path: Path) -> None:
    tool("curl")
    tool("jq")
    rows = [*rest.rows[::-1], *await rest.post(many_entries(300))][::-1]
    given = {"URL": str(rest.client.make_url("")).rstrip("/"), "KEY": rest.key}
    line = 'curl -s "$URL/billing/transactions?limit=200" -H "Authorization: Bearer $KEY"'
    assert json.loads(await shell(line, tmp_path, **given)) == rows[:200]
    line = """
curl -s -H "Authorization: Bearer $KEY" "$URL/billing/transactions?limit=1000" \\
  | jq -r '.[] | [.created_at, .type, .amount, .balance_after, .description] | @csv' > transactions.csv
"""
    assert await shell(line, tmp_path, **given) == b""
    text = (tmp_path / "transactions.csv").read_text(encoding="utf-8")
    columns = ("created_at", "type", "amount", "balance_after", "description")
    assert list(csv.reader(io.StringIO(text))) == [[row[name] for name in columns] for row in rows]


def example() -> str:
    (found,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    return str(found)


async def test_the_guides_example_checks_the_hash_chain(rest: Rest, tmp_path: Path) -> None:
    (tmp_path / "check_chain.py").write_text(example(), encoding="utf-8")
    export = await (await rest.get("/billing/transactions.csv")).text()

    async def checked(text: str) -> tuple[int | None, str]:
        (tmp_path / "transactions.csv").write_bytes(text.encode())
        command = sys.executable, "check_chain.py", "transactions.csv"
        process = await asyncio.create_subprocess_exec(
            *command, cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        output, _ = await process.communicate()
        return process.returncode, output.decode().strip()

    assert await checked(export) == (0, f"{len(rest.rows)} rows: the chain holds")
    broken = f"{transaction_id_text(rest.mine, 8)}: the chain is broken"
    assert await checked(export.replace("Drive v1", "Drive v2")) == (1, broken)
    lines = export.splitlines(keepends=True)
    assert await checked("".join(lines[:7] + lines[8:])) == (1, broken)


def test_the_guide_names_every_parameter_and_column() -> None:
    guide = GUIDE.read_text(encoding="utf-8")
    names = {parameter.name for parameter in (*transactions.PARAMETERS, *usage.EXPORT_PARAMETERS)}
    names |= {column.name for column in (*statements.COLUMNS, *statements.MOVEMENT_COLUMNS)} | {"from", "to"}
    of_hours = {column.name for column in (*usage_hours.COLUMNS, *usage_requests.COLUMNS)}
    for name in names | {*LEDGER_COLUMNS, *USAGE_COLUMNS} | of_hours:
        assert re.search(rf"\b{name}\b", guide), name
    for path in (*PATHS, SINGLE, *STATEMENTS, *POSTED, "/openapi.json"):
        assert path in guide
