"""What the public reads is in plain English, by the rules under "Words" in CONTRIBUTING.md."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.rest.openapi import openapi
from gateway.settings import Settings
from schema.build import sdl

REFUSED = re.compile(r"\b(alone|left out|upside down|whoever|rests|it is so|comes to nothing)\b", re.IGNORECASE)


def _described(value: Any) -> Iterator[str]:
    """Returns all descriptions and summaries within a JSON document."""
    if isinstance(value, dict):
        yield from (value[name] for name in ("description", "summary") if isinstance(value.get(name), str))
        value = list(value.values())
    if isinstance(value, list | tuple):
        for one in value:
            yield from _described(one)


TEXTS = {
    "sdl": re.findall(r'"""(.+?)"""', sdl(), re.DOTALL),
    "settings": [field.description or "" for field in Settings.model_fields.values()],
    "openapi": list(_described(openapi())),
}


@pytest.mark.parametrize("source", TEXTS)
def test_descriptions_avoid_the_refused_phrases(source: str) -> None:
    assert [text for text in TEXTS[source] if REFUSED.search(text)] == []


@pytest.mark.parametrize("source", TEXTS)
def test_descriptions_start_with_a_capital_and_name_their_subject(source: str) -> None:
    unclear = re.compile(r"\s*([a-z]|(It|Its|That|Those|Whoever|Of|One of|As it)\b)")
    starts = [text for text in TEXTS[source] if unclear.match(text)]
    assert [text for text in starts if not re.match(r"`\w+`: ", text)] == []
