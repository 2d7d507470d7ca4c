"""The GraphQL endpoint with a real server: bad bodies, keys, media types, and the Billing page's statements."""

from __future__ import annotations

import gc
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from graphql import GraphQLObjectType, get_named_type, is_composite_type
from yarl import URL

from access.keys import Keys, KeyScope, NewKey
from db.connections.snapshots import Snapshot
from db.database import Database
from db.rows import UsageDayRow
from db.usage_writes import FedDay, put_usage_days
from gateway.app import build_app
from gateway.commands.options import settings_of
from gateway.services import Services, build_services
from ledger.accounts import Accounts
from ledger.commands import Command, Entry, OpenHold, Period, Posting, Ref, SettleHold, Writer
from ledger.kinds import RefType, TransactionType, WriterKind
from ledger.money import NANOS
from ledger.posting import Ledger
from tests.copies import Copies
from tests.statements import watched

OPERATIONS = Path(__file__).parents[2] / "graphql/operations"
START = datetime(2026, 11, 1, tzinfo=UTC)


@dataclass
class Gateway:
    services: Services
    session: ClientSession
    url: str
    account: str
    key: str
    operator: str

    async def post(
        self, body: bytes, key: str | None = None, content_type: str = "application/json"
    ) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {key or self.key}", "Content-Type": content_type}
        async with self.session.post(f"{self.url}/graphql", data=io.BytesIO(body), headers=headers) as response:
            return response.status, await response.json()

    async def query(self, query: str, variables: dict[str, Any] | None = None, key: str | None = None) -> Any:
        headers = {"Authorization": f"Bearer {key or self.key}"}
        body = {"query": query, "variables": variables}
        async with self.session.post(f"{self.url}/graphql", json=body, headers=headers) as response:
            return await response.json()


async def _fill(database: Database) -> tuple[int, str, str]:
    """Returns the account, its key and that of an operator."""
    row = await Accounts(database).create("One")
    for number in range(2, 11):
        await Accounts(database).create(f"Number {number}")
    keys = Keys(database)
    key = await keys.create(NewKey(KeyScope.READ, "tests", row.id))
    operator = await keys.create(NewKey(KeyScope.OPERATOR, "tests"))
    writer = Writer(WriterKind.SERVICE, "tests")
    orders = [
        Posting(row.id, writer, [Entry(TransactionType.BONUS, number * NANOS, "Bonus")], "grantBonus")
        for number in range(1, 121)
    ]
    gpu = Ref(RefType.GPU_INSTANCE, "132")
    hold = OpenHold(gpu, NANOS, "Hold for an hour", Period(START, START + timedelta(hours=1)))
    unused = SettleHold(gpu, 0, "It never ran", START)
    await Ledger(database).post(*orders, Posting(row.id, writer, [hold, unused], "openHold"))
    return row.id, key.secret, operator.secret


