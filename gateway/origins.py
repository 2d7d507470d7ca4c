"""Origins of pages, as browsers name them and settings list them. Needs no server: every command reads settings."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

PORTS: Final = {"http": 80, "https": 443}

_THIS_MACHINE: Final = frozenset({"localhost", "127.0.0.1", "::1"})

Origin = tuple[str, str, int]
"""Scheme, host and port."""

_LABEL: Final = "[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?"
_ORIGIN: Final = re.compile(
    rf"(https?)://(?:({_LABEL}(?:\.{_LABEL})*)|\[([0-9a-f:.]+)\])(?::(\d{{1,5}}))?", re.ASCII | re.IGNORECASE
)


def parse_origin(text: str) -> Origin | None:
    """Returns None for text that is no origin of a site, such as `null`."""
    match = _ORIGIN.fullmatch(text)
    if match is None:
        return None
    scheme, name, address, port_text = match.groups()
    scheme = scheme.lower()
    port = PORTS[scheme] if port_text is None else int(port_text)
    return (scheme, (name or address).lower(), port) if 0 < port < 65_536 else None


def is_confidential(address: str) -> bool:
    """Whether nobody between this machine and the address can read what is sent to it. Raises ValueError for an
    address that cannot be split."""
    parts = urlsplit(address)
    origin = parse_origin(f"{parts.scheme}://{parts.netloc}")
    return origin is not None and (origin[0] == "https" or origin[1] in _THIS_MACHINE)
