"""Return addresses: the URLs to which Stripe's pages may send a customer back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit

from ledger.errors import BadUserInput
from ledger.texts import ADDRESS

_LOCAL: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_PORTS: Final = {"http": 80, "https": 443}

Origin = tuple[str, str, int]
"""Scheme, host and port."""


@dataclass(frozen=True, slots=True)
class ReturnAddresses:
    origins: frozenset[Origin] = frozenset()
    """Allowed origins; if empty, every https address is allowed, and http to this machine."""

    def check(self, given: str, what: str) -> None:
        """Raises BadUserInput, whose message begins with `what`."""
        ADDRESS.checked(given, what)
        origin = _origin_of(given)
        if origin is None or not (self.origins or _is_safe(origin)):
            msg = f"{what} must be an https address, such as https://example.com/billing"
            raise BadUserInput(msg)
        if self.origins and origin not in self.origins:
            msg = f"{what} must be an address of {', '.join(sorted(map(_text, self.origins)))}"
            raise BadUserInput(msg)


def _origin_of(address: str) -> Origin | None:
    """None for what browsers and Python may read as different hosts, too."""
    try:
        parts = urlsplit(address)
        return None if "\\" in address else _origin(parts)
    except ValueError:
        return None


def _origin(parts: SplitResult) -> Origin | None:
    port = parts.port or _PORTS.get(parts.scheme)
    if not parts.hostname or port is None or "@" in parts.netloc:
        return None
    return parts.scheme, parts.hostname, port


def _is_safe(origin: Origin) -> bool:
    scheme, host, _ = origin
    return scheme == "https" or (scheme == "http" and host in _LOCAL)


def _text(origin: Origin) -> str:
    scheme, host, port = origin
    host = f"[{host}]" if ":" in host else host
    return f"{scheme}://{host}" if port == _PORTS.get(scheme) else f"{scheme}://{host}:{port}"
