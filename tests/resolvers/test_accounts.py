from __future__ import annotations

import pytest

from db.database import Database
from db.rows import AccountRow
from ledger.errors import BadCursor, BadUserInput
from resolvers.context import QueryContext
from resolvers.reads import accounts
from resolvers.reads.accounts import account_count, account_page
from tests.resolvers.ledgers import NOW, new_account, principal


@pytest.fixture
async def made(database: Database) -> list[AccountRow]:
    names = [("Acme GPU", "acme"), ("Ärger & Söhne", None), ("100%_sure", "Zürich-9"), ('it\'s "quoted"', "it's")]
    return [await new_account(database, name, external_id) for name, external_id in names]


async def test_accounts_are_listed_once_newest_first(database: Database, made: list[AccountRow]) -> None:
    for size in (1, 2, 3, 4, 5):
        met: list[AccountRow] = []
        after: str | None = None
        more = True
        async with database.snapshot() as snapshot:
            context = QueryContext(snapshot, principal(), NOW)
            while more:
                page = await account_page(context, size, after, None)
                assert page.has_previous == (after is not None)
                met += page.rows
                more, after = page.has_next, page.cursor_of(page.rows[-1])
            assert await account_count(context, page) == len(made)
        assert met == made[::-1]


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("gpu", [0]),
        ("ACME", [0]),
        ("äRGER", [1]),
        ("SÖHNE", [1]),
        ("zÜRICH", [2]),
        ("0%_s", [2]),
        ("%%%", []),
        ("___", []),
        ("it's", [3]),
        ('"QUOTED"', [3]),
        ("acct_1", [0]),
        ("acct_3", [2]),
        ("acct_", []),
        ("acct_99999999999999999999", []),
        ("   ", []),
    ],
)
async def test_a_search_finds_names_external_ids_and_ids(
    database: Database, made: list[AccountRow], search: str, found: list[int]
) -> None:
    async with database.snapshot() as snapshot:
        context = QueryContext(snapshot, principal(), NOW)
        page = await account_page(context, None, None, search)
        assert list(page.rows) == [made[index] for index in found]
        assert (page.has_next, page.has_previous) == (False, False)
        assert await account_count(context, page) == len(found)


@pytest.mark.parametrize(
    ("first", "search", "named"),
    [
        (0, None, "first"),
        (1_001, None, "first"),
        (1, "ab", "search"),
        (1, "a\x00b", "search"),
        (1, "ab\udc00", "search"),
    ],
)
async def test_invalid_arguments_are_refused(database: Database, first: int, search: str | None, named: str) -> None:
    async with database.snapshot() as snapshot:
        with pytest.raises(BadUserInput, match=rf"^{named} "):
            await account_page(QueryContext(snapshot, principal(), NOW), first, None, search)


async def test_cursor_belongs_to_its_search(database: Database, made: list[AccountRow]) -> None:
    async with database.snapshot() as snapshot:
        context = QueryContext(snapshot, principal(), NOW)
        cursors: dict[str | None, str] = {}
        for search in (None, "gpu", "acme"):
            page = await account_page(context, 1, None, search)
            cursors[search] = page.cursor_of(page.rows[0])
        for search in cursors:
            for of, cursor in cursors.items():
                if of == search:
                    assert (await account_page(context, 1, cursor, search)).has_previous
                else:
                    with pytest.raises(BadCursor, match=r"^after is a cursor of another filter"):
                        await account_page(context, 1, cursor, search)


async def test_an_account_without_rows_has_a_balance_of_zero(database: Database, made: list[AccountRow]) -> None:
    async with database.snapshot() as snapshot:
        context = QueryContext(snapshot, principal(), NOW)
        row = await accounts.account(context, f"acct_{made[0].id}")
        assert (row, await accounts.balance(context, row, None), await accounts.balance(context, row, NOW)) == (
            made[0],
            0,
            0,
        )
