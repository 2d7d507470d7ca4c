from __future__ import annotations

from typing import Any

import strawberry

from execution.attributes import ROW_PROJECTION
from resolvers.pages import Page

CURSORS = {ROW_PROJECTION: ("hash",)}
"""Metadata of a field that creates cursors. Cursors of ledger rows contain bytes of their hash."""


@strawberry.type(description="Position of a page in its list. Both flags are exact.")
class PageInfo:
    @strawberry.field(description="Whether there are rows older than the page's last row.")
    def has_next_page(self: Page[Any]) -> bool:
        return self.has_next

    @strawberry.field(description="Whether there are rows newer than the page's first row.")
    def has_previous_page(self: Page[Any]) -> bool:
        return self.has_previous

    @strawberry.field(description="Cursor of the page's first (newest) row; null on an empty page.", metadata=CURSORS)
    def start_cursor(self: Page[Any]) -> str | None:
        return self.cursor_of(self.rows[0]) if self.rows else None

    @strawberry.field(
        description="Cursor of the page's last (oldest) row, to pass as `after` for the next page; null on an empty"
        " page.",
        metadata=CURSORS,
    )
    def end_cursor(self: Page[Any]) -> str | None:
        return self.cursor_of(self.rows[-1]) if self.rows else None
