"""Origins of pages, as browsers name them and settings list them. Needs no server: every command reads settings."""

from __future__ import annotations

import re
from typing import Final

PORTS: Final = {"http": 80, "https": 443}

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