@pytest.fixture
async def gateway(copies: Copies) -> AsyncIterator[Gateway]:
    database_url, (account, key, operator) = await copies.of(_fill)
    services = build_services(settings_of({"database_url": database_url, "key_cache_seconds": 0}))
    runner = web.AppRunner(build_app(services), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with ClientSession() as session:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield Gateway(services, session, url, f"acct_{account}", key, operator)
    await runner.cleanup()


async def test_the_billing_page_takes_one_statement_beside_the_key_s(gateway: Gateway) -> None:
    with watched(gateway.services.database) as sent:
        answer = await gateway.query((OPERATIONS / "BillingPage.graphql").read_text())
    assert "errors" not in answer
    assert answer["data"]["account"]["balance"] == "7260.00"
    assert len(answer["data"]["account"]["transactions"]["edges"]) == 50
    assert len(sent) == 2, sent


_PINNED = {
    "AccountActivity": 3,
    "AccountKeys": 4,
    "Accounts": 3,
    "BillingPage": 2,
    "ChargeDetail": 4,
    "Charges": 2,
    "ConsolePage": 2,
    "CostTotals": 2,
    "Desk": 3,
    "Find": 3,
    "MonthCards": 2,
    "MonthKinds": 2,
    "MoreTransactions": 2,
    "Resources": 2,
    "Runway": 2,
    "SpendLimits": 2,
    "Statement": 2,
    "TransactionDetail": 3,
    "TransactionExplained": 4,
    "TransactionTotals": 2,
    "UsageByDay": 2,
    "UsageDifference": 2,
    "UsageTotals": 2,
    "Viewer": 2,
}
"""Statements of each operation, the key's look-up included."""


def _requests_there() -> int:
    """Of those made since `gc.freeze`: without it, all objects of all tests would be looked at."""
    return sum(isinstance(one, web.Request) for one in gc.get_objects())


async def test_a_request_goes_when_it_is_answered(gateway: Gateway) -> None:
    """What waits for the garbage collector instead leaves the processor's caches, and is looked through by it."""
    await gateway.query("{ __typename }")
    gc.collect()
    gc.disable()
    gc.freeze()
    try:
        for _ in range(20):
            await gateway.query("{ viewer { key { prefix } } }")
        left = _requests_there()
    finally:
        gc.unfreeze()
        gc.enable()
    # The connection may keep the last.
    assert left <= 1


async def test_a_field_alone_says_what_it_says_among_all_others(gateway: Gateway) -> None:
    """Only the columns that an operation reads are fetched: each field must have named those that it reads."""
    day = (int(gateway.account.removeprefix("acct_")), date(2026, 11, 2), "model", "chat", "platform", 1, 2, 3, 4)
    async with gateway.services.database.write() as writing:
        await put_usage_days(writing, [FedDay(UsageDayRow(*day), "rollup")])
    for connection, type_name in (("transactions", "Transaction"), ("usage", "UsageDay")):
        type_ = gateway.services.documents.schema.type_map[type_name]
        assert isinstance(type_, GraphQLObjectType)
        composite = {name for name, field in type_.fields.items() if is_composite_type(get_named_type(field.type))}
        texts = [f"{name} {{ id }}" if name in composite else name for name in type_.fields]
        found = [
            await gateway.query(f"{{ account {{ {connection}(first: 3) {{ nodes {{ {text} }} }} }} }}")
            for text in (" ".join(texts), *texts)
        ]
        whole, *alone = [answer["data"]["account"][connection]["nodes"] for answer in found]
        assert [{k: v for one in of_row for k, v in one.items()} for of_row in zip(*alone, strict=True)] == whole
        assert whole


_OTHERS = {
    *(
        "AutoRecharge",
        "BalanceChanges",
        "BillingPortal",
        "CorrectBalance",
        "CreateKey",
        "DeleteLimit",
        "DismissEvent",
        "GrantContract",
    ),
    *("Reactivate", "RevokeKey", "SetCompanyDetails", "SetLimit", "Suspend", "TopUp"),
}
"""Mutations (tests/gateway/mutations), and what goes by other transports (tests/gateway/streams)."""


def test_every_operation_is_pinned() -> None:
    assert sorted({*_PINNED, *_OTHERS}) == sorted(path.stem for path in OPERATIONS.glob("*.graphql"))


@pytest.mark.parametrize("name", sorted(_PINNED))
async def test_an_operation_takes_so_many_statements(gateway: Gateway, name: str) -> None:
    account, operator = gateway.account, name in {"AccountActivity", "AccountKeys", "Accounts", "Desk", "Find"}
    number = account.removeprefix("acct_")
    row = f"chg_{number}_121" if name == "ChargeDetail" else f"txn_{number}_122"
    variables = {"account": account, "id": row, "first": 10, "start": "2026-11-01", "end": "2026-12-01"}
    text = (OPERATIONS / f"{name}.graphql").read_text()
    # The first time in a transaction, then, where one round trip was enough, without.
    for _ in range(2):
        with watched(gateway.services.database) as sent:
            answer = await gateway.query(text, variables, key=gateway.operator if operator else None)
        assert "errors" not in answer
        assert len(sent) == _PINNED[name], sent


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
async def test_pages_of_different_filters_and_sizes_travel_together(gateway: Gateway) -> None:
    pages = "a: transactions(first: 1) { nodes { id } totalCount } b: transactions(first: 2) { nodes { id } }"
    pages += " c: transactions(filter: {types: [BONUS]}) { nodes { id } totalCount totals { count } }"
    for _ in range(2):
        with watched(gateway.services.database) as sent:
            answer = await gateway.query(f"{{ account {{ name {pages} }} }}")
        assert (
            answer["data"]["account"]["c"]["totalCount"] == answer["data"]["account"]["c"]["totals"]["count"] == "120"
        )
        assert len(sent) == 2, sent  # the key's look-up, and all else


async def test_an_operation_of_more_reads_than_travel_together_is_run_once(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = 'p%d: transactions(first: 3, filter: {amount: {gte: "%d"}}) { totalCount nodes { id } }'
    pages = " ".join(page % (number, number) for number in range(10))
    snapshot = Database.snapshot
    taken: list[bool] = []

    def noted(database: Database, *, brief: bool = False, **more: Any) -> Snapshot:
        taken.append(brief)
        return snapshot(database, brief=brief, **more)

    monkeypatch.setattr(Database, "snapshot", noted)
    answers = [await gateway.query(f"{{ account {{ {pages} }} }}") for _ in range(3)]
    assert answers[0] == answers[1] == answers[2]
    assert [len(one["nodes"]) for one in answers[0]["data"]["account"].values()] == [3] * 10
    assert taken == [False] * 3


async def test_an_operation_that_outgrows_its_single_round_trip_is_run_anew(gateway: Gateway) -> None:
    text = "query ($then: DateTime, $last: Boolean!) { account { balance(asOf: $then) transactions(first: 1) { nodes {"
    text += " id corrects @include(if: $last) { id } } } } }"
    account_id = int(gateway.account.removeprefix("acct_"))
    correction = Entry(TransactionType.ADMIN_CORRECTION, -5, "Given twice", corrects_seq=1)
    writer = Writer(WriterKind.OPERATOR, "tests")
    await gateway.services.ledger.post(Posting(account_id, writer, [correction], "correctBalance"))
    answers = [await gateway.query(text, {"last": last}) for last in (False, False, True, False)]
    assert [answer["data"]["account"]["transactions"]["nodes"][0].get("corrects") for answer in answers] == [
        None,
        None,
        {"id": f"txn_{account_id}_1"},
        None,
    ]


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
async def test_ten_aliased_accounts_take_no_more_statements(gateway: Gateway) -> None:
    fields = "{ balance monthlySummary { totalCost } transactions { nodes { id } } usage { nodes { day } } }"
    aliases = " ".join(f'a{number}: account(id: "acct_{number}") {fields}' for number in range(1, 11))
    with watched(gateway.services.database) as sent:
        answer = await gateway.query(f"{{ {aliases} }}", key=gateway.operator)
    assert "errors" not in answer
    assert len(answer["data"]["a1"]["transactions"]["nodes"]) == 50
    assert len(sent) == 2, sent


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
async def test_a_page_of_explained_rows_with_their_charges_takes_one_statement_more(gateway: Gateway) -> None:
    writer = Writer(WriterKind.SERVICE, "tests")
    period = Period(START, START + timedelta(hours=1))
    refs = [Ref(RefType.GPU_INSTANCE, f"gpu-{number}") for number in range(40)]
    account_id = int(gateway.account.removeprefix("acct_"))
    for ref in refs:
        moves: list[Command] = [OpenHold(ref, NANOS, "Hold", period), SettleHold(ref, 1, "Stopped", START)]
        await gateway.services.ledger.post(Posting(account_id, writer, moves, "openHold"))
    fields = "id explanation charge { id net transactions(first: 1) { totalCount nodes { id } } }"
    for _ in range(2):
        with watched(gateway.services.database) as sent:
            answer = await gateway.query(f"{{ account {{ transactions(first: 80) {{ nodes {{ {fields} }} }} }} }}")
        assert "errors" not in answer
        assert len({one["charge"]["id"] for one in answer["data"]["account"]["transactions"]["nodes"]}) == 40
        # The key, the page, what rows are explained from and their charges, and the rows and counts of all of these.
        assert len(sent) == 5, sent


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
async def test_stripe_s_dashboard_is_for_operators(gateway: Gateway) -> None:
    account_id = int(gateway.account.removeprefix("acct_"))
    writer = Writer(WriterKind.WEBHOOK, "tests")
    refs = [
        Ref(RefType.STRIPE_CHECKOUT_SESSION, "cs_test_a1"),
        Ref(RefType.STRIPE_CHECKOUT_SESSION, "cs_live_a1"),
        Ref(RefType.STRIPE_PAYMENT_INTENT, "pi_3"),
        Ref(RefType.STRIPE_REFUND, "re_4"),
        Ref(RefType.STRIPE_INVOICE, "in_5/../x?y"),
    ]
    topups = [Entry(TransactionType.TOPUP, NANOS, "Top-up", ref) for ref in refs]
    await gateway.services.ledger.post(Posting(account_id, writer, topups, "topup"))
    text = "query ($id: ID) { account(id: $id) { transactions(first: 6) { nodes { stripeUrl } } } }"
    links = []
    for key in (gateway.operator, gateway.key):
        answer = await gateway.query(text, {"id": gateway.account}, key=key)
        links.append([row["stripeUrl"] for row in answer["data"]["account"]["transactions"]["nodes"]])
    assert links == [
        [
            "https://dashboard.stripe.com/invoices/in_5%2F..%2Fx%3Fy",
            "https://dashboard.stripe.com/refunds/re_4",
            "https://dashboard.stripe.com/payments/pi_3",
            "https://dashboard.stripe.com/checkout/sessions/cs_live_a1",
            "https://dashboard.stripe.com/test/checkout/sessions/cs_test_a1",
            None,
        ],
        [None] * 6,
    ]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"5", b"null", b"[]", b"[" * 100_000, b'{"query": ' + b"9" * 5_000 + b"}", b"\xff", b'{"query": 5}'],
    ids=["empty", "cut", "number", "null", "batch", "deep", "long integer", "not UTF-8", "no text"],
)
@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
async def test_bad_bodies_are_refused_with_a_code(gateway: Gateway, body: bytes) -> None:
    status, answer = await gateway.post(body)
    assert (status, answer["errors"][0]["extensions"]) == (400, {"code": "BAD_USER_INPUT"})


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
async def test_other_media_types_and_large_bodies_are_refused(gateway: Gateway) -> None:
    status, answer = await gateway.post(b"{}", content_type="application/jsonx")
    assert (status, answer["errors"][0]["extensions"]) == (415, {"code": "UNSUPPORTED_MEDIA_TYPE"})
    status, answer = await gateway.post(b" " * 1_100_000)
    assert (status, answer["errors"][0]["extensions"]) == (413, {"code": "PAYLOAD_TOO_LARGE"})


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
async def test_keys_that_are_no_keys_are_refused_and_revocation_takes_effect(gateway: Gateway) -> None:
    for key in ("nonsense", "eco_aaaaaaaa_" + "A" * 32):
        status, answer = await gateway.post(b'{"query": "{ viewer { scope } }"}', key)
        assert (status, answer["errors"][0]["extensions"]) == (401, {"code": "UNAUTHENTICATED"})
    await Keys(gateway.services.database).revoke(gateway.key[:12])
    status, _ = await gateway.post(b'{"query": "{ viewer { scope } }"}')
    assert status == 401


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ("query={viewer{scope}}&query={viewer{scope}}", "query must be given once"),
        ("query={viewer{scope}}&variables={}&variables={}", "variables must be given once"),
        ("query={viewer{scope}}%23%ff", "the parameters in the address are not UTF-8"),
        ("query={viewer{scope}}%23%EF%BF", "the parameters in the address are not UTF-8"),
        ("query={viewer{scope}}%23%EF%BF%BD&other=1&other=2", None),
    ],
)
@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
async def test_parameters_in_the_address_are_read_once_and_exactly(
    gateway: Gateway, parameters: str, message: str | None
) -> None:
    url = URL(f"{gateway.url}/graphql?{parameters}", encoded=True)
    async with gateway.session.get(url, headers={"Authorization": f"Bearer {gateway.key}"}) as response:
        answer = await response.json()
    if message is None:
        assert (response.status, answer) == (200, {"data": {"viewer": {"scope": "READ"}}})
    else:
        assert (response.status, answer["errors"]) == (
            400,
            [{"message": message, "extensions": {"code": "BAD_USER_INPUT"}}],
        )


