"""Connections: pages of a list, defined once for all types of rows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import strawberry
from strawberry import Info
from strawberry.tools import create_type
from strawberry.types.base import StrawberryList

from db.rows import named
from execution.attributes import PROJECTION
from execution.calls import PREFETCH
from resolvers.context import QueryContext
from resolvers.pages import Page
from schema.page_info import CURSORS, PageInfo
from schema.projection import OF_THE_LIST
from schema.scalars import BigInteger

Count = Callable[[QueryContext, Page[Any]], Awaitable[int]]


class EdgeRow(NamedTuple):
    cursor: str
    node: Any


class Words(NamedTuple):
    """Names of the rows in the descriptions of a connection."""

    a_row: str
    """Name of a single row with its article: "An account"."""
    rows: str
    """Name of the rows of a page: "accounts"."""
    counted: str
    """Name of the rows that `totalCount` counts: "accounts that match the search"."""
    cursors_of: str = "this list with the same filter"
    """The list for which a cursor is valid."""


def _edge(node: type, words: Words) -> type:
    cursor = strawberry.field(
        name="cursor", description=f"Opaque cursor, valid only in {words.cursors_of}.", graphql_type=str
    )
    row = words.a_row.partition(" ")[2]
    fields = [cursor, strawberry.field(name="node", description=f"The {row}.", graphql_type=node)]
    return create_type(f"{node.__name__}Edge", fields, description=f"{words.a_row} and its cursor.")


def edges(self: Page[Any]) -> list[EdgeRow]:
    return named(EdgeRow, zip(self.cursors_of(self.rows), self.rows, strict=True))


def nodes(self: Page[Any]) -> tuple[Any, ...]:
    return self.rows


def page_info(self: Page[Any]) -> Page[Any]:
    return self


def _total_count(words: Words, count: Count, prefetch_count: Callable[..., None] | None) -> Any:
    prefetch = {} if prefetch_count is None else {PREFETCH: prefetch_count}

    @strawberry.field(
        description=f"Number of {words.counted}. Computed only when requested.",
        metadata={PROJECTION: OF_THE_LIST, **prefetch},
    )
    async def total_count(self: Page[Any], info: Info[QueryContext, None]) -> BigInteger:
        return BigInteger(await count(info.context, self))

    return total_count


def connection(
    node: type,
    description: str,
    words: Words,
    *,
    count: Count,
    prefetch_count: Callable[..., None] | None = None,
    others: Sequence[Any] = (),
) -> type:
    """Returns the type for pages of `node`s. Its resolvers return a `Page`. `others` are fields that only this type
    has."""
    fields: list[Any] = [
        strawberry.field(
            resolver=edges,
            description=f"The page's {words.rows} with their cursors.",
            graphql_type=StrawberryList(_edge(node, words)),
            metadata=CURSORS,
        ),
        strawberry.field(resolver=nodes, description=f"The page's {words.rows}.", graphql_type=StrawberryList(node)),
        strawberry.field(resolver=page_info, description="Position of the page in the list.", graphql_type=PageInfo),
        _total_count(words, count, prefetch_count),
        *others,
    ]
    return create_type(f"{node.__name__}Connection", fields, description=description)
