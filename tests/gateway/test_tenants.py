"""No answer about one account has another account in it, and every read of account data names its account.

Two accounts live alike, with the same names of everything and with other figures. What the API says of the one must
not change when the other lives on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any, Final

import pytest
from graphql import GraphQLObjectType, GraphQLSchema, build_schema, get_named_type, is_leaf_type, is_required_argument

from db.recharges import RechargeAttemptRow, insert_attempt
from gateway.jobs import build_jobs
from schema.build import sdl
from tests.account_scope import unbounded_tables
from tests.gateway.mutations.office import Office, number_of, opened
from tests.gateway.mutations.test_metering import request
from tests.statements import watched
from tests.stripe_stand_in import settings, standing_in

DAY: Final = timedelta(days=1)
_SCHEMA: Final = build_schema(sdl())
_PAGE: Final = 20
_KINDS: Final = {"txn": "Transaction", "chg": "Charge", "limit": "SpendLimit"}
_FILTERED: Final = """
    all: transactions(first: 2, filter: {types: [GPU_USAGE, REFUND], sources: [METERING]}) { ...page }
    charged: transactions(filter: {refType: GPU_INSTANCE, refId: "132"}) { ...page }
    kinds: transactions(filter: {refType: VOLUME}) { ...page }
    found: transactions(filter: {search: "instance"}) { ...page }
    amounts: transactions(last: 3, filter: {amount: {gte: "-50", lte: "0"}}) { ...page }
    times: transactions(filter: {createdAt: {gte: "2026-11-01T00:00:00Z", lt: "2026-11-02T12:00:00Z"}}) { ...page }
    open: charges(filter: {state: OPEN}) { nodes { id net } totalCount }
    ofResource: charges(filter: {refType: GPU_INSTANCE, refId: "132"}) {
        nodes { id net transactions { nodes { id } } }
    }
    models: usage(filter: {models: ["m-large"], categories: [CHAT]}) { nodes { day calls cost } totals { calls cost } }
    requests: usageRequests(filter: {models: ["m-large"], categories: [CHAT]}) {
        nodes { id cost price { perCall } transaction { id } } totalCount
    }
    request: usageRequest(id: "1-0") { id cost transaction { id } }
    november: monthlySummary(month: "2026-11") { totalCost apiCalls heldInOpenCharges }
    statement(from: "2026-11-01", to: "2026-12-01") {
        opening closing rows isFinal movements { kind gross refunded net } transactions(first: 3) { nodes { id } }
        pdfUrl csvUrl
    }
    before: balance(asOf: "2026-11-01T12:00:00Z")
