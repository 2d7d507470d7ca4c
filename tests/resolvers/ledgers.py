"""Ledgers of random rows, written as they are, and the lists that a page is cut from, in plain Python."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from hypothesis import strategies as st

from access.keys import KeyScope, Principal
from db import writes
from db.database import Database
from db.filters import Window
from db.rows import AccountRow, TransactionRow, UsageDayRow
from db.usage_writes import FedDay, put_usage_days
from ledger.kinds import KINDS, SIGN, RefType, TransactionSource, TransactionType, UsageCategory, UsageOrigin
from tests.ledger_rows import insert_transactions, update_account

NOW: Final = datetime(2026, 11, 15, 12, tzinfo=UTC)
START: Final = datetime(2026, 3, 1, tzinfo=UTC)
SECOND: Final = timedelta(seconds=1)

_PIECES: Final = st.text("abAB äÄжЖ%_'\"\\", min_size=1, max_size=8) | st.sampled_from(["Straße", "İß", "σας"])
TEXT: Final = _PIECES.map(lambda text: f"x{text}x")

_numbers = itertools.count(1)


def principal(
    scope: KeyScope = KeyScope.OPERATOR, account_id: int | None = None, account_ids: frozenset[int] | None = None
) -> Principal:
    return Principal(1, "eco_test", scope, account_id, account_ids, None, None)


@dataclass(frozen=True)
class RowDraft:
    kind: tuple[TransactionType, TransactionSource]
    size: int
    negative: bool
    seconds: int
    ref: tuple[RefType, str] | None
    description: str


_REFS: Final = st.tuples(
    st.sampled_from([RefType.GPU_INSTANCE, RefType.VOLUME, RefType.STRIPE_REFUND]),
    st.sampled_from(["1", "2", "Ж-Ä%_", 'it\'s "3"']),
)
DRAFTS: Final = st.builds(
    RowDraft,
    kind=st.sampled_from(KINDS),
    size=st.integers(1, 6),
    negative=st.booleans(),
    seconds=st.integers(0, 2),
    ref=st.none() | _REFS,
    description=TEXT,
)


def rows_of(account_id: int, drafts: Sequence[RowDraft], *, after: AccountRow | None = None) -> list[TransactionRow]:
    """Oldest first. They go on from the account's head."""
    seq = after.head_seq if after else 0
    balance = after.balance_nanos if after else 0
    moment = (after.head_at if after else None) or START
    rows = []
    for draft in drafts:
        kind, source = draft.kind
        amount = draft.size * (SIGN[kind] or (-1 if draft.negative else 1))
        seq, balance, moment = seq + 1, balance + amount, moment + draft.seconds * SECOND
        rows.append(
            TransactionRow(
                account_id=account_id,
                seq=seq,
                created_at=moment,
                type=kind.value,
                amount_nanos=amount,
                balance_after_nanos=balance,
                description=draft.description,
                source=source.value,
                ref_type=draft.ref[0].value if draft.ref else None,
                ref_id=draft.ref[1] if draft.ref else None,
                actor="test",
                corrects_seq=None,
                period_start=None,
                period_end=None,
                hash=bytes(32),
            )
        )
    return rows


async def append(database: Database, account: AccountRow, drafts: Sequence[RowDraft]) -> list[TransactionRow]:
    rows = rows_of(account.id, drafts, after=account)
    if rows:
        head = account._replace(
            head_seq=rows[-1].seq,
            head_at=rows[-1].created_at,
            head_hash=bytes(32),
            balance_nanos=rows[-1].balance_after_nanos,
        )
        async with database.write() as connection:
            await insert_transactions(connection, rows)
            await update_account(connection, head)
    return rows


async def new_account(database: Database, name: str = "Account", external_id: str | None = None) -> AccountRow:
    async with database.write() as connection:
        return await writes.insert_account(
            connection, external_id=external_id, name=f"{name} {next(_numbers)}", created_at=START
        )


async def new_ledger(database: Database, drafts: Sequence[RowDraft]) -> tuple[int, list[TransactionRow]]:
    """A new account, and its rows newest first."""
    account = await new_account(database)
    return account.id, (await append(database, account, drafts))[::-1]


UsageKey = tuple[date, str, str, str]
USAGE_KEYS: Final = st.tuples(
    st.dates(date(2026, 10, 1), date(2026, 10, 4)),
    st.sampled_from(["a", "B", "b", "ж/Ä", "it's"]),
    st.sampled_from([one.value for one in UsageCategory][:3]),
    st.sampled_from([one.value for one in UsageOrigin]),
)


async def new_usage(database: Database, days: dict[UsageKey, int]) -> tuple[int, list[UsageDayRow]]:
    """A new account, and its usage days newest first."""
    account = await new_account(database)
    rows = [UsageDayRow(account.id, *key, calls, 2 * calls, 3 * calls, 4 * calls) for key, calls in days.items()]
    async with database.write() as connection:
        await put_usage_days(connection, [FedDay(row, "rollup") for row in rows])
    return account.id, sorted(rows, key=lambda row: row[1:5], reverse=True)


@dataclass(frozen=True)
class ModelPage:
    rows: list[Any]
    has_next: bool
    has_previous: bool


def model_page(matching: Sequence[Any], window: Window, size: int) -> ModelPage:
    """`matching` as (position, row), newest first: the whole list under the filter."""

    def is_older(position: Any) -> bool:
        return window.after is None or position < window.after

    def is_newer(position: Any) -> bool:
        return window.before is None or position > window.before

    stretch = [(position, row) for position, row in matching if is_older(position) and is_newer(position)]
    page = stretch[-size:] if window.oldest else stretch[:size]
    if page:
        has_next = any(position < page[-1][0] for position, _ in matching)
        has_previous = any(position > page[0][0] for position, _ in matching)
    else:
        has_next = any(not is_newer(position) for position, _ in matching)
        has_previous = any(not is_older(position) for position, _ in matching)
    return ModelPage([row for _, row in page], has_next, has_previous)
