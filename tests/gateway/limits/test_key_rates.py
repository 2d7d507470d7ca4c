"""The rate of one key, which an operator sets in place of that of its scope."""

from __future__ import annotations

from typing import Any

from access.keys import KeyScope, NewKey
from tests.gateway.command_line import run
from tests.gateway.mutations.office import Office, number_of
from tests.ledger.desk import DAY

KEY = "apiKey { prefix pointsPerSecond burst } replayed"


async def _policy(office: Office, key: str) -> str:
    headers = {"Authorization": f"Bearer {key}"}
    async with office.session.post(
        f"{office.url}/graphql", json={"query": "{ __typename }"}, headers=headers
    ) as answer:
        return answer.headers["RateLimit-Policy"]


async def _set(office: Office, prefix: str, **given: Any) -> Any:
    told = await office.call("setApiKeyRate", None, KEY, prefix=prefix, **given)
    office.now += DAY  # keys that the gateway has cached are read anew
    return told["apiKey"]


async def test_an_operator_sets_the_rate_of_a_key(office: Office) -> None:
    account = await office.account()
    key = await office.key(NewKey(KeyScope.READ, "tests", number_of(account)))
    prefix = key[:12]
    assert await _policy(office, key) == '"points";q=100000;w=10'

    changed = await _set(office, prefix, pointsPerSecond=300, idempotencyKey="a")
    assert changed == {"prefix": prefix, "pointsPerSecond": 300, "burst": 3000}
    assert await _policy(office, key) == '"points";q=3000;w=10'
    assert (await office.call("setApiKeyRate", None, KEY, prefix=prefix, pointsPerSecond=300, idempotencyKey="a"))[
        "replayed"
    ]
    await _set(office, prefix, pointsPerSecond=50_000, burst=1_000_000_000)
    assert await _policy(office, key) == '"points";q=1000000000;w=20000'

    rotated = await office.call("rotateApiKey", None, f"{KEY} secret replaced {{ prefix }}", prefix=prefix)
    assert rotated["apiKey"] | {"prefix": ""} == {"prefix": "", "pointsPerSecond": 50_000, "burst": 1_000_000_000}
    new = rotated["secret"]
    assert await _policy(office, new) == '"points";q=1000000000;w=20000'
    assert await _set(office, new[:12]) == {"prefix": new[:12], "pointsPerSecond": None, "burst": None}
    assert await _policy(office, new) == '"points";q=100000;w=10'

    answer = await office.query("{ auditEntries(first: 3) { nodes { act account { id } oldValue newValue } } }")
    own = "50000 points a second, 1000000000 at once"
    entry = {"act": "setApiKeyRate", "account": {"id": account}, "oldValue": own, "newValue": "the rate of its scope"}
    assert answer["auditEntries"]["nodes"][0] == entry


async def test_a_rate_that_cannot_be_is_refused(office: Office) -> None:
    prefix = office.keys["service"][:12]
    refused = "BAD_USER_INPUT"
    for given, code, message in (
        ({"pointsPerSecond": 0}, refused, "pointsPerSecond must be between 1 and 100000000"),
        ({"pointsPerSecond": 1, "burst": 2_000_000_000}, refused, "burst must be between 1 and 1000000000"),
        ({"burst": 5}, refused, "burst requires pointsPerSecond"),
        ({"prefix": "eco_aaaaaaaa", "pointsPerSecond": 1}, "NOT_FOUND", "there is no key eco_aaaaaaaa"),
    ):
        found = await office.refusal("setApiKeyRate", None, **{"prefix": prefix} | given)
        assert found == (code, message)


def test_the_command_line_sets_and_lists_the_rate(database_url: str) -> None:
    key = run("keys", "create", "--scope", "service", "--owner", "meter", url=database_url).strip()
    set_rate = ("keys", "set-rate", key[:12])
    told = run(*set_rate, "--points-per-second", "500", "--burst", "700", url=database_url)
    assert told == f"{key[:12]} may spend 500 points a second, 700 at once\n"
    assert run("keys", "list", url=database_url).rstrip("\n").split("\t")[-2:] == ["500", "700"]
    assert run(*set_rate, url=database_url) == f"{key[:12]} has the rate of its scope\n"
    assert run("keys", "list", url=database_url).rstrip("\n").split("\t")[-2:] == ["", ""]
    assert "--burst requires" in run(*set_rate, "--burst", "7", url=database_url, status=2)
