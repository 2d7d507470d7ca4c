"""Query parameters: the tables here parse them and describe them in OpenAPI, so that the two cannot differ."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeVar

from multidict import MultiMapping

from db.rows import AccountRow
from ledger.errors import BadUserInput, NotFound
from ledger.money import parse_nanos
from resolvers.context import QueryContext
from resolvers.reads.texts import checked_characters, checked_length
from schema.scalars import parse_date, parse_date_time

Word = TypeVar("Word", bound=StrEnum)

_INTEGER: Final = re.compile(r"\d{1,9}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Parameter:
    name: str
    description: str
    schema: Mapping[str, Any]
    """JSON Schema of the value; of one element where there may be many."""
    parse: Callable[[str, str], Any]
    """Called with a value's text and the parameter's name. Raises BadUserInput, naming the parameter."""
    example: str
    many: bool = False
    """Given several times, or once with commas."""


def _shown(text: str) -> str:
    return f'"{text}"' if len(text) <= 40 else f'"{text[:40]}…"'


def _as_given(text: str, _name: str) -> str:
    return text


def _characters(text: str, name: str) -> str:
    return checked_characters(text, name)


def _named(parse: Callable[[object], Any]) -> Callable[[str, str], Any]:
    """A parser of GraphQL's scalars, its refusals with the parameter's name before them."""

    def parse_named(text: str, name: str) -> Any:
        try:
            return parse(text)
        except BadUserInput as error:
            msg = f"{name}: {error}"
            raise BadUserInput(msg) from error

    return parse_named


def text_parameter(name: str, description: str, *, shortest: int, longest: int, example: str) -> Parameter:
    def parse(text: str, name: str) -> str:
        return checked_length(text, name, shortest, longest)

    schema = {"type": "string", "minLength": shortest, "maxLength": longest}
    return Parameter(name, description, schema, parse, example)


def texts_parameter(name: str, description: str, *, example: str) -> Parameter:
    return Parameter(name, description, {"type": "string", "minLength": 1}, _characters, example, many=True)


def id_parameter(name: str, description: str, *, pattern: str, example: str) -> Parameter:
    """An object's id. What is no id at all is looked for in vain like one that is nobody's: 404, not 400."""
    return Parameter(name, description, {"type": "string", "pattern": pattern}, _as_given, example)


def integer_parameter(name: str, description: str, *, least: int, most: int, default: int) -> Parameter:
    def parse(text: str, name: str) -> int:
        if _INTEGER.fullmatch(text) is None or not least <= int(text) <= most:
            msg = f"{name} must be a whole number between {least} and {most}, not {_shown(text)}"
            raise BadUserInput(msg)
        return int(text)

    schema = {"type": "integer", "minimum": least, "maximum": most, "default": default}
    return Parameter(name, description, schema, parse, str(most))


def word_parameter(name: str, description: str, words: type[Word], *, many: bool = False) -> Parameter:
    known = [word.value for word in words]

    def parse(text: str, name: str) -> Word:
        if text not in known:
            msg = f"{name}: unknown value {_shown(text)}; expected one of {', '.join(known)}"
            raise BadUserInput(msg)
        return words(text)

    example = ",".join(known[:2]) if many else known[0]
    return Parameter(name, description, {"type": "string", "enum": known}, parse, example, many=many)


def time_parameter(name: str, description: str) -> Parameter:
    schema = {"type": "string", "format": "date-time"}
    return Parameter(name, description, schema, _named(parse_date_time), "2026-11-01T00:00:00Z")


def day_parameter(name: str, description: str) -> Parameter:
    return Parameter(name, description, {"type": "string", "format": "date"}, _named(parse_date), "2026-11-01")


def amount_parameter(name: str, description: str) -> Parameter:
    schema = {"type": "string", "pattern": r"^[+-]?\d{1,10}(\.\d{1,9})?$"}
    return Parameter(name, description, schema, parse_nanos, "-1.25")


ACCOUNT: Final = id_parameter(
    "account",
    "The account to read. Keys of one account can omit it; operator and service keys must name an account.",
    pattern=r"^acct_[1-9]\d*$",
    example="acct_7",
)


def _parsed(parameter: Parameter, texts: Sequence[str]) -> Any:
    if parameter.many:
        # An empty value is an empty list, which matches nothing, and not a list of one empty element.
        elements = [element for text in texts if text for element in text.split(",")]
        if "" in elements:
            msg = f"{parameter.name} has an empty element between commas"
            raise BadUserInput(msg)
        return [parameter.parse(element, parameter.name) for element in elements]
    if len(texts) > 1:
        msg = f"{parameter.name} must be given once, not {len(texts)} times"
        raise BadUserInput(msg)
    return parameter.parse(texts[0], parameter.name)


def read_parameters(query: MultiMapping[str], parameters: Sequence[Parameter]) -> dict[str, Any]:
    """The values that were given. Raises BadUserInput for anything else than these parameters."""
    known = {parameter.name: parameter for parameter in parameters}
    for name in query:
        if name not in known:
            msg = f"unknown parameter {_shown(name)}; known parameters are {', '.join(known)}"
            raise BadUserInput(msg)
    return {name: _parsed(known[name], query.getall(name)) for name in known if name in query}


def check_range(given: Mapping[str, Any], least: str, most: str) -> None:
    if least in given and most in given and given[most] < given[least]:
        msg = f"invalid range: {most} must not be less than {least}"
        raise BadUserInput(msg)


async def account_in(context: QueryContext, given: Mapping[str, Any]) -> AccountRow:
    """Raises NotFound, or BadUserInput where the key covers many accounts and none is named."""
    account_id = context.account_in_scope(given.get(ACCOUNT.name), ACCOUNT.name)
    row = await context.loaders.account.load(account_id)
    if row is None:
        raise NotFound("there is no such account")
    return row
