"""Which attributes of the objects that a field loads an operation reads, so that nothing else need be loaded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from strawberry.types.field import StrawberryField

from execution.calls import attribute_of

if TYPE_CHECKING:
    from execution.plans import Field, Selection

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


def _of_field(field: Field) -> Iterable[str] | None:
    if field.pure is not None and field.pure.serialized is not None:
        return ()  # __typename
    definition: StrawberryField | None = field.definition
    if definition is None:
        return None
    attribute = attribute_of(definition)
    if attribute is not None:
        return (attribute,)
    names: Sequence[str] | None = definition.metadata.get(PROJECTION)
    return names


def _selections(field: Field) -> Iterator[Selection]:
    """All below the field."""
    for selection in field.completion.selections() if field.completion is not None else ():
        yield selection
        for one in selection.fields:
            yield from _selections(one)


def _may_read(field: Field) -> bool:
    if field.pure is not None and field.pure.serialized is not None:
        return False  # __typename
    definition: StrawberryField | None = field.definition
    if definition is None:
        return True
    resolver = definition.base_resolver
    return resolver is not None and resolver.info_parameter is not None and not definition.metadata.get(WRITTEN)


def may_read_below(field: Field) -> bool:
    """Whether a resolver below the field may read: all that read do so through their info's context."""
    if field.completion is None:
        return True
    return any(_may_read(one) for selection in _selections(field) for one in selection.fields)


def _read(selections: Iterable[Selection]) -> Attributes | None:
    found: set[str] = set()
    for selection in selections:
        for one in selection.fields:
            names = _of_field(one)
            if names is None:
                return None
            found.update(names)
    return frozenset(found)


def _read_of_rows(selections: Iterable[Selection]) -> Iterator[str]:
    for selection in selections:
        for one in selection.fields:
            if one.definition is not None:
                yield from one.definition.metadata.get(ROW_PROJECTION, ())


def projection_below(field: Field, rows: str) -> Projection:
    assert field.completion is not None
    below = list(_selections(field))
    of_rows = _read(selection for selection in below if selection.type.name == rows)
    if of_rows is not None:
        of_rows = of_rows.union(_read_of_rows(below))
    return Projection(_read(field.completion.selections()), of_rows)
