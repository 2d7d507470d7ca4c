"""Posts to the database of the first argument until it is killed, and prints each row once it is acknowledged.

The other arguments are the name that its idempotency keys begin with, and the accounts that it posts to.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from itertools import count

from db.database import Database, DatabaseOptions
from ledger.commands import Command, Posting, Ref
from ledger.kinds import RefType
from ledger.posting import Ledger
from tests.ledger.desk import api_usage, open_hold, posting, renew, settle


def call(account_ids: Sequence[int], name: str, number: int) -> list[Posting]:
    """The n-th call: the same whenever it is asked for."""
    account_id = account_ids[number % len(account_ids)]
    other_id = account_ids[(number + 1) % len(account_ids)]
    ref = Ref(RefType.INFERENCE_INSTANCE, f"{name}-{number}")
    commands: list[Command] = [open_hold(5, ref, 0), renew(4, 5, 1, ref), settle(6, ref)]
    key = f"{name}-{number}"
    return [
        posting(account_id, *commands[: 1 + number % 3], key=key),
        posting(other_id, api_usage(number + 1), key=key),
    ]


async def post_forever(url: str, name: str, account_ids: Sequence[int]) -> None:
    ledger = Ledger(Database(DatabaseOptions(url)))
    numbers = count()

    async def write() -> None:
        for number in numbers:
            for outcome in await ledger.post(*call(account_ids, name, number)):
                for row in outcome.transactions:
                    sys.stdout.write(json.dumps([number, row.account_id, row.seq, row.hash.hex()]) + "\n")
            sys.stdout.flush()

    async with asyncio.TaskGroup() as group:
        for _ in range(6):
            group.create_task(write())


if __name__ == "__main__":
    asyncio.run(post_forever(sys.argv[1], sys.argv[2], [int(text) for text in sys.argv[3:]]))
