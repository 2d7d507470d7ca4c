"""Pages and counts of random requests, compared with lists in plain Python; and pages while requests are deleted."""

from __future__ import annotations

import asyncio
import base64
import struct
import zlib
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db.attribution_rows import RequestDetailRow
from db.database import Database
from db.filters import ALL_USAGE_REQUESTS, UsageRequestFilter, Window
from db.pruning import delete_details
from ledger.errors import BadCursor, BadUserInput
from ledger.kinds import UsageCategory, UsageOrigin
from resolvers.context import QueryContext
from resolvers.cursors import NO_FILTER, CursorKind, CursorWriter, filter_digest
from resolvers.reads import usage_requests
from resolvers.reads.usage_requests import usage_request_filter, usage_request_page
from tests.doses import dose
from tests.request_rows import put_requests, request_row
from tests.resolvers.ledgers import NOW, SECOND, START, ModelPage, model_page, new_account, principal
from tests.resolvers.test_transaction_pages import EXAMPLES, ordered

_NAMES = st.none() | st.sampled_from(["k-1", "K-1", "ж", "it's"])
_KINDS = st.fixed_dictionaries(
    {
        "seconds": st.integers(0, 3),
        "model": st.sampled_from(["a", "B", "ж/Ä"]),
        "category": st.sampled_from(["chat", "image"]),
        "origin": st.sampled_from(["platform", "user_inference"]),
        "api_key": _NAMES,
        "project": _NAMES,
        "end_user": _NAMES,
    }
)
REQUESTS = st.lists(_KINDS, max_size=14)
_TIMES = st.none() | st.integers(-1, 4).map(lambda seconds: START + seconds * SECOND)
_SOME_NAMES = st.lists(st.sampled_from(["k-1", "K-1", "ж", "nobody", ""]), max_size=3)
FILTERS = st.fixed_dictionaries(
    {},
    optional={
        "at": st.tuples(_TIMES, _TIMES).map(ordered),
        "models": st.lists(st.sampled_from(["a", "b", "B", "ж/Ä", ""]), max_size=3),
        "categories": st.lists(st.sampled_from(UsageCategory), max_size=3),
        "origins": st.lists(st.sampled_from(UsageOrigin), max_size=2),
        "api_key_ids": _SOME_NAMES,
        "projects": _SOME_NAMES,
        "end_users": _SOME_NAMES,
    },
)
_COLUMNS = {
    "models": "model",
    "categories": "category",
    "origins": "origin",
    "api_key_ids": "api_key",
    "projects": "project",
    "end_users": "end_user",
}


async def new_requests(database: Database, drafts: list[dict[str, Any]]) -> tuple[int, list[RequestDetailRow]]:
    """A new account, and its requests newest first."""
    account = await new_account(database)
    rows = []
    for number, draft in enumerate(drafts):
        values = dict(draft)
        at = START + values.pop("seconds") * SECOND
        rows.append(request_row(account.id, f"r-{number}", at, **values))
    await put_requests(database, *rows)
    return account.id, sorted(rows, key=lambda row: row[1:3], reverse=True)


def filter_of(given: dict[str, Any]) -> UsageRequestFilter:
    values = {name: value for name, value in given.items() if name != "at"}
    gte, lt = given.get("at", (None, None))
    return usage_request_filter(at_gte=gte, at_lt=lt, **values)


def matches(given: dict[str, Any], row: RequestDetailRow) -> bool:
    gte, lt = given.get("at", (None, None))
    return (
        (gte is None or row.at >= gte)
        and (lt is None or row.at < lt)
        and all(getattr(row, column) in given[name] for name, column in _COLUMNS.items() if name in given)
    )


@given(drafts=REQUESTS, chosen=FILTERS, data=st.data())
@EXAMPLES
async def test_pages_are_slices_of_the_list(
    ledgers: Database, drafts: list[dict[str, Any]], chosen: dict[str, Any], data: st.DataObject
) -> None:
    account_id, rows = await new_requests(ledgers, drafts)
    row_filter = filter_of(chosen)
    matching = [((row.at, row.digest), row) for row in rows if matches(chosen, row)]
    positions = st.sampled_from([None, *(position for position, _ in matching)])
    writer = CursorWriter(CursorKind.USAGE_REQUESTS, account_id, filter_digest(row_filter))
    async with ledgers.snapshot() as snapshot:
        context = QueryContext(snapshot, principal(), NOW)
        for _ in range(3):
            after, size = data.draw(positions), data.draw(st.integers(1, 5))
            cursor = None if after is None else writer.of_requests([after])[0]
            page = await usage_request_page(context, account_id, row_filter, first=size, after=cursor)
            expected = model_page(matching, Window(size, after), size)
            assert ModelPage(list(page.rows), page.has_next, page.has_previous) == expected
            assert [page.cursor_of(row) for row in page.rows] == writer.of_requests(row[1:3] for row in page.rows)
        assert await usage_requests.usage_request_count(context, page) == len(matching)


