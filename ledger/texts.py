"""Texts: the kinds of text that callers send. Each kind has one check for all ways in.

Texts are stored unchanged: they are not trimmed and not normalized. Characters are Unicode code points.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Final

from ledger.errors import BadUserInput

# Control characters and line and paragraph separators are refused. Joiners, which many scripts need, are format
# characters (Cf) and allowed; format characters that reorder text are refused.
_REFUSED: Final = frozenset({"Cc", "Zl", "Zp"})
_REORDERING: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@dataclass(frozen=True, slots=True)
class TextKind:
    name: str
    """For the table in docs/mutations.md."""
    longest: int
    """Maximum length in characters. The minimum is one character that is not a space."""

    @property
    def bounds(self) -> str:
        """Returns the limits as text for descriptions."""
        return f"1 to {self.longest} characters"

    def checked(self, value: str, what: str) -> str:
        """Returns the text unchanged. Raises BadUserInput, whose message begins with `what`."""
        if not value.strip():
            msg = f"{what} must not be blank"
            raise BadUserInput(msg)
        if len(value) > self.longest:
            msg = f"{what} must have at most {self.longest} characters, not {len(value)}"
            raise BadUserInput(msg)
        if not value.isascii() or not value.isprintable():
            _check_letters(value, what)
        return value


def _check_letters(value: str, what: str) -> None:
    check_unicode(value, what)
    if any(unicodedata.category(letter) in _REFUSED or letter in _REORDERING for letter in value):
        msg = f"{what} must not contain control characters"
        raise BadUserInput(msg)


def check_unicode(value: str, what: str) -> None:
    """Raises BadUserInput for an unpaired surrogate, which UTF-8 cannot encode."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        msg = f"{what} is not Unicode text: it contains an unpaired surrogate"
        raise BadUserInput(msg) from error


MODEL: Final = TextKind("model", 200)
REQUEST_ID: Final = TextKind("request id", 255)
ACCOUNT_NAME: Final = TextKind("account name", 200)
EXTERNAL_ID: Final = TextKind("external id", 200)
REF_ID: Final = TextKind("ref id", 200)
"""Also for names that become a ref id: of a promotion, a contract, or a batch of usage."""
DESCRIPTION: Final = TextKind("description", 500)
REASON: Final = TextKind("reason", 500)
OWNER: Final = TextKind("owner of a key", 200)
IDEMPOTENCY_KEY: Final = TextKind("idempotency key", 255)
STRIPE_ID: Final = TextKind("Stripe id", 255)
ADDRESS: Final = TextKind("address", 2_000)
API_KEY: Final = TextKind("API key", 128)
"""The id of a customer's key at the platform. It is not one of this gateway's keys."""
PROJECT: Final = TextKind("project", 128)
END_USER: Final = TextKind("end user", 128)
SERVICE: Final = TextKind("service", 128)
COMPANY_NAME: Final = TextKind("company name", 200)
ADDRESS_LINE: Final = TextKind("address line", 100)
TAX_ID: Final = TextKind("tax id", 50)

KINDS: Final = (
    *(MODEL, REQUEST_ID, ACCOUNT_NAME, EXTERNAL_ID, REF_ID, DESCRIPTION, REASON, OWNER),
    *(IDEMPOTENCY_KEY, STRIPE_ID, ADDRESS, API_KEY, PROJECT, END_USER, SERVICE),
    *(COMPANY_NAME, ADDRESS_LINE, TAX_ID),
)
