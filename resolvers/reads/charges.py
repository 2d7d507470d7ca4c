from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import replace
from datetime import datetime
from operator import attrgetter
from typing import Final, Unpack

from db.filters import ChargeFilter, TransactionFilter, Window
from db.rows import ChargeRow, TransactionRow
from ledger.errors import BadCursor, BadUserInput, NotFound
from ledger.ids import parse_charge_id
from ledger.kinds import RESOURCES, ChargeState, RefType
from resolvers.context import QueryContext, covers
from resolvers.cursors import CursorKind, position_in
from resolvers.pager import Asked, Pager, Paging, Stretch, numbered_cursors
from resolvers.pages import ALL, Page, PageProjection, PageRows, page_rows
from resolvers.reads import transactions
from resolvers.reads.texts import checked_ref_id

_STATES: Final = tuple(sorted(state.value for state in ChargeState))
_REF_TYPES: Final = tuple(sorted(ref_type.value for ref_type in RESOURCES))


def charge_filter(
    *,
    state: ChargeState | None = None,
    ref_type: RefType | None = None,
    ref_id: str | None = None,
    opened_gte: datetime | None = None,
    opened_lt: datetime | None = None,
) -> ChargeFilter:
    """Raises BadUserInput for an invalid range or a refId of invalid length."""
    if opened_gte is not None and opened_lt is not None and opened_lt < opened_gte:
        raise BadUserInput("openedAt has an invalid range: lt must not be before gte")
    by_run = state is not None or ref_type is not None or ref_id is not None
    return ChargeFilter(
        states=(state.value,) if state else _STATES if by_run else None,
        ref_types=(ref_type.value,) if ref_type else _REF_TYPES if by_run else None,
        ref_id=None if ref_id is None else checked_ref_id(ref_id),
        opened_gte=opened_gte,
        opened_lt=opened_lt,
    )


def _position(text: str | None, argument: str, account_id: int, digest: bytes) -> int | None:
    first_seq = position_in(text, argument, CursorKind.CHARGES, account_id, digest)
    if first_seq is not None and not 1 <= first_seq < 2**63 - 1:
        msg = f"{argument} is not a cursor of this API"
        raise BadCursor(msg)
    return first_seq


class _Asked(Asked[ChargeRow]):
    """A page, and what lies beyond its cursors.

    If the list is filtered by state, a cursor's charge may have left the list. It then does not prove that the list
    continues there, so one charge beyond the cursor is read.
    """

    def __init__(self, context: QueryContext, account_id: int, row_filter: ChargeFilter, stretch: Stretch) -> None:
        def charges(part: Window) -> Awaitable[list[ChargeRow]]:
            return context.loaders.charge_page.load((account_id, (row_filter, part)))

        window = stretch.window
        super().__init__(charges(window), window)
        self._newer = self._older = None
        if row_filter.states is not None and len(row_filter.states) == 1:
            if isinstance(window.after, int):
                self._newer = charges(Window(limit=1, before=window.after - 1, oldest=True))
            if isinstance(window.before, int):
                self._older = charges(Window(limit=1, after=window.before + 1))

    async def rows(self) -> PageRows[ChargeRow]:
        window, found = self._window, await self._found
        if self._newer is not None and not await self._newer:
            window = replace(window, after=None)
        if self._older is not None and not await self._older:
            window = replace(window, before=None)
        return page_rows(found, window)


_PAGER: Final = Pager(
    position_in=_position, ask=_Asked, cursors=numbered_cursors(CursorKind.CHARGES, attrgetter("first_seq"))
)

charge_page = _PAGER.page
prefetch_page = _PAGER.prefetch

PageKey = tuple[int, ChargeFilter]
"""Identifies the list that a count is for."""


def prefetch_count(context: QueryContext, page: PageKey) -> None:
    context.loaders.charge_count.load(page)


async def charge_count(context: QueryContext, page: Page[ChargeRow]) -> int:
    return await context.loaders.charge_count.load((page.account_id, page.row_filter))


async def charge(context: QueryContext, charge_id: str) -> ChargeRow:
    key = parse_charge_id(charge_id)
    row = await context.loaders.charge_of_first_row.load(key) if key and covers(context.principal, key[0]) else None
    if row is None:
        raise NotFound("there is no such charge")
    return row


async def charge_of(context: QueryContext, row: TransactionRow) -> ChargeRow | None:
    """Returns the charge of a ledger row."""
    if row.ref_id is None or row.ref_type not in RESOURCES:
        return None
    return await context.loaders.charge.load((row.account_id, row.ref_type, row.ref_id))


async def held_now(context: QueryContext, charge: ChargeRow) -> int:
    """Returns the amount of the newest hold in nano-dollars if it is not settled."""
    if charge.state != ChargeState.OPEN or charge.hold_seq is None:
        return 0
    hold = await context.loaders.opened_hold.load((charge.account_id, charge.hold_seq))
    return hold.held_nanos if hold is not None and hold.state == ChargeState.OPEN else 0


async def charge_transactions(
    context: QueryContext, charge: ChargeRow, page_projection: PageProjection = ALL, **paging: Unpack[Paging]
) -> Page[TransactionRow]:
    """Returns the rows of a charge, with the cursors of the account's list filtered by the charge's resource."""
    row_filter = TransactionFilter(ref_type=charge.ref_type, ref_id=charge.ref_id)
    stretch = transactions.PAGER.stretch(charge.account_id, row_filter, page_projection, **paging)
    context.take_nested_rows(stretch.window.limit - 1)
    return await transactions.PAGER.page_in(context, charge.account_id, row_filter, stretch)
