"""Notes about a request while it is answered, for its line in the log and its count in the metrics."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

from gateway.metrics import Metrics
from ledger.ids import account_id_text
from resolvers.context import named_accounts

LOGGED_NAME: Final = 100
"""Characters of an operation's name in the log: the client gives it, of any length."""

_codes: ContextVar[dict[str, None] | None] = ContextVar("error_codes", default=None)


def begin_notes() -> None:
    """A connection's requests come one after the other in one context."""
    _codes.set({})
    named_accounts.set(set())


def count_error(metrics: Metrics, code: str) -> None:
    """Counts an error that is sent to a client, in any kind of answer."""
    metrics.errors.labels(code).inc()
    codes = _codes.get()
    if codes is not None:
        codes[str(code)] = None


def error_codes() -> list[str]:
    """Each code once, in the order in which they came."""
    return list(_codes.get() or ())


def only_account(of_key: int | None) -> str | None:
    """The account that the request is about: the key's own, or the only one that it named."""
    named = named_accounts.get()
    if of_key is None and named is not None and len(named) == 1:
        (of_key,) = named
    return None if of_key is None else account_id_text(of_key)


def logged_name(name: str | None) -> str | None:
    return name if name is None or len(name) <= LOGGED_NAME else name[:LOGGED_NAME] + "…"
