from __future__ import annotations

import hashlib
import itertools
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db import folding
from db.folding import fold, folded_column


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("Straße", "STRASSE"),
        ("STRAẞE", "strasse"),
        ("İstanbul", "istanbul"),
        ("i\u0307stanbul", "ISTANBUL"),
        ("caf\u00e9", "CAFE\u0301"),
        ("i\u0307\u0301", "\u00ed"),
        ("ＧＰＵ　１３２", "gpu 132"),
        ("ﬁle oﬀer ﬆyle", "FILE OFFER STYLE"),
        ("ΟΔΟΣ", "οδος"),
        ("ὀδυσσεύς", "ὈΔΥΣΣΕΎΣ"),
        ("ᾳ", "ΑΙ"),
        ("ᏣᎳᎩ", "ꮳꮃꭹ"),
        ("ᲀода", "ВОДА"),
        ("µ", "μ"),
        ("ſ", "S"),
        ("Å", "å"),
        ("№ ½", "NO 1⁄2"),
        ("각", "\u1100\u1161\u11a8"),
    ],
)
def test_folding_ignores_case_and_unicode_form(text: str, other: str) -> None:
    assert fold(text) == fold(other)


@pytest.mark.parametrize(("text", "other"), [("café", "cafe"), ("ısı", "isi"), ("ж", "з"), ("e\u0307", "e")])
def test_folding_keeps_accents_and_distinct_letters(text: str, other: str) -> None:
    assert fold(text) != fold(other)


def _every_character() -> Iterator[str]:
    return (chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000)


def _assigned_planes() -> Iterator[str]:
    return (letter for letter in _every_character() if ord(letter) < 0x40000 or 0xE0000 <= ord(letter) < 0xF0000)


_ODD: Final = "iIıİjσΣςßſẞ\u0300\u0301\u0307\u0323\u0327\u0345éÅᾳΆ각\u1100\u1161\u11a8ᏣꮳᲀﬁＧ×\u0378\ua7cb "
"""Those that fold or combine in their own way, and some that are left alone."""


def _digest(texts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(map(fold, texts)).encode()).hexdigest()


def test_folding_is_the_same_in_every_python_version() -> None:
    """A folding that changes does not find what was stored before: a migration has to fold all texts anew. The page
    has the same digests (console/billing/tests/folding.test.ts)."""
    assert _digest(_every_character()) == "826ba275b512a494a7553b461d250501598ec42727ff79948aff0716b126122d"
    assert (
        _digest(map("".join, itertools.product(_ODD, repeat=3)))
        == "a770f0af08bf31ef28d1c7265084cd8c45c98aaf69824d571cc822db1341ef89"
    )


def test_folding_twice_changes_nothing() -> None:
    for text in (*_assigned_planes(), *map("".join, itertools.product(_ODD, repeat=3))):
        assert fold(fold(text)) == fold(text), ascii(text)


@given(st.text())
def test_database_lower_equals_folding_if_no_folded_text_is_stored(text: str) -> None:
    lowered = "".join(letter.lower() if letter.isascii() else letter for letter in text)
    assert fold(text) == (lowered if folded_column(text) is None else folded_column(text))


def test_no_folded_text_is_stored_if_non_ascii_letters_have_no_case() -> None:
    texts = [None, "GPU Instance", "GPU Instance #132: hold per-GPU × 1 GPU × 1h", "straße", "Ж"]
    assert [folded_column(text) for text in texts] == [None, None, None, "strasse", "ж"]


@pytest.mark.skipif(unicodedata.unidata_version != "14.0.0", reason="knows other characters")
def test_only_characters_of_unicode_14_are_folded() -> None:
    known = folding._FOLDED
    unknown = [letter for letter in _assigned_planes() if unicodedata.category(letter) == "Cn"]
    assert [letter for letter in unknown if known.match(letter)] == []
    for letter in _assigned_planes():
        if not known.match(letter):
            assert (letter.casefold(), unicodedata.combining(letter)) == (letter, 0)
            assert unicodedata.is_normalized("NFKC", letter)
    assert min(letter for letter in _assigned_planes() if not known.match(letter)) == folding._ALL_FOLDED_BELOW
