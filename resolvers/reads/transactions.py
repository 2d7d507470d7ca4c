from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from typing import Final, NamedTuple

from db.filters import TransactionFilter, Window
from db.position import Position
from db.rows import TransactionRow
from db.transactions import TransactionTotalsRow
from ledger.errors import BadUserInput, NotFound
from ledger.ids import parse_transaction_id
from ledger.kinds import HOLDABLE, KINDS, RefType, TransactionSource, TransactionType
from resolvers.context import QueryContext, covers
from resolvers.cursors import LedgerCursorWriter, diverged, filter_digest, ledger_position_in
from resolvers.pages import ALL, Page, PageProjection, page_rows, window_of
from resolvers.reads.accounts import checked_search
from resolvers.reads.explanations import Facts, explain
from resolvers.reads.texts import checked_ref_id


def transaction_filter(
    *,
    types: Sequence[TransactionType] | None = None,
    sources: Sequence[TransactionSource] | None = None,
    created_gte: datetime | None = None,
    created_lt: datetime | None = None,
    amount_gte: int | None = None,
    amount_lte: int | None = None,
    ref_type: RefType | None = None,
    ref_id: str | None = None,
    search: str | None = None,
) -> TransactionFilter:
    """Raises BadUserInput for a range that is upside down or a text of the wrong length."""
    if created_gte is not None and created_lt is not None and created_lt < created_gte:
        raise BadUserInput("createdAt has an invalid range: lt must not be before gte")
    if amount_gte is not None and amount_lte is not None and amount_lte < amount_gte:
        raise BadUserInput("amount has an invalid range: lte must not be less than gte")
    return TransactionFilter(
        # The rows that are about one kind of thing are read kind by kind, so all kinds are named then.
        kinds=_kinds(types, sources, all_named=ref_type is not None and ref_id is None),
        created_gte=created_gte,
        created_lt=created_lt,
        amount_gte=amount_gte,
        amount_lte=amount_lte,
        ref_type=None if ref_type is None else ref_type.value,
        ref_id=None if ref_id is None else checked_ref_id(ref_id),
        search=checked_search(search),
    )


def _kinds(
    types: Sequence[TransactionType] | None, sources: Sequence[TransactionSource] | None, *, all_named: bool
) -> tuple[tuple[str, str], ...] | None:
    kinds = tuple(
        (kind.value, source.value)
        for kind, source in KINDS
        if (types is None or kind in types) and (sources is None or source in sources)
    )
    return None if len(kinds) == len(KINDS) and not all_named else kinds


PageKey = tuple[int, TransactionFilter]
"""What the count and the totals of a page are of."""


async def transaction_page(
    context: QueryContext,
    account_id: int,
    row_filter: TransactionFilter,
    *,
    first: int | None = None,
    after: str | None = None,
    last: int | None = None,
    before: str | None = None,
    page_projection: PageProjection = ALL,
) -> Page[TransactionRow]:
    """Newest first; `after` means older, `before` newer."""
    stretch = stretch_in(account_id, row_filter, first, after, last, before, page_projection)
    return await transaction_page_in(context, account_id, row_filter, stretch.window, stretch.ends)


def prefetch_page(
    context: QueryContext,
    account_id: int,
    row_filter: TransactionFilter,
    *,
    first: int | None = None,
    after: str | None = None,
    last: int | None = None,
    before: str | None = None,
    page_projection: PageProjection = ALL,
) -> PageKey:
    """Prefetches the page's rows."""
    stretch = stretch_in(account_id, row_filter, first, after, last, before, page_projection)
    context.loaders.transaction_page.load((account_id, (row_filter, stretch.window)))
    _ask_hashes(context, account_id, stretch.ends)
    return account_id, row_filter


def prefetch_count(context: QueryContext, page: PageKey) -> None:
    context.loaders.transaction_count.load(page)


def prefetch_totals(context: QueryContext, page: PageKey) -> None:
    context.loaders.transaction_totals.load(page)


class End(NamedTuple):
    """A cursor that a page was asked for with."""

    argument: str
    position: Position


class Stretch(NamedTuple):
    window: Window
    ends: tuple[End, ...]


