"""Points against CPU, for random operations on an account of 2,000 rows. Only at night: other load disturbs it."""

from __future__ import annotations

import statistics
import time
from random import Random
from typing import Any, Final, NamedTuple

import pytest
from graphql import OperationType

from ledger.commands import Entry, Posting, Writer
from ledger.kinds import TransactionType, WriterKind
from ledger.money import NANOS
from schema.build import graphql_schema
from tests.doses import IS_NIGHTLY
from tests.execution.operations import OperationWriter, Vocabulary, Written
from tests.gateway.mutations.office import Office, number_of, opened

OPERATIONS: Final = 300
ROUNDS: Final = 4
"""The least CPU counts; the first round, in which the document is new, does not."""
ROWS: Final = 2_000
FACTOR: Final = 3

VOCABULARY: Final = Vocabulary(
    scalars={
        "ID": ["acct_1"],
        "String": ["bonus"],
        "Int": [1, 10, 50, 100, 300, 1_000],
        "Boolean": [True],
        "DateTime": ["2026-06-01T00:00:00Z"],
        "BigInt": ["12"],
        "Decimal": ["1.00"],
        "Date": ["2026-06-01", "2026-11-01"],
        "YearMonth": ["2026-10"],
    },
    arguments={"account.id": ["acct_1"], "accountId": ["acct_1"], "transaction.id": ["txn_1_100"]},
    weights={"account": 6, "nodes": 4, "transactions": 4, "usage": 3, "charges": 3, "explanation": 2}
    | {"__schema": 0, "__type": 0, "after": 0, "before": 0},
)


class Measured(NamedTuple):
    points: int
    seconds: float
    """CPU of the process: gateway, SQLite and the test's own client."""
    text: str


async def _filled(office: Office) -> None:
    account = number_of(await office.account())
    entries = [Entry(TransactionType.BONUS, number * NANOS, "Bonus") for number in range(1, ROWS + 1)]
    await office.services.ledger.post(Posting(account, Writer(WriterKind.SERVICE, "tests"), entries, "grantBonus"))


async def _answered(office: Office, text: str, name: str | None, variables: dict[str, Any]) -> tuple[Any, float]:
    body = {"query": text, "operationName": name, "variables": variables, "extensions": {"cost": True}}
    headers = {"Authorization": f"Bearer {office.keys['operator']}"}
    began = time.process_time()
    async with office.session.post(f"{office.url}/graphql", json=body, headers=headers) as response:
        content = await response.json()
    return content, time.process_time() - began


async def _measured(office: Office, written: Written, variables: dict[str, Any]) -> Measured | None:
    """Returns None for an operation that is refused."""
    answer, _ = await _answered(office, written.text, written.name, variables)
    if "errors" in answer:
        return None
    took = [(await _answered(office, written.text, written.name, variables))[1] for _ in range(1, ROUNDS)]
    return Measured(answer["extensions"]["cost"]["points"], min(took), written.text)


async def _measured_at_random(office: Office) -> list[Measured]:
    found: list[Measured] = []
    for number in range(2 * OPERATIONS):
        writer = OperationWriter(graphql_schema(), VOCABULARY, Random(number))
        written = writer.write(OperationType.QUERY)
        one = await _measured(office, written, writer.values())
        found += [] if one is None else [one]
    return found[:OPERATIONS]


@pytest.mark.skipif(not IS_NIGHTLY, reason="measures CPU, which other load on the machine changes")
async def test_no_operation_takes_far_more_cpu_than_its_points_pay_for(sqlite_file_url: str) -> None:
    """Points are worked out before anything runs, so an operation that finds nothing takes less than it pays for."""
    # The bounds of a key would end the test early.
    async with opened(sqlite_file_url, operator_points_per_second=1_000_000) as office:
        await _filled(office)
        least = min([(await _answered(office, "{ __typename }", None, {}))[1] for _ in range(20)])
        measured = await _measured_at_random(office)
        assert len(measured) == OPERATIONS
        worked = [one for one in measured if one.seconds > 1.5 * least]
        usual = statistics.median(one.points / (one.seconds - least) for one in worked)
        dear = [one for one in worked if one.points / (one.seconds - least) < usual / FACTOR]
        assert len(dear) <= len(worked) // 20, dear
