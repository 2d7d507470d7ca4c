"""The gateway over HTTP, with a clock that the test moves, a key of every kind, and short words for mutations."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from aiohttp import ClientSession, web
from sqlalchemy import select

from access.keys import Keys, KeyScope, NewKey, ServiceOperation
from db import tables
from db.database import Database
from gateway.app import build_app
from gateway.commands.options import settings_of
from gateway.services import Services, build_services
from ledger.accounts import Accounts
from ledger.commands import Entry, Posting, Writer
from ledger.ids import parse_account_id
from ledger.kinds import TransactionType, WriterKind
from ledger.money import parse_nanos
from tests.ledger.desk import START

ROW: Final = "id type amount balanceAfter description source refType refId periodStart periodEnd createdAt"
PAYLOAD: Final = f"transactions {{ {ROW} }} balance replayed"
_ACCOUNT: Final = "account { id externalId name status balance }"
CHARGE: Final = "id state held heldNow refunded overage net cycles refId"
_CHARGE: Final = f"charge {{ {CHARGE} }}"
_AUTHORIZATION: Final = "authorization { id state amount captured excess apiKeyId project refId } available"
RECHARGE: Final = (
    "state threshold amount dailyLimit chargedToday inFlight declines lastFailure lastFailureAt canCharge blockedBy"
    " nextTryAt explanation"
)
LIMIT: Final = (
    "id apiKeyId project amount window spent reserved remaining resetsAt notifyAtPercent createdAt updatedAt deletedAt"
)
_LIMIT: Final = f"spendLimit {{ {LIMIT} }}"
MORE: Final = {
    "openHold": _CHARGE,
    "renewHold": f"toStop {_CHARGE}",
    "settleHold": _CHARGE,
    "recordUsage": "recorded",
    "authorizeUsage": _AUTHORIZATION,
    "releaseAuthorization": _AUTHORIZATION,
    "createAccount": _ACCOUNT,
    "suspendAccount": _ACCOUNT,
    "reactivateAccount": _ACCOUNT,
    "createSignInLink": "url expiresAt",
    "createTopUp": "checkoutUrl sessionId expiresAt state",
    "createBillingPortalSession": "url",
    "setAutoRecharge": f"autoRecharge {{ {RECHARGE} }}",
    "setInstanceRate": "toStop",
    "setSpendLimit": _LIMIT,
    "deleteSpendLimit": _LIMIT,
    "markUsageComplete": "completeUntil",
    "setCompanyDetails": "companyDetails { name addressLines taxId updatedAt }",
}
"""What the payload of a mutation has besides."""


_NUMBERS: Final = itertools.count(1)


def brief(payload: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(type, amount, balance after) of each row."""
    return [(row["type"], row["amount"], row["balanceAfter"]) for row in payload["transactions"]]


def document(name: str, selection: str) -> str:
    kind = name[0].upper() + name[1:]
    return f"mutation ($input: {kind}Input!) {{ {name}(input: $input) {{ {selection} }} }}"


# When keys were used last, and from where, is no matter. Made once, as each new statement is compiled.
_ROWS: Final = {
    table.name: select(*(column for column in table.c if not column.name.startswith("last_used_"))).order_by(
        *table.primary_key.columns
    )
    for table in tables.metadata.sorted_tables
}


async def contents(database: Database) -> dict[str, list[Any]]:
    """Every row of every table."""
    async with database.snapshot() as snapshot:
        found = await asyncio.gather(*map(snapshot.rows, _ROWS.values()))
    return {name: list(map(tuple, rows)) for name, rows in zip(_ROWS, found, strict=True)}