JSON, GRAPHQL_JSON = "application/json", "application/graphql-response+json"


@pytest.mark.parametrize(
    ("accept", "answered"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        ("text/html", JSON),
        (JSON, JSON),
        (GRAPHQL_JSON, GRAPHQL_JSON),
        (GRAPHQL_JSON.upper() + "; charset=utf-8", GRAPHQL_JSON),
        (f"{GRAPHQL_JSON}, {JSON}", GRAPHQL_JSON),
        (f"{JSON}, {GRAPHQL_JSON}", GRAPHQL_JSON),
        (f"{GRAPHQL_JSON}, {JSON};q=0.9", GRAPHQL_JSON),
        (f"{GRAPHQL_JSON};q=0.5, {JSON}", JSON),
        (f"{GRAPHQL_JSON};q=0.5, {JSON};q=0.4", GRAPHQL_JSON),
        (f"{GRAPHQL_JSON}; charset=utf-8; Q=0.5, */*", JSON),
        (f"{GRAPHQL_JSON};q=0, */*", JSON),
        (f"{GRAPHQL_JSON};q=0", JSON),
        (f"{JSON};q=0, {GRAPHQL_JSON};q=0.001", GRAPHQL_JSON),
        (f"{JSON};q=0, */*;q=0.1", GRAPHQL_JSON),
    ],
)
@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
async def test_the_media_type_is_the_one_that_the_client_would_rather_have(
    gateway: Gateway, accept: str, answered: str
) -> None:
    headers = {"Authorization": f"Bearer {gateway.key}", "Accept": accept}
    async with gateway.session.post(f"{gateway.url}/graphql", json={"query": "{"}, headers=headers) as response:
        assert response.headers["Content-Type"] == f"{answered}; charset=utf-8"
        assert response.status == (200 if answered == JSON else 400)


