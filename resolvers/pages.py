"""Keyset pages: from paging arguments to a window, and from the window's rows to a page with exact flags."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, NamedTuple, Self, TypeVar

from db.filters import Window
from ledger.errors import BadUserInput

DEFAULT_PAGE: Final = 50
MAX_PAGE: Final = 1_000

Row = TypeVar("Row")

PageRows = tuple[tuple[Row, ...], bool, bool]
"""The rows newest first, and whether the list has older and newer rows."""

CursorsOf = Callable[[Sequence[Row]], list[str]]


class PageProjection(NamedTuple):
    """The parts of a page that an operation reads."""

    columns: frozenset[str] | None = None
    """Columns of the rows; None means all."""
    rows: bool = True
    """Whether the operation needs the rows, or anything that follows from them."""


ALL: Final = PageProjection()


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """Rows from newest to oldest, for any paging arguments."""

    account_id: int
    row_filter: Any
    rows: tuple[Row, ...]
    has_next: bool
    has_previous: bool
    cursors_of: CursorsOf[Row]

    @classmethod
    def unread(cls, account_id: int, row_filter: Any) -> Self:
        """Creates a page without rows, for fields that need only its account and filter."""
        page = object.__new__(cls)
        object.__setattr__(page, "account_id", account_id)
        object.__setattr__(page, "row_filter", row_filter)
        return page

    def cursor_of(self, row: Row) -> str:
        return self.cursors_of([row])[0]


def checked_size(value: int | None, argument: str) -> int | None:
    if value is not None and not 1 <= value <= MAX_PAGE:
        msg = f"{argument} must be between 1 and {MAX_PAGE}, not {value}"
        raise BadUserInput(msg)
    return value


def window_of(first: int | None, last: int | None, after: object | None, before: object | None) -> Window:
    """Returns a window of one row more than requested, which tells whether the list continues."""
    if first is not None and last is not None:
        raise BadUserInput("first and last cannot be combined")
    checked_size(first, "first")
    checked_size(last, "last")
    return Window(limit=(first or last or DEFAULT_PAGE) + 1, after=after, before=before, oldest=last is not None)


def page_rows(found: Sequence[Row], window: Window) -> PageRows[Row]:
    """Returns the rows of a page. A cursor's row is never deleted and matches the cursor's filter.

    So its existence proves that the list continues beyond that end.
    """
    more = len(found) >= window.limit
    rows = tuple(found[: window.limit - 1])
    beyond_after, beyond_before = window.after is not None, window.before is not None
    if window.oldest:
        return rows[::-1], beyond_before, more or beyond_after
    return rows, more or beyond_before, beyond_after
