"""Projections of plans: finds the attributes that the fields of a plan read, and resolvers that read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from strawberry.types.field import StrawberryField

from execution.attributes import PROJECTION, ROW_PROJECTION, WRITTEN, Attributes, Projection
from execution.calls import attribute_of
from execution.plans import Field, Selection


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
    """Yields all selections below the field."""
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
    """Returns whether a resolver below the field may read. All reading resolvers use their info's context."""
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