@pytest.mark.parametrize(("query", "status"), [("{ viewer { scope } }", 200), ("{", 200), (None, 400)])
@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
async def test_answers_are_not_cached(gateway: Gateway, query: str | None, status: int) -> None:
    headers = {"Authorization": f"Bearer {gateway.key}"}
    async with gateway.session.post(f"{gateway.url}/graphql", json={"query": query}, headers=headers) as response:
        assert (response.status, response.headers["Cache-Control"]) == (status, "no-store")


ELEVEN_THOUSAND_ROWS = " ".join(f"t{number}: transactions(first: 1000) {{ nodes {{ id }} }}" for number in range(11))
INVALID = "GRAPHQL_VALIDATION_FAILED"
NUMBER = "a number of 500"
COUNTED = "query ($n: Int) { account { transactions(first: $n) { totalCount } } }"
NINES = "9" * 5_000
LONG = "x" * 5_000


@pytest.mark.parametrize(
    ("query", "variables", "code", "beginning"),
    [
        (f"{{ account {{ transactions(first: {NINES}) {{ totalCount }} }} }}", {}, INVALID, NUMBER),
        (f"{{ account {{ transactions(last: -{NINES}) {{ totalCount }} }} }}", {}, INVALID, NUMBER),
        (f"{{ account {{ transactions(first: {NINES}.5) {{ totalCount }} }} }}", {}, INVALID, NUMBER),
        (
            f"query ($n: Int = {NINES}) {{ account {{ transactions(first: $n) {{ totalCount }} }} }}",
            {},
            INVALID,
            NUMBER,
        ),
        (f"{{ account {{ balance(asOf: {NINES}) }} }}", {}, INVALID, NUMBER),
        (f'{{ account {{ transactions(first: "{LONG}") {{ totalCount }} }} }}', {}, INVALID, "Int cannot represent"),
        (f"{{ {LONG} }}", {}, INVALID, "Cannot query field"),
        ("{ viewer { scope } } " + LONG, {}, "GRAPHQL_PARSE_FAILED", "Syntax Error"),
        (COUNTED, {"n": LONG}, "BAD_USER_INPUT", "Variable '$n' has invalid value"),
        (COUNTED, {"n": [NINES] * 10}, "BAD_USER_INPUT", "Variable '$n' has invalid value"),
    ],
    ids=["first", "last", "float", "default", "scalar", "string", "field", "syntax", "variable", "list"],
)
@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
async def test_values_of_any_length_are_refused_and_not_repeated_in_full(
    gateway: Gateway, query: str, variables: dict[str, Any], code: str, beginning: str
) -> None:
    answer = await gateway.query(query, variables)
    assert [error["extensions"] for error in answer["errors"]] == [{"code": code}]
    (message,) = (error["message"] for error in answer["errors"])
    assert message.startswith(beginning)
    assert len(message) <= 501


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("{", "GRAPHQL_PARSE_FAILED"),
        ("{ nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ('{ account(id: "acct_2") { id } }', "NOT_FOUND"),
        ("{ accounts { nodes { id } } }", "FORBIDDEN"),
        ("{ account { transactions(first: 0) { nodes { id } } } }", "BAD_USER_INPUT"),
        ("{ account { transactions(first: 1, last: 1) { nodes { id } } } }", "BAD_USER_INPUT"),
        ('{ account { transactions(after: "x") { nodes { id } } } }', "BAD_CURSOR"),
        ('{ account { monthlySummary(month: "2026-13") { month } } }', "BAD_USER_INPUT"),
        ("{ account { monthlySummary(month: 202611) { month } } }", "BAD_USER_INPUT"),
        ("{ account { transactions(filter: {amount: {gte: 1.5}}) { nodes { id } } } }", "BAD_USER_INPUT"),
        ("{ " + " ".join(f"a{number}: viewer {{ scope }}" for number in range(16)) + " }", "QUERY_TOO_COMPLEX"),
        ("{ " + "viewer { scope } " * 400 + "}", "QUERY_TOO_COMPLEX"),
        ("{ account { charges { nodes { " + ELEVEN_THOUSAND_ROWS + " } } } }", "QUERY_TOO_COMPLEX"),
        ('{ node(id: "chg_2_1") { id } }', "NOT_FOUND"),
        ('{ account { charges(filter: {refId: ""}) { totalCount } } }', "BAD_USER_INPUT"),
    ],
)
@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
async def test_refusals_carry_their_codes(gateway: Gateway, query: str, code: str) -> None:
    answer = await gateway.query(query)
    assert [error["extensions"] for error in answer["errors"]] == [{"code": code}]
