"""Page projection: what an operation reads of a page, as the resolvers take it."""

from __future__ import annotations

from execution.attributes import Projection
from resolvers.pages import PageProjection

OF_THE_LIST = ("account_id", "row_filter")
"""Attributes that fields about the whole list read from its page. They need no row."""


def page_projection(projection: Projection) -> PageProjection:
    return PageProjection(
        projection.of_rows, rows=projection.of_value is None or not projection.of_value <= set(OF_THE_LIST)
    )
