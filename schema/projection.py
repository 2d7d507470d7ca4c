"""What of a page an operation reads, as the resolvers want to know it."""

from __future__ import annotations

from execution.attributes import Reading
from resolvers.pages import Needed

OF_THE_LIST = ("account_id", "criteria")
"""What fields about the whole list read of its page: no row."""


def needed(reading: Reading) -> Needed:
    return Needed(reading.of_rows, rows=reading.of_value is None or not reading.of_value <= set(OF_THE_LIST))
