"""How the value of a field is got: what of Strawberry's own resolving is needed, and nothing else of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from graphql import GraphQLField
from strawberry.types.field import StrawberryField

_DEFINITION: Final = "strawberry-definition"

PREFETCH: Final = "prefetch"
"""The key of a field's metadata for a function that asks for the field's rows before its parent is known.

Called with the context, the key that the parent's own function returned (None for a field of the root) and the
field's arguments. It asks for rows and waits for none; it returns the key for the fields below, or None if there is
nothing to ask for. What it raises is dropped: the resolver meets the same, and reports it.
"""


def definition_of(field: GraphQLField) -> StrawberryField | None:
    """Strawberry's field, if calling its resolver is all that Strawberry would do."""
    definition = field.extensions.get(_DEFINITION)
    if not isinstance(definition, StrawberryField) or definition.extensions or definition.permission_classes:
        return None
    if definition.base_resolver is None and definition.default_resolver is not getattr:
        return None
    return definition


def attribute_of(definition: StrawberryField) -> str | None:
    """The attribute that is the field's value, for a field that has no resolver."""
    return definition.python_name if definition.base_resolver is None else None


def method_of(definition: StrawberryField) -> Callable[[Any], Any] | None:
    """The function of the source alone that gives the field's value at once."""
    if definition.is_subscription:
        return _itself
    resolver = definition.base_resolver
    if resolver is None or resolver.is_async or definition.arguments:
        return None
    if resolver.self_parameter is None or len(resolver.signature.parameters) != 1:
        return None
    return resolver.wrapped_func  # type: ignore[return-value]


def _itself(event: Any) -> Any:
    """A subscription's resolver gave the events; the field's value is the event."""
    return event


class OfClass:
    """An `is_type_of` that looks at the class of an object alone, so that it need be asked once for each class."""

    __slots__ = ("_class",)

    def __init__(self, of: type) -> None:
        self._class = of

    def __call__(self, value: object, _info: object) -> bool:
        return isinstance(value, self._class)


class ResolverCall:
    """A resolver with its parameters sorted out."""

    __slots__ = ("_function", "_parent", "_self", "info")

    def __init__(self, definition: StrawberryField) -> None:
        resolver = definition.base_resolver
        assert resolver is not None
        self._function: Callable[..., Any] = resolver.wrapped_func  # type: ignore[assignment]
        self._self = resolver.self_parameter is not None
        named = (resolver.parent_parameter, resolver.root_parameter)
        self._parent = tuple(parameter.name for parameter in named if parameter is not None)
        self.info = None if resolver.info_parameter is None else resolver.info_parameter.name

    def __call__(self, source: Any, info: Any, arguments: Mapping[str, Any]) -> Any:
        given = dict(arguments)
        for name in self._parent:
            given[name] = source
        if self.info is not None:
            given[self.info] = info
        return self._function(source, **given) if self._self else self._function(**given)
