from __future__ import annotations

import pytest

from ledger.descriptions import api_usage


@pytest.mark.parametrize(
    ("models", "calls", "tokens", "written"),
    [
        (["m-large"], 812, (1_204_000, 310_500), "API usage m-large: 812 calls, 1,204,000 in + 310,500 out tokens"),
        (["image-1"], 1, (0, 0), "API usage image-1: 1 call"),
        (["a", "b", "c"], 1_000, (0, 5), "API usage of 3 models: 1,000 calls, 0 in + 5 out tokens"),
    ],
)
def test_api_usage(models: list[str], calls: int, tokens: tuple[int, int], written: str) -> None:
    assert api_usage(models, calls, *tokens) == written
