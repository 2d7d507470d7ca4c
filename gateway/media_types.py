"""Parses the `Accept` header of a client (RFC 9110, 12.5.1), and chooses between the two types of GraphQL's JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

JSON: Final = "application/json"
GRAPHQL_JSON: Final = "application/graphql-response+json"

_WEIGHT: Final = re.compile(r";\s*q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\s*(?:;|$)", re.ASCII | re.IGNORECASE)


def accepted(header: str) -> Mapping[str, float]:
    """The weight of each media range, in lower case and without its parameters."""
    weights: dict[str, float] = {}
    for part in header.split(","):
        weight = _WEIGHT.search(part)
        weights[part.partition(";")[0].strip().lower()] = float(weight[1]) if weight else 1.0
    return weights


def takes_html(header: str) -> bool:
    """Whether a client with this `Accept` shows pages, as browsers do; `*/*` alone does not say so."""
    return accepted(header).get("text/html", 0) > 0


def weight_of(media_type: str, weights: Mapping[str, float]) -> float:
    """Returns the weight of the range that names the type most closely, or 0 if no range does."""
    kind, _, _ = media_type.partition("/")
    return next((weights[one] for one in (media_type, f"{kind}/*", "*/*") if one in weights), 0.0)


@lru_cache(maxsize=256)
def graphql_json_type(accept: str) -> str:
    """The newer type is for those who name it: whoever takes anything gets the one that every client knows."""
    weights = accepted(accept)
    newer, known = weight_of(GRAPHQL_JSON, weights), weight_of(JSON, weights)
    preferred = newer > known or (newer == known > 0 and GRAPHQL_JSON in weights)
    return GRAPHQL_JSON if preferred else JSON
