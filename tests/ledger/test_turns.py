from __future__ import annotations

import pytest

from db.errors import LockUnavailable
from ledger.turns import Turns


async def test_call_that_waits_too_long_fails_and_releases_its_turns() -> None:
    turns = Turns(0.01)
    async with turns.taken([1, 2]):
        with pytest.raises(LockUnavailable, match="other calls on the account are still running"):
            async with turns.taken([3, 2]):
                pytest.fail("the turn was taken twice")
        async with turns.taken([3]):
            pass
    async with turns.taken([1, 2, 3]):
        pass
