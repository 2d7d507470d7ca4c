"""Origins of pages, as browsers name them and settings list them. Needs no server: every command reads settings."""

from __future__ import annotations

from typing import Final
from urllib.parse import SplitResult, urlsplit

PORTS: Final = {"http": 80, "https": 443}


def parse_origin(text: str) -> tuple[str, str, int] | None:
    """Scheme, host and port; None for what is no origin of a site, such as `null`."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port or PORTS.get(parts.scheme)
    except ValueError:
        return None
    if not host or port is None or parts != SplitResult(parts.scheme, parts.netloc, "", "", "") or parts.username:
        return None
    return parts.scheme, host, port
