"""What the log and the metrics say of a request: its account, its operation, and the codes of its errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from db.errors import DatabaseUnavailable
from tests.gateway.mutations.office import Office

Line = dict[str, Any]


@contextmanager
def request_lines() -> Iterator[list[Line]]:
    """The lines of the requests that are answered meanwhile, only with what they are about."""
    lines: list[Line] = []
    with capture_logs() as logs:
        yield lines
    about = ("status", "key", "account", "operation", "codes")
    lines += [{name: line[name] for name in about} for line in logs if line["event"] == "request"]


def count(office: Office, status: int, code: str) -> float:
    office.services.metrics.text()
    labels = {"route": "/graphql", "method": "POST", "status": str(status), "code": code}
    return office.services.metrics.registry.get_sample_value("billing_http_requests_total", labels) or 0


GRANT = """mutation Grant($input: GrantBonusInput!) { grantBonus(input: $input) { balance } }"""


def grant(account: str) -> Line:
    return {"input": {"idempotencyKey": "1", "accountId": account, "amount": "1.00", "promotion": "P"}}


async def test_a_line_names_the_account_and_the_operation(office: Office) -> None:
    account = await office.account("5.00")
    service, manager = office.keys["service"], await office.manager(account)
    with request_lines() as lines:
        await office.send("query Balance { account { balance } }", manager)
        await office.send("{ account { balance } }", manager)
        await office.send(GRANT, service, grant(account))
        await office.send("query($id: ID) { account(id: $id) { id } }", office.keys["operator"], {"id": account})
    told = [(line["key"], line["account"], line["operation"], line["codes"]) for line in lines]
    assert told == [
        (manager[:12], account, "Balance", []),
        (manager[:12], account, None, []),
        (service[:12], account, "Grant", []),
        (office.keys["operator"][:12], account, None, []),
    ]
    assert count(office, 200, "") == 4


async def test_an_operation_on_several_accounts_names_none(office: Office) -> None:
    one, two = await office.account(), await office.account()
    with request_lines() as lines:
        await office.query(f'{{ a: account(id: "{one}") {{ id }} b: account(id: "{two}") {{ id }} }}')
        await office.query(f'{{ account(id: "{two}") {{ id }} }}')
    assert [line["account"] for line in lines] == [None, two]


async def test_a_refused_mutation_says_so_with_status_200(office: Office) -> None:
    account = await office.account()
    manager = await office.manager(account)
    with request_lines() as lines:
        answer = await office.send(GRANT, manager, grant(account))
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["FORBIDDEN"]
    expected = {"status": 200, "key": manager[:12], "account": account, "operation": "Grant", "codes": ["FORBIDDEN"]}
    assert lines == [expected]
    assert (count(office, 200, "FORBIDDEN"), count(office, 200, "")) == (1, 0)


async def test_every_code_of_an_answer_is_listed_once(office: Office) -> None:
    with request_lines() as lines:
        await office.send(
            '{ a: account(id: "acct_99") { id } b: account { id } c: account(id: "x") { id } }', office.keys["operator"]
        )
        await office.send("{ nothing }", office.keys["operator"])
        await office.send("{ viewer { scope } }", None)
        await office.send("{ viewer { scope } }", office.keys["operator"])
    codes = [sorted(line["codes"]) for line in lines]
    assert codes == [["BAD_USER_INPUT", "NOT_FOUND"], ["GRAPHQL_VALIDATION_FAILED"], ["UNAUTHENTICATED"], []]


async def test_an_answer_of_200_that_says_unavailable_has_its_code(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = await office.account()

    async def away(*_: object, **__: object) -> None:
        raise DatabaseUnavailable("away")

    monkeypatch.setattr(type(office.services.ledger), "post_shared", away)
    with request_lines() as lines:
        answer = await office.send(GRANT, office.keys["service"], grant(account))
    assert answer["errors"][0]["extensions"]["code"] == "UNAVAILABLE"
    assert [(line["status"], line["codes"]) for line in lines] == [(200, ["UNAVAILABLE"])]
    assert count(office, 200, "UNAVAILABLE") == 1


async def test_a_long_name_makes_no_long_line(office: Office) -> None:
    name = "N" * 900_000
    with request_lines() as lines:
        await office.send(f"query {name[:60_000]} {{ __typename }}", office.keys["operator"])
        headers = {"Authorization": f"Bearer {office.keys['operator']}"}
        body = {"query": "{ __typename }", "operationName": name}
        async with office.session.post(f"{office.url}/graphql", json=body, headers=headers) as response:
            assert response.status == 200
    assert [line["operation"] for line in lines] == ["N" * 100 + "…"] * 2
