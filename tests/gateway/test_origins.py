from __future__ import annotations

import click
import pytest

from gateway.commands.options import settings_of
from gateway.origins import is_confidential, parse_origin


@pytest.mark.parametrize(
    "wrong",
    [
        *("*", "null", "partner.example", "https://", "https://partner.example/", "https://partner.example/path"),
        *("https://*.example", "https://user@partner.example", "https://@partner.example", "https://partner.example?"),
        *(
            "https://partner.example:",
            "https://partner.example:0",
            "https://partner.example:70000",
            "ftp://a.example:21",
        ),
        *(
            "https://partner.example#",
            "https://a..example",
            "https://-a.example",
            "https://a b.example",
            "https://[::1",
        ),
        *("https://partner.example https://a.example", "https://pärtner.example"),
    ],
)
def test_a_malformed_origin_is_refused_at_the_start(wrong: str) -> None:
    with pytest.raises(click.UsageError, match="must be scheme://host or scheme://host:port"):
        settings_of({"allowed_origins": f"https://partner.example, {wrong}"})


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://Partner.Example", ("https", "partner.example", 443)),
        ("HTTP://localhost:3000", ("http", "localhost", 3000)),
        ("http://[::1]:8000", ("http", "::1", 8000)),
        ("https://xn--prtner-bua.example", ("https", "xn--prtner-bua.example", 443)),
        ("http://my_host", ("http", "my_host", 80)),
    ],
)
def test_case_and_ports_of_an_origin_are_canonical(text: str, origin: tuple[str, str, int]) -> None:
    assert parse_origin(text) == origin


@pytest.mark.parametrize(
    ("address", "is_it"),
    [
        ("https://login.example/realms/staff", True),
        ("http://127.0.0.1:9000/issuer", True),
        ("http://localhost", True),
        ("http://login.example", False),
        ("http://localhost:80@login.example/", False),
        ("http://127.0.0.1:80@login.example/", False),
        ("http://localhost.login.example", False),
        ("https://", False),
        ("login.example", False),
    ],
)
def test_only_https_and_this_machine_are_confidential(address: str, is_it: bool) -> None:
    assert is_confidential(address) is is_it
