from __future__ import annotations

from ledger.errors import BadUserInput
from ledger.moves import MAX_REF_ID


def checked_characters(text: str, argument: str) -> str:
    """The text itself. Raises BadUserInput for what no database can look for: NUL, and halves of surrogate pairs."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        msg = f"{argument} is not Unicode text: it holds half of a surrogate pair"
        raise BadUserInput(msg) from error
    if "\x00" in text:
        msg = f"{argument} must not contain NUL characters"
        raise BadUserInput(msg)
    return text


def checked_ref_id(text: str) -> str:
    """The refId itself. Raises BadUserInput for one that nothing can have."""
    if not 1 <= len(text) <= MAX_REF_ID:
        msg = f"refId must have 1 to {MAX_REF_ID} characters, not {len(text)}"
        raise BadUserInput(msg)
    return checked_characters(text, "refId")