"""
_REST: Final = (
    "/billing/transactions?limit=1000",
    "/billing/transactions?ref_type=gpu_instance&ref_id=132",
    "/billing/transactions.csv",
    "/billing/transactions.csv?types=gpu_usage&search=instance",
    "/billing/usage.csv",
    "/billing/usage.csv?models=m-large",
    "/billing/usage.csv?by=hour",
    "/billing/usage/requests/1-0",
    "/billing/statement?from=2026-11-01&to=2026-12-01",
    "/billing/statement.csv?from=2026-11-01&to=2026-12-01",
)


def _selected(schema: GraphQLSchema, of: GraphQLObjectType, path: tuple[str, ...]) -> Iterator[str]:
    for name, field in of.fields.items():
        inner = get_named_type(field.type)
        if any(is_required_argument(argument) for argument in field.args.values()) or inner.name in path:
            continue
        given = f"(first: {_PAGE})" if "first" in field.args else ""
        if is_leaf_type(inner):
            yield name + given
        elif isinstance(inner, GraphQLObjectType) and not inner.name.endswith("Edge"):
            yield f"{name}{given} {{ {' '.join(_selected(schema, inner, (*path, inner.name)))} }}"


def _everything(of: str) -> str:
    """Every field that an object of this type leads to, no type within itself."""
    found = _SCHEMA.type_map[of]
    assert isinstance(found, GraphQLObjectType)
    return " ".join(_selected(_SCHEMA, found, (of,)))


_PAGES: Final = """ fragment page on TransactionConnection {
    nodes { id amount balanceBefore corrects { id } charge { net } }
    pageInfo { hasNextPage hasPreviousPage } totalCount totals { count credits debits net }
}"""
_QUESTIONS: Final = (
    f"query ($id: ID!) {{ account(id: $id) {{ {_everything('Account')} }} }}",
    f"query ($id: ID!) {{ account(id: $id) {{ {_FILTERED} }} }}{_PAGES}",
)


class _Life:
    """An account that does all that an account can do; its figures are multiples of its own number."""

    def __init__(self, office: Office, account: str, times: int) -> None:
        self._office = office
        self._mine = {"accountId": account}
        self.account = account
        self._times = times
        self._days = 0

    def _dollars(self, cents: int) -> str:
        cents *= self._times
        return f"{cents // 100}.{cents % 100:02d}"

    async def day(self) -> None:
        office, mine, start = self._office, self._mine, self._office.now
        self._days += 1
        machine = {"refType": "GPU_INSTANCE", "refId": str(131 + self._days)}
        hour = {"periodStart": start.isoformat(), "periodEnd": (start + timedelta(hours=1)).isoformat()}
        await office.call("grantBonus", **mine, amount=self._dollars(5_000), promotion="summer")
        (bonus,) = (await office.call("grantContract", **mine, amount=self._dollars(70), contract="EC-1"))[
            "transactions"
        ]
        for number in range(self._times):
            usage = [request(f"{self._days}-{number}", at=start.isoformat(), cost=self._dollars(3))]
            await office.call("recordUsage", **mine, requests=usage)
        await office.call("openHold", **mine, **machine, amount=self._dollars(40), **hour)
        await office.call("settleHold", **mine, **machine, used=self._dollars(30 if self._days % 2 else 45))
        await office.call(
            "openHold", **mine, **machine | {"refId": f"open {self._days}"}, amount=self._dollars(20), **hour
        )
        correction = {"amount": self._dollars(11), "description": "An instance was late", "corrects": bonus["id"]}
        await office.call("correctBalance", **mine, **correction)
        volume = {"refType": "VOLUME", "refId": f"v-{self._days}", "gib": self._times, "pricePerGibDay": "0.25"}
        await office.call("setVolume", **mine, **volume)
        key = await office.manager(self.account)
        urls = {"successUrl": "https://console.example/ok", "cancelUrl": "https://console.example/no"}
        await office.call("createTopUp", key, amount=self._dollars(2_000), **urls)
        await office.call(
            "setAutoRecharge", key, threshold=self._dollars(10), amount=self._dollars(500), dailyLimit="99999.00"
        )
        for scope in ({}, {"apiKeyId": "k-1"}, {"project": "p"}):
            await office.call("setSpendLimit", key, **scope, amount=self._dollars(9_900), window="MONTH")
        await office.call("setCompanyDetails", key, name=f"Company {self.account}", addressLines=["Street"], taxId="1")
        await self._attempt()

    async def _attempt(self) -> None:
        """A payment under way: what was charged today."""
        number, now = number_of(self.account), self._office.now
        row = RechargeAttemptRow(
            f"rch_{number}_{self._days}", number, "succeeded", 5 * 10**9 * self._times, 10**9, f"cus_{number}", "pm_1",
            f"pi_{number}_{self._days}", now, now, now, 1, now, None,
        )  # fmt: skip
        async with self._office.services.database.write() as connection:
            await insert_attempt(connection, row)

    async def answers(self) -> list[Any]:
        """Everything that the API says of the account."""
        office = self._office
        # Otherwise they are written half a minute later, between two answers of a slow machine.
        await office.services.authenticator.flush_last_used()
        found: list[Any] = [await office.query(question, id=self.account) for question in _QUESTIONS]
        shown = found[0]["account"]
        rows = [*shown["transactions"]["nodes"][:3], *shown["charges"]["nodes"][:3], *shown["spendLimits"]]
        for row in rows:
            kind = _KINDS[row["id"].split("_")[0]]
            node = f"query ($id: ID!) {{ node(id: $id) {{ ... on {kind} {{ {_everything(kind)} }} }} }}"
            found.append(await office.query(node, id=row["id"]))
        headers = {"Authorization": f"Bearer {office.keys['operator']}"}
        for path in _REST:
            address = f"{office.url}{path}{'&' if '?' in path else '?'}account={self.account}"
            async with office.session.get(address, headers=headers) as answer:
                assert answer.status == 200, await answer.text()
                found.append(await answer.text())
        return found


@pytest.fixture
async def office(database_url: str) -> AsyncIterator[Office]:
    # One question asks for everything of two accounts, which is more than a client may ask for at once.
    async with (
        standing_in() as stand_in,
        opened(database_url, max_cost=100_000, operator_points_per_second=10_000_000, **settings(stand_in)) as office,
    ):
        yield office


async def _work(office: Office) -> None:
    """Runs the worker's jobs that need no Stripe."""
    for job in build_jobs(office.services.settings, office.services.database, None, office.clock):
        await job.run()


