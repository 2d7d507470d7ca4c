from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from db.filters import TransactionFilter
from db.position import Position
from db.rows import TransactionRow
from db.transactions.totals import TransactionTotalsRow
from ledger.errors import BadUserInput, NotFound
from ledger.ids import parse_transaction_id
from ledger.kinds import HOLDABLE, KINDS, RefType, TransactionSource, TransactionType
from resolvers.context import QueryContext, covers
from resolvers.cursors import LedgerCursorWriter, diverged, ledger_position_in
from resolvers.pager import Asked, Pager, Stretch
from resolvers.pages import CursorsOf, Page, PageRows
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
    """Raises BadUserInput for an invalid range or a text of invalid length."""
    if created_gte is not None and created_lt is not None and created_lt < created_gte:
        raise BadUserInput("createdAt has an invalid range: lt must not be before gte")
    if amount_gte is not None and amount_lte is not None and amount_lte < amount_gte:
        raise BadUserInput("amount has an invalid range: lte must not be less than gte")
    return TransactionFilter(
        # Rows of one ref type are read kind by kind, so all kinds are listed.
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


class _Asked(Asked[TransactionRow]):
    def __init__(self, context: QueryContext, account_id: int, row_filter: TransactionFilter, stretch: Stretch) -> None:
        loaders, window = context.loaders, stretch.window
        super().__init__(loaders.transaction_page.load((account_id, (row_filter, window))), window)
        self._newer = loaders.transaction_count.load((account_id, row_filter)) if window.after == 0 else None
        # Cursors of version 1 have nothing to compare, and position 0 has no row.
        self._hashes = [
            (end, loaders.row_hash.load((account_id, end.position.seq)))
            for end in stretch.ends
            if end.position.seq and end.position.hash is not None
        ]

    async def rows(self) -> PageRows[TransactionRow]:
        """Returns a page. Raises BadCursor if the ledger now has another row at a cursor's position."""
        for end, row_hash in self._hashes:
            if not end.position.is_at(await row_hash):
                raise diverged(f"{end.argument} is a cursor of a row that is not in the ledger")
        rows, has_next, has_previous = await super().rows()
        return rows, has_next, has_previous if self._newer is None else await self._newer > 0


def _bounds(after: Position | None, before: Position | None) -> tuple[int | None, int | None]:
    """Position 0 is before the first row, so every row is newer than it and none is older."""
    return None if after is None else after.seq, None if before is None else before.seq or None


def _cursors(account_id: int, digest: bytes) -> CursorsOf[TransactionRow]:
    writer = LedgerCursorWriter(account_id, digest)
    return lambda rows: writer.of_rows([(row.seq, row.hash) for row in rows])


PAGER: Final = Pager(position_in=ledger_position_in, ask=_Asked, cursors=_cursors, bounds=_bounds)

transaction_page = PAGER.page
prefetch_page = PAGER.prefetch

PageKey = tuple[int, TransactionFilter]
"""Identifies the list that counts and totals are for."""


def prefetch_count(context: QueryContext, page: PageKey) -> None:
    context.loaders.transaction_count.load(page)


def prefetch_totals(context: QueryContext, page: PageKey) -> None:
    context.loaders.transaction_totals.load(page)


async def transaction_count(context: QueryContext, page: Page[TransactionRow]) -> int:
    return await context.loaders.transaction_count.load((page.account_id, page.row_filter))


async def transaction_totals(context: QueryContext, page: Page[TransactionRow]) -> TransactionTotalsRow:
    return await context.loaders.transaction_totals.load((page.account_id, page.row_filter))


def prefetch_transaction(context: QueryContext, _key: None, id: str) -> int:  # noqa: A002  the argument's name
    """Prefetches the row. Returns the account's number, the key for the fields below."""
    key = _key_in_scope(context, id)
    context.loaders.transaction.load(key)
    return key[0]


def _key_in_scope(context: QueryContext, transaction_id: str) -> tuple[int, int]:
    """Returns the key of the row. Raises NotFound."""
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
"""Columns of the row that an explanation needs."""


async def explanation(context: QueryContext, row: TransactionRow) -> str:
    """Explains a row. All data is requested before the first wait, so that many explanations are read together."""
    loaders, key = context.loaders, (row.account_id, row.seq)
    is_held = row.ref_type in HOLDABLE
    account = loaders.account.load(row.account_id)
    opened = loaders.opened_hold.load(key) if is_held and row.type == TransactionType.GPU_USAGE else None
    settled = loaders.settled_hold.load(key) if is_held else None
    answered = None if row.corrects_seq is None else loaders.transaction.load((row.account_id, row.corrects_seq))
    # The account last: all explanations of a page wait for it, and would continue at the same time.
    hold_opened, hold_settled = await opened if opened else None, await settled if settled else None
    corrected_row = await answered if answered else None
    found = await account
    assert found is not None, "a row has an account"
    return explain(Facts(row, found.currency, opened=hold_opened, settled=hold_settled, corrected=corrected_row))
