"""Texts of many scripts, their parts in other spellings, and texts that are refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Final
from unicodedata import normalize

WORDS: Final = (
    "Node",
    "ACME",
    "acme corp",
    "llama-3-70b",
    "Straße",
    "STRASSE",
    "Müller",
    "Mu\u0308ller",
    "Crème Brûlée",
    "İstanbul",
    "ISTANBUL",
    "ıstanbul",
    "Ελλάς",
    "ΟΔΥΣΣΕΥΣ",
    "όδός",
    "ᾳᾼ",
    "Москва",
    "МОСКВА",
    "ёлка",
    "е\u0308лка",
    "Ꭰꭰ ᏣᎳᎩ",
    "ꮳꮃꭹ",
    "\u1c89\ua7cb ABC",
    "Ａｃｍｅ １２",
    "ﬁnance ﬀ",
    "ŉoun ǰ",
    "e\u0301\u0323 x\u0300\u0316",
    "😀 GPU 👩\u200d🚀",
    "مُحَمَّد",
    "ﷺ",
    "日本語モデル",
    "ｶﾞｷﾞ",
    "한국어",
    "\u1112\u1161\u11ab",
    "हिन्दी",
    "Ⅷ ⅷ ①",
    "K\u212a Å\u212b",
    "µ μ",
    "ſtep ẞ",
    "𐐀𐐨 𝐀𝐛",
    "Ǆ ǅ ǆ",
    "soft\u00adhyphen",
    "zero\u200bwidth",
    "\u00a0nbsp",
    "\ufeffmark",
    "\U0001fae8 \u1c89",
    "\ue000private\U0010ffff",
)
CAPITALS: Final = "ᏣᎳᎩ GPU"
"""Small letters of Cherokee fold to capitals: a lower() that knows capitals beyond ASCII finds other texts."""
SIGNS: Final = (
    "%",
    "_",
    "\\",
    "'",
    '"',
    ",",
    ";",
    "=1+1",
    "-2",
    "+3",
    "@x",
    "＝1",
    "''=",
    "|",
    "$1",
    ":name",
    "?",
    "{}",
)
REFUSED: Final = ("\x00", "a\x00b", "tab\there", "two\nlines", "\u2028", "\u202eback", "\ud800", "\x85", "", "   ")
SPELLINGS: Final[Sequence[Callable[[str], str]]] = (
    str,
    str.upper,
    str.lower,
    str.casefold,
    str.swapcase,
    str.title,
    lambda text: normalize("NFC", text),
    lambda text: normalize("NFD", text),
    lambda text: normalize("NFKC", text),
    lambda text: normalize("NFKD", text),
)


def some_words(random: Random) -> list[str]:
    """Those of a story: so few that they meet again."""
    return [*[CAPITALS] * 3, *random.sample(WORDS, 9), *random.sample(SIGNS, 3)]


def welcome(random: Random, known: Sequence[str]) -> str:
    """A text that every check lets through."""
    words = [random.choice(known) for _ in range(random.choice((1, 1, 2, 3)))]
    if random.random() < 0.3:
        words.append(str(random.randint(1, 99)))
    return random.choice((" ", " ", "-", "")).join(words)


def any_text(random: Random, known: Sequence[str], longest: int = 500) -> str:
    """Seldom one that is refused."""
    roll = random.random()
    if roll < 0.03:
        return random.choice(REFUSED)
    if roll < 0.05:
        return random.choice(known) * longest
    if roll < 0.08:
        return (welcome(random, known) * longest)[:longest]
    return welcome(random, known)


def respelled(random: Random, text: str) -> str:
    return random.choice(SPELLINGS)(text)


def needle(random: Random, used: Sequence[str]) -> str:
    """A part of a text that was used, in another spelling; seldom with what stands for any character elsewhere."""
    text = random.choice(used)
    start = random.randrange(max(len(text) - 2, 1))
    part = text[start : start + random.choice((2, 3, 3, 3, 4, 4, 6, 10, 250))]
    if random.random() < 0.1:
        part = part[:1] + random.choice("%_*?.\\") + part[2:]
    return respelled(random, part if random.random() < 0.3 else respelled(random, part))
