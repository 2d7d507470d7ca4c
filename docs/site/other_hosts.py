"""Finds what the pages of a built site load from other hosts: links that a reader follows are not loaded."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_LOADED: Final = re.compile(
    r"<(?:script|img|iframe|source|audio|video|embed)\b[^>]*?\b(?:src|srcset)=[\"']?((?:https?:)?//[^\"' >]+)"
    r"|<link\b(?![^>]*\brel=[\"']?canonical)[^>]*?\bhref=[\"']?((?:https?:)?//[^\"' >]+)",
    re.IGNORECASE,
)
_STYLED: Final = re.compile(r"(?:url\(|@import)\s*[\"']?((?:https?:)?//[^\"')]+)", re.IGNORECASE)


def loaded_from_elsewhere(site: Path) -> Iterator[str]:
    for kind, pattern in (("html", _LOADED), ("css", _STYLED)):
        for path in sorted(site.rglob(f"*.{kind}")):
            for match in pattern.finditer(path.read_text(encoding="utf-8")):
                yield f"{path.relative_to(site)}: {match[1] or match[match.lastindex or 1]}"
