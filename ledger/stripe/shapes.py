"""Reading Stripe's objects: they differ by API version and by what was expanded, so nothing is taken for granted."""

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
    """A signed event that lacks something, or contradicts itself: kept, for a person or a program that can read it."""


def read_object(text: str | bytes) -> Object:
    """With U+FFFD for NUL, which PostgreSQL has no place for: such an event is kept too. Raises BadUserInput for what
    is no JSON object."""
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
    """Of what is named: Stripe gives its id, or where it was expanded, all of it."""
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
    """Stripe counts cents."""
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
    """The objects of one of Stripe's lists."""
    return objects_of(found, "data")


def ids_of(of: Object, name: str) -> set[str]:
    """Of several things, each named by its id or expanded."""
    found = of.get(name)
    ids = [id_of({name: one}, name) for one in found] if isinstance(found, list) else []
    return {one for one in ids if one is not None}
