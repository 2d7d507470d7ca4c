from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from db.verification_runs import VerificationRunRow, newest_run
from ledger.verification import nightly
from ledger.verification.nightly import NightlyVerification
from tests.ledger.desk import DAY, HOUR, START, Desk
from tests.ledger.verification.filled import Filled


@pytest.fixture
def logged() -> Iterator[list[Any]]:
    with capture_logs() as logs:
        yield logs


async def _stored(desk: Desk) -> tuple[str, int, int, bool] | None:
    """(day, accounts, faults, whether it is finished) of the newest run."""
    run = await newest_run(desk.database)
    return run and (str(run.day), run.accounts, run.faults, run.finished_at is not None)


async def test_each_day_from_the_hour_on_all_accounts_are_verified_once(desk: Desk) -> None:
    for _ in range(3):
        await desk.account("1.00")
    verification = NightlyVerification(desk.database, 3, lambda: desk.now)
    desk.now = START + 2 * HOUR
    assert await verification.run() == 0
    desk.now = START + 3 * HOUR
    assert [await verification.run(), await verification.run()] == [3, 0]
    assert await _stored(desk) == ("2026-11-01", 3, 0, True)
    restarted = NightlyVerification(desk.database, 3, lambda: desk.now)
    assert await restarted.run() == 0, "the day's run is complete"
    desk.now = START + DAY + 2 * HOUR
    assert await restarted.run() == 0
    desk.now = START + DAY + 5 * HOUR
    assert await restarted.run() == 3
    assert await _stored(desk) == ("2026-11-02", 3, 0, True)


async def test_negative_hour_disables_verification(desk: Desk) -> None:
    await desk.account("1.00")
    assert await NightlyVerification(desk.database, -1, lambda: desk.now).run() == 0
    assert await _stored(desk) is None


async def test_a_run_goes_on_where_it_was_interrupted(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nightly, "ROUND_SECONDS", 0.000_001)
    for _ in range(3):
        await desk.account("1.00")
    desk.now = START + 4 * HOUR
    assert await NightlyVerification(desk.database, 3, lambda: desk.now).run() == 1
    assert await _stored(desk) == ("2026-11-01", 1, 0, False)
    # The next day has begun, but what was begun is completed first.
    desk.now += DAY
    rounds = [await NightlyVerification(desk.database, 3, lambda: desk.now).run() for _ in range(3)]
    assert rounds == [1, 1, 0]
    assert await _stored(desk) == ("2026-11-01", 3, 0, True)
    await NightlyVerification(desk.database, 3, lambda: desk.now).run()
    assert await _stored(desk) == ("2026-11-02", 1, 0, False)


async def test_faults_are_logged_counted_and_told(ledger: Filled, logged: list[Any]) -> None:
    desk, told = ledger.desk, list[VerificationRunRow]()
    await desk.execute(f"UPDATE accounts SET balance_nanos = 5 WHERE id = {ledger.imported}")
    await desk.execute("UPDATE idempotent_acts SET last_seq = 99")
    await NightlyVerification(desk.database, 0, lambda: desk.now, told.append).run()
    faults = [(one["kind"], one["account"], one["row"]) for one in logged if one["event"] == "ledger fault"]
    assert faults == [
        ("head", f"acct_{ledger.imported}", f"acct_{ledger.imported}"),
        ("idempotency", f"acct_{ledger.busy}", "createAccount first"),
    ]
    assert [one["log_level"] for one in logged if one["event"] == "ledger fault"] == ["error", "error"]
    assert [(one["accounts"], one["faults"]) for one in logged if one["event"] == "all accounts verified"] == [(3, 2)]
    assert (told[-1].faults, told[-1].finished_at) == (2, desk.now)
    recalled = list[VerificationRunRow]()
    await NightlyVerification(desk.database, 0, lambda: desk.now, recalled.append).run()
    assert recalled == [told[-1]], "a worker that starts tells of the last complete run"
