"""Posts rows to the database of the first argument until its standard input is closed, and prints the ids of those that
are acknowledged.

The other arguments: the name that its idempotency keys begin with, its writers, the rows that each posts a second, the
calls after which it kills itself (0: never) and the accounts. It dies as the call returns, which is before the
notification of the row is sent.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence
from itertools import count
from random import Random

import structlog

from db.database import Database, DatabaseOptions
from db.errors import DatabaseError
from ledger.commands import Outcome, Posting
from ledger.ids import transaction_id_text
from ledger.posting import Ledger
from tests.ledger.desk import api_usage, posting

AGAIN_SECONDS = 0.1


class Poster:
    def __init__(
        self, ledger: Ledger, name: str, account_ids: Sequence[int], *, rows_a_second: float, dies_after: int
    ) -> None:
        self._ledger = ledger
        self._name = name
        self._account_ids = account_ids
        self._mean_pause_seconds = 1 / rows_a_second
        self._left = dies_after
        self.stopping = False

    async def write(self, writer: int) -> None:
        random = Random(f"{self._name}-{writer}")
        for number in count():
            await asyncio.sleep(random.uniform(0, 2) * self._mean_pause_seconds)
            if self.stopping:
                return
            account_id = random.choice(self._account_ids)
            outcome = await self._post(
                posting(account_id, api_usage(1 + number), key=f"{self._name}-{writer}-{number}")
            )
            self._acknowledge(outcome)

    async def _post(self, one: Posting) -> Outcome:
        """As a service does: what was not answered is sent again under its key, until it is."""
        while True:
            try:
                (outcome,) = await self._ledger.post(one)
            except DatabaseError:
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                return outcome

    def _acknowledge(self, outcome: Outcome) -> None:
        for row in outcome.transactions:
            sys.stdout.write(f"{transaction_id_text(row.account_id, row.seq)}\n")
        sys.stdout.flush()
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


async def _main(url: str, name: str, writers: int, rows_a_second: float, dies_after: int, accounts: list[int]) -> None:
    # Databases that go away are what it is for.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    ledger = Ledger(Database(DatabaseOptions(url, lock_timeout_seconds=2)))
    poster = Poster(ledger, name, accounts, rows_a_second=rows_a_second, dies_after=dies_after)
    writing = asyncio.gather(*(poster.write(writer) for writer in range(writers)))
    await asyncio.to_thread(sys.stdin.read)
    poster.stopping = True
    await writing


if __name__ == "__main__":
    _, url, name, writers, rate, dies_after, *accounts = sys.argv
    asyncio.run(_main(url, name, int(writers), float(rate), int(dies_after), [int(one) for one in accounts]))
