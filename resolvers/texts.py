from __future__ import annotations

from ledger.errors import BadUserInput


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
