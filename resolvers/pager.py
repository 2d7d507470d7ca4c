"""Pager: reads a page from paging arguments, for prefetches and resolvers alike."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Generic, NamedTuple, TypedDict, TypeVar, Unpack

from db.filters import Window
from resolvers.context import QueryContext
from resolvers.cursors import NO_FILTER, CursorKind, CursorWriter, ListFilter, filter_digest, position_in
from resolvers.pages import ALL, CursorsOf, Page, PageProjection, PageRows, page_rows, window_of

Row = TypeVar("Row")
Filter = TypeVar("Filter", bound=ListFilter)


class Paging(TypedDict, total=False):
    """The arguments that all connections share: `after` means older, `before` newer."""

    first: int | None
    after: str | None
    last: int | None
    before: str | None


class End(NamedTuple):
    """A cursor argument of a page."""

    argument: str
    position: Any


class Stretch(NamedTuple):
    window: Window
    ends: tuple[End, ...] = ()


class Asked(Generic[Row]):
    """Requests the rows of a page when it is created. `rows` waits for them."""

    def __init__(self, found: Awaitable[Sequence[Row]], window: Window) -> None:
        self._found = found
        self._window = window

    async def rows(self) -> PageRows[Row]:
        return page_rows(await self._found, self._window)


class Pager(Generic[Row, Filter]):
    """Reads the pages of one kind of list of an account. A page's rows are newest first."""

    def __init__(
        self,
        *,
        position_in: Callable[[str | None, str, int, bytes], Any],
        ask: Callable[[QueryContext, int, Filter, Stretch], Asked[Row]],
        cursors: Callable[[int, bytes], CursorsOf[Row]],
        bounds: Callable[[Any, Any], tuple[object, object]] = lambda after, before: (after, before),
    ) -> None:
        """Creates the pager.

        `position_in` decodes a cursor argument, `bounds` converts two positions to those of a window, and `cursors`
        creates the cursors of an account's list whose filter has this digest.
        """
        self._position_in = position_in
        self._ask = ask
        self._cursors = cursors
        self._bounds = bounds
        # Called twice per page: by the prefetch and by the resolver.
        self._cached_stretch = lru_cache(maxsize=1_024)(self._stretch)

    def stretch(
        self,
        account_id: int,
        row_filter: Filter,
        projection: PageProjection = ALL,
        *,
        first: int | None = None,
        after: str | None = None,
        last: int | None = None,
        before: str | None = None,
    ) -> Stretch:
        return self._cached_stretch(account_id, row_filter, projection, first, after, last, before)

    def _stretch(
        self,
        account_id: int,
        row_filter: Filter,
        projection: PageProjection,
        first: int | None,
        after: str | None,
        last: int | None,
        before: str | None,
    ) -> Stretch:
        digest = filter_digest(row_filter)
        older = self._position_in(after, "after", account_id, digest)
        newer = self._position_in(before, "before", account_id, digest)
        window = window_of(first, last, *self._bounds(older, newer))
        ends = tuple(End(name, end) for name, end in (("after", older), ("before", newer)) if end is not None)
        return Stretch(replace(window, columns=projection.columns, unread=not projection.rows), ends)

    def prefetch(
        self,
        context: QueryContext,
        account_id: int,
        row_filter: Filter,
        page_projection: PageProjection = ALL,
        **paging: Unpack[Paging],
    ) -> tuple[int, Filter]:
        """Prefetches the page's rows. Returns the key for the count and totals of the whole list."""
        self._ask(context, account_id, row_filter, self.stretch(account_id, row_filter, page_projection, **paging))
        return account_id, row_filter

    async def page(
        self,
        context: QueryContext,
        account_id: int,
        row_filter: Filter,
        page_projection: PageProjection = ALL,
        **paging: Unpack[Paging],
    ) -> Page[Row]:
        """Returns a page. Raises BadUserInput for contradictory paging arguments, and BadCursor."""
        stretch = self.stretch(account_id, row_filter, page_projection, **paging)
        return await self.page_in(context, account_id, row_filter, stretch)

    async def page_in(self, context: QueryContext, account_id: int, row_filter: Filter, stretch: Stretch) -> Page[Row]:
        found = await self._ask(context, account_id, row_filter, stretch).rows()
        if stretch.window.unread:
            return Page.unread(account_id, row_filter)
        return Page(account_id, row_filter, *found, self._cursors(account_id, filter_digest(row_filter)))


def numbered_cursors(kind: CursorKind, number: Callable[[Row], int]) -> Callable[[int, bytes], CursorsOf[Row]]:
    """Creates the cursors of rows that are identified by a number."""

    def cursors(account_id: int, digest: bytes) -> CursorsOf[Row]:
        writer = CursorWriter(kind, account_id, digest)
        return lambda rows: writer.of_seqs(map(number, rows))

    return cursors


class NumberedList(Generic[Row]):
    """Reads a list of numbered rows only forwards, newest first: lists for operators, and lists of keys."""

    def __init__(self, kind: CursorKind, number: Callable[[Row], int], *, loses_rows: bool = False) -> None:
        """`loses_rows` is true if rows leave the list: they are deleted, or their state changes."""
        self._kind = kind
        self._number = number
        self._cursors = numbered_cursors(kind, number)
        self._loses_rows = loses_rows

    async def page(
        self,
        read: Callable[[int, int | None], Awaitable[Sequence[Row]]],
        first: int | None,
        after: str | None,
        row_filter: ListFilter | None = None,
        account_id: int = 0,
    ) -> Page[Row]:
        """Reads a page. `read` returns a limited number of rows after a position, if there is one.

        Raises BadUserInput and BadCursor.
        """
        digest = NO_FILTER if row_filter is None else filter_digest(row_filter)
        position = position_in(after, "after", self._kind, account_id, digest)
        window = window_of(first, None, position, None)
        if self._loses_rows and position is not None:
            newest, found = await asyncio.gather(read(1, None), read(window.limit, position))
            # The cursor's row may have left the list, with all newer ones.
            if not newest or self._number(newest[0]) < position:
                window = replace(window, after=None)
        else:
            found = await read(window.limit, position)
        return Page(account_id, row_filter, *page_rows(found, window), self._cursors(account_id, digest))
