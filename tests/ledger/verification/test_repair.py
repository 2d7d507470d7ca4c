"""Monthly figures are rebuilt from what they follow from, and nothing else is touched."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import select

from db import tables
from ledger.audit import Actor
from ledger.errors import Conflict, NotFound
from ledger.verification.repair import repair_limits, repair_months
from tests.ledger.desk import Desk, api_usage
from tests.ledger.recompute import differences
from tests.ledger.verification.filled import Filled

ACTOR = Actor("command-line", "operator")

_SPOILT = (
    "UPDATE monthly_figures SET gross_nanos = gross_nanos + 1, tokens = 0 WHERE month = '2026-11'",
    "UPDATE monthly_figures SET month = '2027-05' WHERE month = '2026-12'",
)


async def _audited(desk: Desk) -> list[tuple[str, str, str]]:
    table = tables.audit_entries.c
    found = await desk.database.read(select(table.act, table.actor, table.description).order_by(table.id))
    return [tuple(row) for row in found]


async def test_months_are_rebuilt_and_the_change_is_audited(ledger: Filled) -> None:
    desk = ledger.desk
    before = await desk.tables()
    for statement in _SPOILT:
        await desk.execute(f"{statement} AND account_id = {ledger.busy}")
    changes = await repair_months(desk.database, ledger.busy, ACTOR)
    assert sorted(changes) == ["2026-11", "2026-12", "2027-05"]
    assert await desk.tables() == before
    assert await differences(desk.database) == []
    [(action, actor, description)] = await _audited(desk)
    assert (action, actor) == ("repairMonths", "command-line")
    assert "2027-05: gross_nanos is 1000000003, expected 0" in description


async def test_months_that_fit_are_left_alone(ledger: Filled) -> None:
    assert await repair_months(ledger.database, ledger.busy, ACTOR) == {}
    assert await _audited(ledger.desk) == []


async def test_months_are_not_rebuilt_from_rows_that_do_not_fit(ledger: Filled) -> None:
    desk = ledger.desk
    await desk.execute(f"UPDATE transactions SET amount_nanos = amount_nanos - 1 WHERE account_id = {ledger.imported}")
    before = await desk.tables()
    with pytest.raises(Conflict, match=f"acct_{ledger.imported} cannot be rebuilt: .*balance"):
        await repair_months(desk.database, ledger.imported, ACTOR)
    assert await desk.tables() == before
    with pytest.raises(NotFound):
        await repair_months(desk.database, 99, ACTOR)


async def test_rows_that_are_posted_meanwhile_count(desk: Desk) -> None:
    account_id = await desk.account("1.00")

    async def post() -> None:
        for _ in range(60):
            await desk.post(account_id, api_usage(1))

    posting = asyncio.create_task(post())
    for number in range(5):
        await desk.execute(f"UPDATE monthly_figures SET gross_nanos = gross_nanos + {number}")
        await repair_months(desk.database, account_id, ACTOR)
    await posting
    assert await differences(desk.database) == []


async def test_spent_of_limits_is_added_up_anew_and_audited(ledger: Filled) -> None:
    desk = ledger.desk
    before = await desk.tables()
    assert await repair_limits(desk.database, ledger.busy, ACTOR, lambda: desk.now) == {}
    of_total = f"UPDATE spend_limits SET spent_nanos = spent_nanos + 1 WHERE number = 6 AND account_id = {ledger.busy}"
    await desk.execute(of_total)
    [change] = (await repair_limits(desk.database, ledger.busy, ACTOR, lambda: desk.now)).items()
    assert change[0] == f"limit_{ledger.busy}_6"
    assert change[1].startswith("spent_nanos is ")
    assert await desk.tables() == before
    assert [entry[:2] for entry in await _audited(desk)] == [("repairLimits", "command-line")]


async def test_limits_are_not_added_up_from_costs_that_do_not_fit(ledger: Filled) -> None:
    desk = ledger.desk
    await desk.execute(f"UPDATE cost_hours SET gross_nanos = gross_nanos + 1 WHERE account_id = {ledger.busy}")
    with pytest.raises(Conflict, match=f"the spend limits of acct_{ledger.busy} cannot be rebuilt: .*cost"):
        await repair_limits(desk.database, ledger.busy, ACTOR, lambda: desk.now)