@given(all_drafts=st.lists(REQUESTS, min_size=2, max_size=3), chosen=FILTERS, size=st.integers(1, 4))
@settings(EXAMPLES, max_examples=dose(9, 30))
async def test_accounts_read_together_get_the_same_pages_as_alone(
    ledgers: Database, all_drafts: list[list[dict[str, Any]]], chosen: dict[str, Any], size: int
) -> None:
    made = dict([await new_requests(ledgers, drafts) for drafts in all_drafts])
    async with ledgers.snapshot() as snapshot:
        context = QueryContext(snapshot, principal(), NOW)
        pages = await asyncio.gather(
            *(usage_request_page(context, account_id, filter_of(chosen), first=size) for account_id in made)
        )
        counts = await asyncio.gather(*(usage_requests.usage_request_count(context, page) for page in pages))
    for rows, page, count in zip(made.values(), pages, counts, strict=True):
        matching = [row for row in rows if matches(chosen, row)]
        assert list(page.rows) == matching[:size]
        assert (page.has_next, count) == (len(matching) > size, len(matching))


async def _page_after_pruning(database: Database, account_id: int, before: datetime, cursor: str) -> tuple[bool, bool]:
    """The flags of the page after the cursor, once all requests from before this time are deleted."""
    async with database.write() as connection:
        await delete_details(connection, account_id, before, 1_000)
    async with database.snapshot() as snapshot:
        context = QueryContext(snapshot, principal(), NOW)
        page = await usage_request_page(context, account_id, ALL_USAGE_REQUESTS, first=1, after=cursor)
    assert page.rows == ()
    return page.has_next, page.has_previous


async def test_page_after_a_deleted_request_has_exact_flags(ledgers: Database) -> None:
    account = await new_account(ledgers)
    await put_requests(ledgers, *(request_row(account.id, f"r-{n}", START + n * SECOND) for n in range(4)))
    async with ledgers.snapshot() as snapshot:
        context = QueryContext(snapshot, principal(), NOW)
        page = await usage_request_page(context, account.id, ALL_USAGE_REQUESTS)
    oldest = page.cursor_of(page.rows[-1])
    assert await _page_after_pruning(ledgers, account.id, START, oldest) == (False, True)
    assert await _page_after_pruning(ledgers, account.id, START + 2 * SECOND, oldest) == (False, True)
    assert await _page_after_pruning(ledgers, account.id, START + 9 * SECOND, oldest) == (False, False)


async def test_a_request_is_found_by_its_id_on_its_own_account(ledgers: Database) -> None:
    account, other = await new_account(ledgers), await new_account(ledgers)
    row = request_row(account.id, "r/1 ж", START)
    await put_requests(ledgers, row)
    async with ledgers.snapshot() as snapshot:
        context = QueryContext(snapshot, principal(), NOW)
        assert await usage_requests.usage_request(context, account.id, "r/1 ж") == row
        assert await usage_requests.usage_request(context, other.id, "r/1 ж") is None
        for invalid in ("", " ", "r\x00", "\ud83d", "x" * 256, "R/1 Ж"):
            assert await usage_requests.usage_request(context, account.id, invalid) is None


@pytest.mark.parametrize(
    "position", [bytes(8), bytes(25), b"\x7f" * 24, b"\x80" * 24], ids=["short", "long", "late", "early"]
)
async def test_cursor_of_an_impossible_position_is_refused(ledgers: Database, position: bytes) -> None:
    account = await new_account(ledgers)
    body = struct.pack(">BBq8s", 1, CursorKind.USAGE_REQUESTS, account.id, NO_FILTER) + position
    text = base64.urlsafe_b64encode(body + struct.pack(">I", zlib.crc32(body))).rstrip(b"=").decode()
    async with ledgers.snapshot() as snapshot:
        context = QueryContext(snapshot, principal(), NOW)
        with pytest.raises(BadCursor, match=r"^after is not a cursor of this API$"):
            await usage_request_page(context, account.id, ALL_USAGE_REQUESTS, after=text)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"at_gte": START + SECOND, "at_lt": START}, "at"),
        ({"models": ["m"] * 101}, "models"),
        ({"api_key_ids": ["good", "b\x00d"]}, "apiKeyIds"),
        ({"projects": ["\ud83d"]}, "projects"),
        ({"end_users": ["u"] * 101}, "endUsers"),
    ],
)
def test_invalid_filters_are_refused(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(BadUserInput, match=rf"^{named} "):
        usage_request_filter(**arguments)
