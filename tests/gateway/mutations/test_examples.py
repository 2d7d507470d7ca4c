"""The examples of docs/mutations.md, sent one after the other to a new database."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from access.keys import KeyScope, NewKey
from tests.gateway.mutations.office import Office, opened
from tests.gateway.mutations.test_scopes import MATRIX
from tests.stripe_stand_in import settings, standing_in

PAGE = (Path(__file__).parents[3] / "docs/mutations.md").read_text()
_EXAMPLE = re.compile(
    r"^<!-- key: (\w+), at: (\S+) -->\n```graphql\n(.*?)^```\n```json\n(.*?)^```\n```json\n(.*?)^```",
    re.MULTILINE | re.DOTALL,
)


class Example(NamedTuple):
    key: str
    at: datetime
    query: str
    variables: dict[str, Any]
    answer: dict[str, Any]


def examples() -> Iterator[Example]:
    for key, at, query, variables, answer in _EXAMPLE.findall(PAGE):
        yield Example(key, datetime.fromisoformat(at), query, json.loads(variables), json.loads(answer))


def _shown(value: Any, like: Any) -> Any:
    """As the page shows it: what is another every time, it cuts off."""
    if isinstance(like, dict):
        return {name: _shown(one, like.get(name)) for name, one in value.items()}
    if isinstance(like, list) and len(like) == len(value):
        return [_shown(one, other) for one, other in zip(value, like, strict=True)]
    if isinstance(like, str) and like.endswith("…"):
        return value[: len(like) - 1] + "…"
    return value


@pytest.fixture
async def office(database_url: str) -> AsyncIterator[Office]:
    async with standing_in() as stripe, opened(database_url, **settings(stripe)) as office:
        yield office


async def test_the_examples_are_answered_as_the_page_says(office: Office) -> None:
    office.keys["operator"] = await office.key(NewKey(KeyScope.OPERATOR, "operations"))
    for example in examples():
        office.now = example.at
        if example.key == "manage" and "manage" not in office.keys:
            office.keys["manage"] = await office.manager("acct_1")
        answer = await office.send(example.query, office.keys[example.key], example.variables)
        assert _shown(answer.get("data"), example.answer) == example.answer, answer


def test_every_fence_is_an_example_and_every_mutation_is_told_of() -> None:
    assert 3 * len(list(examples())) == len(re.findall(r"^```\w", PAGE, re.MULTILINE))
    assert [name for name in MATRIX if f"`{name}`" not in PAGE] == []
