"""Projections: the attributes that an operation reads of loaded objects, so that nothing else need be loaded."""

from __future__ import annotations

from typing import Final, NamedTuple

PROJECTION: Final = "projection"
"""Metadata key for the names of the attributes that a field's resolver reads of its source object.

A field without a resolver reads its own attribute. A resolver without this key may read any attribute.
"""

ROW_PROJECTION: Final = "row_projection"
"""Metadata key for the names of the attributes that a field's resolver reads of the rows of a page, such as those for
cursors."""

ROWS: Final = "rows"
"""Metadata key for the name of the type of the rows that a field loads.

Its resolver gets the projection below the field from `projection_of(info)`. Its function of PREFETCH gets the same as
the argument `projection`.
"""

WRITTEN: Final = "written"
"""Metadata key for a field below a mutation's field: its value comes from what the mutation wrote."""

Attributes = frozenset[str]


class Projection(NamedTuple):
    """Names of the attributes that an operation reads below a field; None means any."""

    of_value: Attributes | None = None
    """Attributes of the object that the field returns."""
    of_rows: Attributes | None = None
    """Attributes of objects of the type that ROWS names."""


ANY: Final = Projection()


def projection_of(info: object) -> Projection:
    """Returns the projection. In the reference executor, any attribute may be read."""
    return getattr(info, "projection", ANY)
