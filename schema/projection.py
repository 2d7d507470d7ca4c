"""What of a page an operation reads, as the resolvers want to know it."""

from __future__ import annotations

from execution.attributes import Projection
from resolvers.pages import PageProjection

OF_THE_LIST = ("account_id", "row_filter")
"""What fields about the whole list read of its page: no row."""


def page_projection(projection: Projection) -> PageProjection:
    return PageProjection(
        projection.of_rows, rows=projection.of_value is None or not projection.of_value <= set(OF_THE_LIST)
    )
