"""The TypeScript client, as it is published, with a gateway and with what goes wrong on the way."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any, Final

from clients.build import build_typescript
from console.build import find_node
from gateway.errors import STATUS
from tests.clients.conftest import ROWS, UNKNOWN, Gateway

STORY: Final = Path(__file__).parent / "story.mjs"


async def told(gateway: Gateway) -> dict[str, Any]:
    given = {"URL": gateway.url, "ACCOUNT": gateway.account, "UNKNOWN": UNKNOWN}
    keys = {"MANAGE_KEY": gateway.manage_key, "SERVICE_KEY": gateway.service_key}
    process = await asyncio.create_subprocess_exec(
        *(str(find_node().node), str(STORY)), env=os.environ | given | keys, stdout=asyncio.subprocess.PIPE
    )
    try:
        printed, _ = await asyncio.wait_for(process.communicate(), 60)
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, printed.decode()
    found: dict[str, Any] = json.loads(printed)
    return found


async def test_pages_streams_and_mutations_survive_what_goes_wrong(gateway: Gateway) -> None:
    await asyncio.to_thread(build_typescript)
    found = await told(gateway)
    number = gateway.account.removeprefix("acct_")
    ids = [f"txn_{number}_{ROWS + one}" for one in (1, 2, 3)]
    rows = [f"Row {one}" for one in range(ROWS, 0, -1)]
    assert found == {
        "rows": rows,
        "resumed": rows[60:],
        # The first was sent three times with one key: the gateway was busy, and an answer was lost.
        "bonuses": [[ids[0], True], [ids[1], False], [ids[2], False]],
        "events": [[ids[0], "130.50"], [ids[1], "131.00"], [ids[2], "131.50"], "enough"],
        "amount": "0.50",
        "refusals": [
            {"name": "InsufficientBalance", "code": "INSUFFICIENT_BALANCE"},
            {
                "name": "LimitExceeded",
                "code": "LIMIT_EXCEEDED",
                "limit": found["limit"],
                "remaining": "0.25",
                "resets": "string",
            },
            {"name": "NotFound", "code": "NOT_FOUND"},
            {"name": "Unauthenticated", "code": "UNAUTHENTICATED"},
            {"name": "Unauthenticated", "code": "UNAUTHENTICATED"},
            {"name": "Unavailable", "code": "UNAVAILABLE"},
        ],
        "limit": found["limit"],
        "codes": found["codes"],
    }
    assert set(found["codes"]) == set(STATUS)
    assert gateway.troubles.times[1] - gateway.troubles.times[0] >= 1
