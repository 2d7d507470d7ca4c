"""Settings with database URLs: lists that an operator got wrong are refused at start, by the name of the setting."""

from __future__ import annotations

import re
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.commands.options import settings_of

SECRET = "s3cr3t"
FIRST = f"postgresql://billing:{SECRET}@first/billing"
LISTS = ("shards", "read_database_urls", "direct_shards", "read_shards")
SINGLE = ("database_url", "direct_database_url")
STRAY = [*",;|'\"`\\", "\u201d"]


def urls(setting: str, count: int) -> list[str]:
    numbers = [f"{number}=" if setting in {"direct_shards", "read_shards"} else "" for number in range(1, count + 1)]
    return [f"{number}postgresql://billing:{SECRET}@{setting}{place}:5433/b" for place, number in enumerate(numbers)]


def given_as(setting: str, text: str, count: int) -> dict[str, Any]:
    """Settings that are right but for the text."""
    return {"database_url": FIRST, "shards": " ".join(urls("shards", count)), setting: text}


def refusal(values: dict[str, Any]) -> str:
    with pytest.raises(click.UsageError) as refused:
        settings_of(values)
    said = str(refused.value)
    assert SECRET not in said
    return said


def named(setting: str, said: str) -> bool:
    return re.match(rf"(Value error, )?{setting}: ", said) is not None


@st.composite
def wrong_lists(draw: st.DrawFn) -> tuple[str, list[str], str]:
    """A setting, its URLs, and a text of them that is wrong."""
    setting = draw(st.sampled_from(LISTS))
    items = urls(setting, draw(st.integers(2, 4)))
    at = draw(st.integers(0, len(items) - 1))
    stray = draw(st.sampled_from(STRAY))
    match draw(st.sampled_from(["separator", "one separator", "end", "begin", "alone", "twice", "same database"])):
        case "separator":
            text = draw(st.sampled_from([stray, f"{stray} ", f" {stray}", f"{stray}\n"])).join(items)
        case "one separator":
            at = max(at, 1)
            text = f"{' '.join(items[:at])}{stray}{' '.join(items[at:])}"
        case "end":
            text = " ".join([*items[:at], items[at] + stray, *items[at + 1 :]])
        case "begin":
            text = " ".join([*items[:at], stray + items[at], *items[at + 1 :]])
        case "alone":
            text = " ".join([*items[:at], stray, *items[at:]])
        case "twice":
            text = " ".join([*items, items[at]])
        case _:
            same = items[at].replace("billing:", "other:").replace("postgresql", "postgres")
            text = " ".join([*items, same])
    return setting, items, text


@given(wrong_lists())
def test_a_wrong_list_of_urls_is_refused_by_the_name_of_its_setting(wrong: tuple[str, list[str], str]) -> None:
    setting, items, text = wrong
    assert named(setting, refusal(given_as(setting, text, len(items))))


@given(st.sampled_from(LISTS), st.lists(st.sampled_from([" ", "\n", "\t", "\r\n", "  \n "]), min_size=4, max_size=4))
def test_any_white_space_separates_urls(setting: str, spaces: list[str]) -> None:
    items = urls(setting, 3)
    text = spaces[0] + "".join(item + space for item, space in zip(items, spaces[1:], strict=True))
    assert settings_of(given_as(setting, text, 3)).database_urls == (
        settings_of(given_as(setting, " ".join(items), 3)).database_urls
    )


@given(st.sampled_from(SINGLE), st.sampled_from([*STRAY, " ", "\n", f" {FIRST}", f",{FIRST}"]))
def test_a_single_url_takes_no_rest_of_a_list(setting: str, rest: str) -> None:
    assert named(setting, refusal({"database_url": FIRST, setting: f"{FIRST}{rest}"}))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"shards": FIRST.replace("billing:", "other:")}, "shards: shard 0 and shard 1 have the same database"),
        ({"shards": FIRST.replace("first", "FIRST:5432")}, "shards: shard 0 and shard 1 have the same database"),
        ({"database_url": "sqlite:///a.db", "shards": "sqlite:///./a.db"}, "shards: shard 0 and shard 1 have the same"),
        # BILLING_DATABASE_URL was forgotten.
        ({"database_url": "sqlite:///billing.db", "shards": FIRST}, "shards: all must be PostgreSQL databases"),
        ({"shards": f"{FIRST}_2", "direct_shards": f"1={FIRST}"}, "direct_shards: shard 0 and shard 1 have the same"),
        (
            {"shards": f"{FIRST}_2", "read_database_urls": f"{FIRST}_r", "read_shards": f"1={FIRST}_r"},
            "read_shards: a replica of shard 1 is given a second time, first for shard 0",
        ),
    ],
)
def test_each_database_has_one_place(values: dict[str, Any], message: str) -> None:
    assert refusal({"database_url": FIRST} | values).startswith(f"Value error, {message}")