async def test_the_life_of_one_account_changes_nothing_that_is_said_of_another(office: Office) -> None:
    lives = [_Life(office, await office.account(), times) for times in (1, 7)]
    for life in lives:
        await life.day()
    for index in (0, 1, 0):
        before = await lives[index].answers()
        await lives[1 - index].day()
        assert await lives[index].answers() == before
    office.now += DAY
    await _work(office)
    of_each = [await life.answers() for life in lives]
    assert lives[0].account not in str(of_each[1])
    assert lives[1].account not in str(of_each[0])
    both = "query ($one: ID!, $two: ID!) { one: account(id: $one) { ...all } two: account(id: $two) { ...all } }"
    both += f" fragment all on Account {{ {_everything('Account')} }}"
    together = await office.query(both, one=lives[0].account, two=lives[1].account)
    assert together == {"one": of_each[0][0]["account"], "two": of_each[1][0]["account"]}


async def test_every_read_of_account_data_names_its_account(office: Office, backend: str) -> None:
    life = _Life(office, await office.account(), 2)
    with watched(office.services.database) as sent:
        await life.day()
        await life.answers()
    dialect = "postgres" if backend == "postgresql" else "sqlite"
    found = {statement: tables for statement, _ in sent if (tables := unbounded_tables(statement, dialect))}
    assert found == {}
    assert sum("transactions" in statement for statement, _ in sent) > 20


@pytest.mark.parametrize(
    ("statement", "tables"),
    [
        ("SELECT seq FROM transactions AS t WHERE t.account_id = $1::BIGINT AND (seq = 1 OR seq = 2)", []),
        ("SELECT seq FROM transactions WHERE account_id = ANY ($1::BIGINT[])", []),
        ("SELECT t.seq FROM transactions AS t JOIN accounts AS a ON a.id = t.account_id WHERE a.id = $1", []),
        ("SELECT seq FROM transactions WHERE (account_id, seq) IN ((SELECT * FROM unnest($1, $2)))", []),
        ("SELECT seq FROM transactions WHERE account_id = $1 OR seq = 1", ["transactions"]),
        ("SELECT t.seq FROM transactions AS t JOIN accounts AS a ON a.id = t.account_id", ["transactions", "accounts"]),
        (
            "SELECT (SELECT sum(a.sends) FROM recharge_attempts AS a, top_ups AS t WHERE a.account_id = t.account_id)",
            ["recharge_attempts", "top_ups"],
        ),
    ],
)
def test_a_read_without_its_account_is_found(statement: str, tables: list[str]) -> None:
    assert unbounded_tables(statement, "postgres") == tables
