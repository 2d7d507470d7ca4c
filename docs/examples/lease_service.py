"""Answers calls to a model, and pays for them with a lease: one call to the gateway a second, however many it answers.

    pip install aiohttp
    URL=http://127.0.0.1:8000 KEY=eco_… ACCOUNT=acct_1 python lease_service.py

KEY is a service key for authorizeUsage and recordUsage. The lease reserves what two seconds cost at most. A call that
the lease does not cover is refused, so the account never spends beyond its balance and its limits. If the gateway
cannot be reached, the calls wait in `_unpaid` and are sent again with the same idempotency key: each is charged once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import aiohttp

log = logging.getLogger("lease_service")

ADDRESS = os.environ.get("URL", "http://127.0.0.1:8000")
KEY, ACCOUNT = os.environ["KEY"], os.environ["ACCOUNT"]
API_KEY_ID = os.environ.get("API_KEY_ID", "key_1")
SECONDS = float(os.environ.get("SECONDS", "10"))
LEASE = os.environ.get("LEASE", "1.00")
"""What two seconds cost at most, in US dollars."""

MOST_IN_A_CALL = 1_000
PRICE = {"inputPerMillion": "0.50", "outputPerMillion": "2.00"}

AUTHORIZE = """
mutation ($input: AuthorizeUsageInput!) { authorizeUsage(input: $input) { authorization { id } } }
"""
RECORD = """
mutation ($input: RecordUsageInput!) { recordUsage(input: $input) { recorded authorization { excess } } }
"""


class Refused(Exception):
    """The gateway refused the call. The text is its code."""


class Lease:
    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._id: str | None = None
        self._left = Decimal(0)
        self._calls: list[dict[str, Any]] = []
        self._unpaid: list[dict[str, Any]] = []

    def pay(self, cost: Decimal, call: dict[str, Any]) -> bool:
        """Takes the cost from the lease. Returns False if the lease does not cover it: refuse the call then."""
        if cost > self._left:
            return False
        self._left -= cost
        self._calls.append(call)
        return True

    async def renew(self) -> None:
        """Charges the calls since the last renewal, gives back the rest of the lease, and takes a new one."""
        authorization, self._id, self._left = self._id, None, Decimal(0)
        calls, self._calls = self._calls, []
        portions = [calls[start : start + MOST_IN_A_CALL] for start in range(0, len(calls), MOST_IN_A_CALL)]
        for number, portion in enumerate(portions, 1):
            pays = {"authorizationId": authorization, "finalCapture": number == len(portions)} if authorization else {}
            self._unpaid.append({"idempotencyKey": uuid.uuid4().hex, "accountId": ACCOUNT, "requests": portion, **pays})
        await self._charge()
        given = {"idempotencyKey": uuid.uuid4().hex, "accountId": ACCOUNT, "amount": LEASE, "ttlSeconds": 60}
        try:
            answer = await self._send(AUTHORIZE, {**given, "apiKeyId": API_KEY_ID})
        except Refused as refused:
            log.info("no lease: %s", refused)
            return
        self._id, self._left = answer["authorizeUsage"]["authorization"]["id"], Decimal(LEASE)

    async def _charge(self) -> None:
        while self._unpaid:
            given = self._unpaid[0]
            try:
                await self._send(RECORD, given)
            except Refused as refused:
                if str(refused) != "CONFLICT" or "authorizationId" not in given:
                    raise
                # The lease has expired meanwhile. What was used is owed all the same.
                keyed = {**given, "idempotencyKey": uuid.uuid4().hex}
                self._unpaid[0] = {name: keyed[name] for name in ("idempotencyKey", "accountId", "requests")}
                continue
            del self._unpaid[0]

    async def _send(self, query: str, given: dict[str, Any]) -> dict[str, Any]:
        """Sends until an answer comes. A call that is sent again is carried out once."""
        while True:
            try:
                answer = await self._session.post("/graphql", json={"query": query, "variables": {"input": given}})
                body = await answer.json()
                data: dict[str, Any] = body.get("data")
                code = body["errors"][0]["extensions"]["code"] if "errors" in body else None
            except (aiohttp.ClientError, TimeoutError, ValueError):
                code = "UNAVAILABLE"
            if code is None:
                return data
            if code not in {"UNAVAILABLE", "RATE_LIMITED"}:
                raise Refused(code)
            await asyncio.sleep(0.2)


async def answer_calls(lease: Lease, until: float) -> tuple[int, int]:
    """Stands for the service: answers calls until the time is over. Returns how many it answered and refused."""
    answered = refused = 0
    while asyncio.get_running_loop().time() < until:
        for _ in range(10):
            used = {"inputTokens": "900", "outputTokens": "45"}
            cost = Decimal("0.00054")
            call = {"id": uuid.uuid4().hex, "at": datetime.now(UTC).isoformat(), "model": "m-large", "category": "CHAT"}
            if lease.pay(cost, {**call, **used, "price": PRICE}):
                answered += 1
            else:
                refused += 1
        await asyncio.sleep(0.01)
    return answered, refused


async def main() -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    async with aiohttp.ClientSession(ADDRESS, headers=headers, timeout=aiohttp.ClientTimeout(10)) as session:
        lease = Lease(session)
        until = asyncio.get_running_loop().time() + SECONDS
        await lease.renew()
        calls = asyncio.create_task(answer_calls(lease, until))
        while not calls.done():
            await asyncio.sleep(1)
            await lease.renew()
        answered, refused = await calls
        await lease.renew()
        log.info("answered %d, refused %d", answered, refused)


if __name__ == "__main__":
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    try:
        asyncio.run(main())
    except Refused as refused:
        sys.exit(f"the gateway refused a call: {refused}")
