"""Which attributes of the objects that a field loads an operation reads, so that nothing else need be loaded."""

from __future__ import annotations

from typing import Final, NamedTuple

PROJECTION: Final = "projection"
"""The key of a field's metadata for the names of the attributes that its resolver reads of the object it is given.

A field without a resolver reads the one that it is; a resolver without this may read any.
"""

ROW_PROJECTION: Final = "row_projection"
"""The key of a field's metadata for the names of the attributes that its resolver reads of the rows of a page, as those
that cursors are made of."""

ROWS: Final = "rows"
"""The key of a field's metadata for the name of the type of the rows that it loads.

Its resolver finds in `projection_of(info)` what the operation reads below the field. Its function of PREFETCH
is given the same as the argument `projection`.
"""

WRITTEN: Final = "written"
"""The key of a field's metadata that says: below a field of a mutation, what the mutation wrote answers it."""

Attributes = frozenset[str]


class Projection(NamedTuple):
    """The names of the attributes that an operation reads below a field; None where it may be any."""

    of_value: Attributes | None = None
    """Of the object that the field itself returns."""
    of_rows: Attributes | None = None
    """Of objects of the type that ROWS names."""


ANY: Final = Projection()


def projection_of(info: object) -> Projection:
    """Where the reference executor runs, anything may be read."""
    return getattr(info, "projection", ANY)
