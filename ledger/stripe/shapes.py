"""Shapes: reads Stripe's objects. They differ by API version and expanded fields, so every field is checked."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from ledger.errors import BadUserInput
from ledger.money import NANOS, in_range
from ledger.texts import STRIPE_ID

NANOS_PER_CENT: Final = NANOS // 100

Object = Mapping[str, Any]


class UnexpectedShape(Exception):
    """A signed event lacks a field or contradicts itself. It is kept for a person, or for a program that can read
    it."""


def read_object(text: str | bytes) -> Object:
    """Parses a JSON object. Raises BadUserInput for anything else.

    NUL is replaced by U+FFFD, because PostgreSQL cannot store NUL and the event must be recorded.
    """
    text = text.replace(r"\u0000", r"\ufffd") if isinstance(text, str) else text.replace(rb"\u0000", rb"\ufffd")
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        msg = f"invalid JSON in the body: {error.msg}"
        raise BadUserInput(msg) from error
    if not isinstance(found, dict):
        raise BadUserInput("the body must be a JSON object")
    return found


def text_of(of: Object, name: str) -> str:
    found = optional_text(of, name)
    if found is None:
        msg = f"the {of.get('object', 'object')} has no {name}"
        raise UnexpectedShape(msg)
    return found


def optional_text(of: Object, name: str) -> str | None:
    found = of.get(name)
    return found if isinstance(found, str) and found else None


def id_of(of: Object, name: str) -> str | None:
    """Returns the id of a field that is either an id or, if expanded, the whole object."""
    found = of.get(name)
    if isinstance(found, Mapping):
        found = found.get("id")
    return found if isinstance(found, str) and 0 < len(found) <= STRIPE_ID.longest else None


def nanos_of(of: Object, name: str) -> int:
    found = optional_nanos(of, name)
    if found is None:
        msg = f"the {of.get('object', 'object')} has no {name}"
        raise UnexpectedShape(msg)
    return found


def optional_nanos(of: Object, name: str) -> int | None:
    """Converts Stripe's cents to nano-dollars."""
    cents = of.get(name)
    if not isinstance(cents, int) or isinstance(cents, bool):
        return None
    return in_range(cents * NANOS_PER_CENT, name)


def moment_of(of: Object, name: str) -> datetime:
    seconds = of.get(name)
    if not isinstance(seconds, int) or not 0 <= seconds < 2**35:
        msg = f"{name} must be a time"
        raise BadUserInput(msg)
    return datetime.fromtimestamp(seconds, UTC)


def object_of(of: Object, name: str) -> Object:
    found = of.get(name)
    return found if isinstance(found, Mapping) else {}


def objects_of(of: Object, name: str) -> list[Object]:
    found = of.get(name)
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def listed(found: Object) -> list[Object]:
    """Returns the objects of a Stripe list."""
    return objects_of(found, "data")


def ids_of(of: Object, name: str) -> set[str]:
    """Returns the ids of a list whose items are either ids or, if expanded, whole objects."""
    found = of.get(name)
    ids = [id_of({name: one}, name) for one in found] if isinstance(found, list) else []
    return {one for one in ids if one is not None}
