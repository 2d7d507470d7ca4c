"""Search texts. A text that no object can contain matches nothing, unless no database can search for it."""

from __future__ import annotations

from typing import Final

from ledger.errors import BadUserInput
from ledger.texts import REF_ID, check_unicode

SEARCH_RULE: Final = (
    "Search ignores case and compatibility forms: both texts are folded by Unicode's full case folding and NFKC, and"
    " a dot above an i is dropped. `STRASSE` finds `Straße`, and `istanbul` finds `İstanbul`. Accents count."
)
"""For descriptions; docs/rest.md has the full rule."""


def checked_characters(text: str, argument: str) -> str:
    """Returns the text unchanged. Raises BadUserInput for NUL and for an unpaired surrogate."""
    check_unicode(text, argument)
    if "\x00" in text:
        msg = f"{argument} must not contain NUL characters"
        raise BadUserInput(msg)
    return text


def checked_length(text: str, argument: str, shortest: int, longest: int) -> str:
    """Returns the text unchanged. Raises BadUserInput also for an invalid length."""
    if not shortest <= len(text) <= longest:
        msg = f"{argument} must have {shortest} to {longest} characters, not {len(text)}"
        raise BadUserInput(msg)
    return checked_characters(text, argument)


def checked_ref_id(text: str) -> str:
    return checked_length(text, "refId", 1, REF_ID.longest)
