"""Callers: the API keys and projects that an account's calls are made by, as its services report them."""

from __future__ import annotations

from typing import Final

from ledger.attribution import Attribution

DEVELOPER: Final = (Attribution("key_laptop", "prototype"), Attribution("key_notebook", "evaluation"))
INFERENCE: Final = (
    Attribution("key_web", "assistant"),
    Attribution("key_mobile", "assistant"),
    Attribution("key_indexer", "search"),
)
ENTERPRISE: Final = (
    Attribution("key_support_prod", "support-bot"),
    Attribution("key_support_prod", "support-bot"),
    Attribution("key_search_prod", "document-search"),
    Attribution("key_batch", "nightly-reports"),
)


def caller(callers: tuple[Attribution, ...], model: str, hour: int) -> Attribution:
    """Returns the caller of a model in an hour. Always the same one, without a draw: the rest of the story stays."""
    return callers[(hour // 5 + sum(model.encode())) % len(callers)]
