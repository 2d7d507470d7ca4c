"""Field calls: how a field gets its value, with no more of Strawberry's resolving than needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from graphql import GraphQLField
from strawberry.types.field import StrawberryField

_DEFINITION: Final = "strawberry-definition"

PREFETCH: Final = "prefetch"
"""Metadata key for a function that requests the field's rows before its parent is known.

The function is called with the context, the key that the parent's function returned (None for a root field) and the
field's arguments. It requests rows without waiting, and returns the key for the fields below, or None if there is
nothing to request. Its errors are ignored: the resolver meets the same error and reports it.
"""


def definition_of(field: GraphQLField) -> StrawberryField | None:
    """Returns Strawberry's field if Strawberry would do nothing but call its resolver, else None."""
    definition = field.extensions.get(_DEFINITION)
    if not isinstance(definition, StrawberryField) or definition.extensions or definition.permission_classes:
        return None
    if definition.base_resolver is None and definition.default_resolver is not getattr:
        return None
    return definition


def attribute_of(definition: StrawberryField) -> str | None:
    """Returns the attribute with the field's value, for a field without a resolver."""
    return definition.python_name if definition.base_resolver is None else None


def method_of(definition: StrawberryField) -> Callable[[Any], Any] | None:
    """Returns a function that takes only the source and returns the field's value without waiting, if there is one."""
    if definition.is_subscription:
        return _identity
    resolver = definition.base_resolver
    if resolver is None or resolver.is_async or definition.arguments:
        return None
    if resolver.self_parameter is None or len(resolver.signature.parameters) != 1:
        return None
    return resolver.wrapped_func  # type: ignore[return-value]


def _identity(event: Any) -> Any:
    """Returns the event itself as the field's value: a subscription's resolver returned the events."""
    return event


class OfClass:
    """An `is_type_of` that depends only on the object's class, so it need be called only once per class."""

    __slots__ = ("_class",)

    def __init__(self, of: type) -> None:
        self._class = of

    def __call__(self, value: object, _info: object) -> bool:
        return isinstance(value, self._class)


class ResolverCall:
    """A resolver and how its parameters are passed."""

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