@dataclass
class Office:
    services: Services
    session: ClientSession
    url: str
    keys: dict[str, str] = field(default_factory=dict)
    """Whole keys by what they are for: `service` and `operator` from the start."""
    now: datetime = START

    async def key(self, new: NewKey) -> str:
        return (await Keys(self.services.database, self.clock).create(new)).secret

    def clock(self) -> datetime:
        return self.now

    async def account(self, balance: str = "0.00") -> str:
        """The id of a new account, with one row that brings its balance about unless it is zero."""
        row = await Accounts(self.services.database, self.clock).create("Account")
        if nanos := parse_nanos(balance):
            writer = Writer(WriterKind.OPERATOR, "tests")
            entry = Entry(TransactionType.ADMIN_CORRECTION, nanos, "Opening balance")
            await self.services.ledger.post(Posting(row.id, writer, [entry], "opening"))
        return f"acct_{row.id}"

    async def send(self, query: str, key: str | None, variables: dict[str, Any] | None = None) -> Any:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        body = {"query": query, "variables": variables}
        async with self.session.post(f"{self.url}/graphql", json=body, headers=headers) as response:
            return await response.json()

    async def query(self, query: str, key: str | None = None, **variables: Any) -> Any:
        answer = await self.send(query, key or self.keys["operator"], variables)
        assert "errors" not in answer, answer
        return answer["data"]

    def new_key(self) -> str:
        """An idempotency key."""
        return f"call-{next(_NUMBERS)}"

    async def answer(self, name: str, key: str | None, selection: str | None = None, /, **given: Any) -> Any:
        """To the mutation with this input, and an idempotency key of its own unless one is given."""
        given = {"idempotencyKey": self.new_key()} | given
        selection = selection or f"{PAYLOAD} {MORE.get(name, '')}"
        return await self.send(document(name, selection), key, {"input": given})

    async def call(self, name: str, key: str | None = None, selection: str | None = None, /, **given: Any) -> Any:
        """The payload. Without a key of its own, the mutation is sent with one that may."""
        answer = await self.answer(name, key or self.right_key(name), selection, **given)
        assert "errors" not in answer, answer
        return answer["data"][name]

    async def manager(self, account: str) -> str:
        """A manage key of the account."""
        return await self.key(NewKey(KeyScope.MANAGE, "tests", number_of(account)))

    def right_key(self, name: str) -> str:
        return self.keys["service" if name in set(ServiceOperation) else "operator"]

    async def refusal(self, name: str, key: str | None = None, /, **given: Any) -> tuple[str, str]:
        """The code and message of the refused mutation, after a look that it wrote nothing."""
        before = await contents(self.services.database)
        answer = await self.answer(name, key or self.right_key(name), **given)
        (error,) = answer["errors"]
        assert answer.get("data") is None
        assert await contents(self.services.database) == before
        return error["extensions"]["code"], error["message"]

    async def transactions(self, account: str) -> list[Any]:
        """Oldest first, as a later query has them."""
        query = f"query ($id: ID!) {{ account(id: $id) {{ transactions(first: 1000) {{ nodes {{ {ROW} }} }} }} }}"
        found = await self.query(query, id=account)
        return list(reversed(found["account"]["transactions"]["nodes"]))


def number_of(account: str) -> int:
    number = parse_account_id(account)
    assert number is not None
    return number


@asynccontextmanager
async def opened(
    database_url: str, *, compiled: bool = True, key_cache_seconds: float = 0, **more: object
) -> AsyncIterator[Office]:
    """`more` are settings."""
    moments: list[Office] = []
    settings = settings_of(
        {
            "database_url": database_url,
            "key_cache_seconds": key_cache_seconds,
            "compiled_execution": compiled,
            **more,
        }
    )
    services = build_services(settings, lambda: moments[0].now)
    runner = web.AppRunner(build_app(services), access_log=None)
    try:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with ClientSession() as session:
            office = Office(services, session, f"http://127.0.0.1:{runner.addresses[0][1]}")
            moments.append(office)
            for scope in (KeyScope.SERVICE, KeyScope.OPERATOR):
                office.keys[scope.value] = await office.key(NewKey(scope, "tests"))
            yield office
    finally:
        await runner.cleanup()