# Asked for twice: by the prefetch and by the resolver.
@lru_cache(maxsize=1_024)
def stretch_in(
    account_id: int,
    row_filter: TransactionFilter,
    first: int | None,
    after: str | None,
    last: int | None,
    before: str | None,
    page_projection: PageProjection,
) -> Stretch:
    digest = filter_digest(row_filter)
    older = ledger_position_in(after, "after", account_id, digest)
    newer = ledger_position_in(before, "before", account_id, digest)
    window = window_of(
        first,
        last,
        None if older is None else older.seq,
        # Position 0 is where an empty account's balance stood: every row is newer, none lies there.
        None if newer is None else newer.seq or None,
    )
    ends = tuple(End(name, position) for name, position in (("after", older), ("before", newer)) if position)
    return Stretch(replace(window, columns=page_projection.columns, unread=not page_projection.rows), ends)


def _ask_hashes(
    context: QueryContext, account_id: int, ends: Sequence[End]
) -> list[tuple[End, Awaitable[bytes | None]]]:
    """Cursors of version 1 have nothing to compare, and position 0 has no row."""
    return [
        (end, context.loaders.row_hash.load((account_id, end.position.seq)))
        for end in ends
        if end.position.seq and end.position.hash is not None
    ]


async def transaction_page_in(
    context: QueryContext, account_id: int, row_filter: TransactionFilter, window: Window, ends: Sequence[End] = ()
) -> Page[TransactionRow]:
    """Raises BadCursor if the ledger has another row at one of the ends than its cursor was made of."""
    found = context.loaders.transaction_page.load((account_id, (row_filter, window)))
    newer = context.loaders.transaction_count.load((account_id, row_filter)) if window.after == 0 else None
    for end, row_hash in _ask_hashes(context, account_id, ends):
        if not end.position.is_at(await row_hash):
            raise diverged(f"{end.argument} is a cursor of a row that is not in the ledger")
    rows, has_next, has_previous = page_rows(await found, window)
    if newer is not None:
        has_previous = await newer > 0
    writer = LedgerCursorWriter(account_id, filter_digest(row_filter))
    if window.unread:
        return Page.unread(account_id, row_filter)
    return Page(
        account_id,
        row_filter,
        rows,
        has_next,
        has_previous,
        lambda rows: writer.of_rows([(row.seq, row.hash) for row in rows]),
    )


async def transaction_count(context: QueryContext, page: Page[TransactionRow]) -> int:
    return await context.loaders.transaction_count.load((page.account_id, page.row_filter))


async def transaction_totals(context: QueryContext, page: Page[TransactionRow]) -> TransactionTotalsRow:
    return await context.loaders.transaction_totals.load((page.account_id, page.row_filter))


def prefetch_transaction(context: QueryContext, _key: None, id: str) -> None:  # noqa: A002  the argument's name
    """Prefetches the row."""
    context.loaders.transaction.load(_key_in_scope(context, id))


def _key_in_scope(context: QueryContext, transaction_id: str) -> tuple[int, int]:
    """Raises NotFound."""
    key = parse_transaction_id(transaction_id)
    if key is None or not covers(context.principal, key[0]):
        raise NotFound("there is no such transaction")
    return key


async def transaction(context: QueryContext, transaction_id: str) -> TransactionRow:
    row = await context.loaders.transaction.load(_key_in_scope(context, transaction_id))
    if row is None:
        raise NotFound("there is no such transaction")
    return row


async def corrected(context: QueryContext, row: TransactionRow) -> TransactionRow | None:
    if row.corrects_seq is None:
        return None
    return await context.loaders.transaction.load((row.account_id, row.corrects_seq))


READ_TO_EXPLAIN: Final = (
    *("account_id", "seq", "type", "source", "amount_nanos", "balance_after_nanos"),
    *("ref_type", "ref_id", "corrects_seq", "period_start", "period_end"),
)
"""The columns of the row that an explanation is made of."""


async def explanation(context: QueryContext, row: TransactionRow) -> str:
    """All is asked for before the first wait, so that what many rows are explained from is read together."""
    loaders, key = context.loaders, (row.account_id, row.seq)
    is_held = row.ref_type in HOLDABLE
    account = loaders.account.load(row.account_id)
    opened = loaders.opened_hold.load(key) if is_held and row.type == TransactionType.GPU_USAGE else None
    settled = loaders.settled_hold.load(key) if is_held else None
    answered = None if row.corrects_seq is None else loaders.transaction.load((row.account_id, row.corrects_seq))
    found = await account
    assert found is not None, "a row has an account"
    return explain(
        Facts(
            row,
            found.currency,
            opened=await opened if opened else None,
            settled=await settled if settled else None,
            corrected=await answered if answered else None,
        )
    )
