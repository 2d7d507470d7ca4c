from __future__ import annotations

import pytest

from access.keys import Keys, KeyScope, NewKey
from ledger.errors import BadUserInput, NotFound
from tests.ledger.desk import Desk


async def test_unknown_operation_is_refused(desk: Desk) -> None:
    keys = Keys(desk.database, lambda: desk.now)
    with pytest.raises(BadUserInput, match="operations must be from openHold, "):
        await keys.create(NewKey(KeyScope.SERVICE, "tests", operations=("openHold", "fly")))
    assert await keys.list() == []


async def test_keys_are_listed_by_account(desk: Desk) -> None:
    keys = Keys(desk.database, lambda: desk.now)
    accounts = [await desk.account() for _ in range(2)]
    made = [(await keys.create(NewKey(KeyScope.READ, "tests", account))).row for account in accounts]
    assert await keys.list(accounts[1]) == made[1:]
    with pytest.raises(NotFound):
        await keys.list(accounts[1] + 1)
