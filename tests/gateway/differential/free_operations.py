"""Queries of any shape, as the executors are compared by: fields that no other test asks for together."""

from __future__ import annotations

from typing import Final

from graphql import OperationType

from schema.build import graphql_schema
from tests.execution.operations import OperationWriter, Vocabulary
from tests.gateway.differential.calls import Operation
from tests.gateway.differential.known import Known
from tests.gateway.differential.mutations import model

_WEIGHTS: Final = {
    "account": 4,
    "accounts": 2,
    "nodes": 3,
    "transactions": 3,
    "usage": 2,
    "charges": 2,
    "charge": 2,
    "explanation": 3,
    "after": 0.2,
    "before": 0.2,
    "last": 0.4,
    "search": 0.5,
    "lastUsedAt": 0,
}
"""When a key was used last is written down now and then, and by no contract at once."""


def _vocabulary(known: Known) -> Vocabulary:
    accounts = known.accounts[-3:]
    amounts = [known.one_of(known.amounts, "1.00") for _ in range(3)]
    return Vocabulary(
        scalars={
            "ID": [known.one_of(known.ids, "acct_1") for _ in range(8)] + ["nothing"],
            "String": [known.needle() for _ in range(3)] + [model(known)],
            "Int": [1, 2, 3, 4] * 4 + [0],
            "Boolean": [True, False],
            "DateTime": [known.time() for _ in range(3)],
            "BigInt": ["0", "12", 3],
            "Decimal": [*amounts, 5],
            "Date": [known.day() for _ in range(3)],
            "YearMonth": [f"{known.now:%Y-%m}", "2026-10"],
        },
        arguments={
            "after": [known.one_of(known.all_cursors, "nothing") for _ in range(5)],
            "before": [known.one_of(known.all_cursors, "nothing") for _ in range(5)],
            "search": [known.needle() for _ in range(5)],
            "refId": [known.one_of(known.refs, ("", "", "i-1"))[2] for _ in range(3)],
            "account.id": [*accounts * 5, "nothing"],
            "accountId": [*accounts * 5, "nothing"],
            "transaction.id": [row["id"] for row in known.rows[-5:]] or ["txn_1_1"],
        },
        weights=_WEIGHTS,
    )


def free_operation(known: Known) -> Operation:
    writer = OperationWriter(graphql_schema(), _vocabulary(known), known.random)
    written = writer.write(OperationType.QUERY)
    return Operation(written.text, writer.values(), known.right_key("operator"), written.name, is_learned_from=False)
