"""Values that a column cannot have, as a damaged file or a statement by hand may leave them, end no verification."""

from __future__ import annotations

import pytest

from tests.ledger.verification.filled import Filled

_SQLITE = {
    "a time beyond the calendar": "UPDATE transactions SET created_at = 9000000000000000000 WHERE seq = 3",
    "a text for a number": "UPDATE transactions SET amount_nanos = 'much' WHERE seq = 3",
    "a short text for a digest": "UPDATE transactions SET hash = 'x' WHERE seq = 3",
}
_POSTGRESQL = {"infinity": "UPDATE transactions SET created_at = 'infinity' WHERE seq = 3"}


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize("change", _SQLITE.values(), ids=_SQLITE)
async def test_the_row_is_named_on_sqlite(ledger: Filled, change: str) -> None:
    await ledger.desk.execute("PRAGMA ignore_check_constraints = ON")
    await ledger.desk.execute(f"{change} AND account_id = {ledger.busy}")
    named = {subject for _, subject in await ledger.subjects()}
    assert f"txn_{ledger.busy}_3" in named


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
@pytest.mark.parametrize("change", _POSTGRESQL.values(), ids=_POSTGRESQL)
async def test_the_row_is_named_on_postgresql(ledger: Filled, change: str) -> None:
    await ledger.desk.execute(f"{change} AND account_id = {ledger.busy}")
    assert f"txn_{ledger.busy}_3" in {subject for _, subject in await ledger.subjects()}


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
async def test_other_tables_are_named_and_the_rest_is_verified(ledger: Filled) -> None:
    await ledger.desk.execute(f"UPDATE holds SET expired_at = 9000000000000000000 WHERE account_id = {ledger.busy}")
    await ledger.desk.execute("UPDATE monthly_figures SET tokens = tokens + 1")
    kinds = {kind for kind, _ in await ledger.subjects()}
    assert {"unreadable", "month"} <= kinds
