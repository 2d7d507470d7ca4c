"""A search finds the same rows and accounts on every database, whatever its locale."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db.database import Database, DatabaseOptions
from db.folding import fold
from db.schema_version import migrate
from ledger.accounts import Accounts
from ledger.commands import Entry, Ref
from ledger.kinds import RefType, TransactionSource, TransactionType
from ledger.posting import Ledger
from resolvers.context import QueryContext
from resolvers.reads.accounts import account_count, account_page
from resolvers.reads.transactions import transaction_count, transaction_filter, transaction_page
from tests.doses import dose
from tests.ledger.desk import OPERATOR, SERVICE, posting
from tests.postgres import Postgres
from tests.resolvers.ledgers import NOW, RowDraft, new_ledger, principal

LOCALES: Final = {
    "c": "LOCALE 'C'",
    "unicode": "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'PG_UNICODE_FAST' LOCALE 'C'",
}


async def _migrated(server: Postgres, locale: str) -> AsyncIterator[Database]:
    database = Database(DatabaseOptions(server.url(await server.new_database("template0", LOCALES[locale]))))
    await migrate(database)
    yield database
    await database.close()


@pytest.fixture(scope="module")
async def c_ledgers(postgres_server: Postgres) -> AsyncIterator[Database]:
    async for database in _migrated(postgres_server, "c"):
        yield database


@pytest.fixture(scope="module")
async def unicode_ledgers(postgres_server: Postgres) -> AsyncIterator[Database]:
    async for database in _migrated(postgres_server, "unicode"):
        yield database


every_locale = pytest.mark.parametrize("backend", ["sqlite", "postgresql", "c", "unicode"], indirect=True)

FOUND: Final = (
    ("STRASSE", "Rack in der Hohen Straße"),
    ("straße", "MOVED TO MAIN STRASSE"),
    ("istanbul", "Region İstanbul"),
    ("İSTANBUL", "region istanbul"),
    ("i\u0307stanbul", "Region ISTANBUL"),
    ("cafe\u0301", "GPUs of the Caf\u00e9"),
    ("CAF\u00c9", "GPUs of the cafe\u0301"),
    ("gpu 132", "ＧＰＵ　１３２"),
    ("OFFICE", "Credit for the oﬃce"),
    ("οδος", "ΟΔΟΣ 7"),
    ("ΟΔΟΣ", "οδος 7"),
    ("ᏣᎳᎩ", "ꮳꮃꭹ"),
    ("ꮳꮃꭹ", "ᏣᎳᎩ"),
    ("ÄRGER", "viel ärger"),
    ("ЁЛКА", "новая ёлка"),
    ("× 1 gpu", "hold per-GPU × 1 GPU × 1h"),
)
NOT_FOUND: Final = (("cafe!", "Café!"), ("ısı", "ISI 5"), ("100%", "1000"), ("a_b", "axb"), ("caf\u00e9", "cafe"))

DRAFT: Final = RowDraft((TransactionType.BONUS, TransactionSource.PROMOTION), 5, False, 1, None, "")


async def _found(database: Database, account_id: int, search: str) -> set[int]:
    """The `seq` of the rows that the search finds; their number is its count."""
    async with database.snapshot() as snapshot:
        context = QueryContext(snapshot, principal(), NOW)
        page = await transaction_page(context, account_id, transaction_filter(search=search), first=1_000)
        assert await transaction_count(context, page) == len(page.rows)
        return {row.seq for row in page.rows}


@every_locale
async def test_transaction_search_uses_folding(ledgers: Database) -> None:
    for search, text in (*FOUND, *NOT_FOUND):
        drafts = [replace(DRAFT, description=text), replace(DRAFT, description="xyz", ref=(RefType.VOLUME, text))]
        account_id, _ = await new_ledger(ledgers, [*drafts, replace(DRAFT, description="xyz")])
        assert await _found(ledgers, account_id, search) == ({1, 2} if (search, text) in FOUND else set()), text


@every_locale
async def test_account_search_uses_folding(ledgers: Database) -> None:
    accounts = Accounts(ledgers)
    for search, text in (*FOUND, *NOT_FOUND):
        made = [await accounts.create(text), await accounts.create("xyz", f"{text} {search}")]
        async with ledgers.snapshot() as snapshot:
            context = QueryContext(snapshot, principal(), NOW)
            page = await account_page(context, 1_000, None, search)
            found = {row.id for row in page.rows}
            assert await account_count(context, page) == len(found)
        assert (made[0].id in found, made[1].id in found) == ((search, text) in FOUND, True), text


@every_locale
async def test_search_finds_rows_of_every_posting_path(ledgers: Database) -> None:
    account = await Accounts(ledgers).create("Accöunt", signup_bonus_nanos=5)
    ledger = Ledger(ledgers)
    entry = Entry(TransactionType.GPU_USAGE, -5, "API usage, Straße", Ref(RefType.API_USAGE, "İ-132"))
    correction = Entry(TransactionType.ADMIN_CORRECTION, 5, "Korrektur, Straße")
    await ledger.post(posting(account.id, entry))
    await ledger.post(posting(account.id, correction, writer=OPERATOR), posting(account.id, entry, writer=SERVICE))
    await ledger.within(lambda transaction: transaction.post(posting(account.id, entry)))
    assert await _found(ledgers, account.id, "STRASSE") == {2, 3, 4, 5}
    assert await _found(ledgers, account.id, "i-1") == {2, 4, 5}


_PIECES: Final = st.sampled_from(
    [*"iIıİsSßſẞσΣςéeÉ\u0301\u0307\u0345ᾳαΑ각ᏣꮳᲀвﬁfＧg×ж'%_\\ ", "\u1100\u1161\u11a8", "gpu"]
)
_TEXTS: Final = st.lists(_PIECES, min_size=3, max_size=8).map("".join).filter(str.strip)


@every_locale
@given(texts=st.lists(_TEXTS, min_size=1, max_size=6), search=_TEXTS, data=st.data())
@settings(
    max_examples=dose(9, 60),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_search_finds_parts_of_the_folded_text(
    ledgers: Database, texts: list[str], search: str, data: st.DataObject
) -> None:
    account_id, _ = await new_ledger(ledgers, [replace(DRAFT, description=text) for text in texts])
    start = data.draw(st.integers(0, len(texts[0]) - 3))
    for part in (search, texts[0].swapcase()[:200], texts[0][start : start + 3]):
        expected = {number for number, text in enumerate(texts, 1) if fold(part) in fold(text)}
        assert await _found(ledgers, account_id, part) == expected
