"""Bases of the generated operations, and how their variables are encoded."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, ClassVar, Generic, Self, TypeVar

Data = TypeVar("Data")


class Input:
    """An input object: its fields that are None are omitted."""

    __slots__ = ()


class Operation(Generic[Data]):
    """An operation with its variables: those that are None are omitted, and have the operation's defaults."""

    __slots__ = ()
    name: ClassVar[str]
    text: ClassVar[str]

    @staticmethod
    def decode(data: Mapping[str, Any]) -> Data:
        raise NotImplementedError

    @property
    def variables(self) -> dict[str, Any]:
        return _encoded_fields(self)


class Query(Operation[Data]):
    __slots__ = ()


class Mutation(Operation[Data]):
    __slots__ = ()

    def with_key(self) -> Self:
        """The same call, whose input has an idempotency key: a new one if it had none."""
        given = getattr(self, "input", None)
        if given is None or given.idempotency_key is not None:
            return self
        return _replaced(self, input=replace(given, idempotency_key=uuid.uuid4().hex))


class Subscription(Operation[Data]):
    """An operation with the variables `account` and `after`, whose events have a `cursor`."""

    __slots__ = ()

    def after_cursor(self, cursor: str) -> Self:
        return _replaced(self, after=cursor)


Asked = TypeVar("Asked", bound=Operation[Any])


def _replaced(operation: Asked, **changes: Any) -> Asked:
    """The bases are no dataclasses; all generated operations are."""
    changed: Asked = replace(operation, **changes)  # type: ignore[type-var]
    return changed


def after(operation: Asked, cursor: str | None) -> Asked:
    """The same list, from the cursor on."""
    return operation if cursor is None else _replaced(operation, after=cursor)


def camel_case(name: str) -> str:
    first, *others = name.rstrip("_").split("_")
    return first + "".join(other.capitalize() for other in others)


def _encoded_fields(value: Any) -> dict[str, Any]:
    given = {camel_case(one.name): getattr(value, one.name) for one in fields(value)}
    return {name: encoded(one) for name, one in given.items() if one is not None}


def encoded(value: object) -> Any:
    """Amounts and times as the gateway takes them. Raises TypeError for a float, which is no exact amount."""
    match value:
        case bool() | str():
            return value
        case int():
            return value
        case Decimal():
            return format(value, "f")
        case datetime():
            if value.tzinfo is None:
                raise ValueError(f"{value} has no time zone")
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case date():
            return value.isoformat()
        case list() | tuple():
            return [encoded(one) for one in value]
        case _ if is_dataclass(value):
            return _encoded_fields(value)
    raise TypeError(f"{value!r} is neither text, an integer, a Decimal, a time nor an input")
