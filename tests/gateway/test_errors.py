from __future__ import annotations

import pytest

from db import errors
from gateway.errors import STATUS, problem_of
from ledger.errors import BillingError


@pytest.mark.parametrize(
    ("kind", "code", "status"),
    [
        (errors.DatabaseUnavailable, "UNAVAILABLE", 503),
        (errors.DatabaseFull, "UNAVAILABLE", 503),
        (errors.TransactionConflict, "UNAVAILABLE", 503),
        (errors.StatementTimeout, "QUERY_TOO_COMPLEX", 400),
        (errors.NumberOutOfRange, "BAD_USER_INPUT", 400),
        (errors.DuplicateKey, "INTERNAL", 500),
        (errors.SchemaMismatch, "UNAVAILABLE", 503),
    ],
)
def test_each_database_error_has_its_code(kind: type[errors.DatabaseError], code: str, status: int) -> None:
    problem = problem_of(kind("with a detail for operators"))
    assert (problem.code, STATUS[problem.code]) == (code, status)
    assert "detail" not in problem.message


def _codes(kind: type[BillingError]) -> set[str]:
    own = {kind.code} if "code" in vars(kind) else set()
    return own.union(*map(_codes, kind.__subclasses__()))


def test_each_code_has_a_status() -> None:
    assert _codes(BillingError) - set(STATUS) == set()
