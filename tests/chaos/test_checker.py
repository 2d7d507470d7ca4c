"""The checker of `make chaos` reports each kind of planted fault, and nothing of a history that is right."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.chaos.checker import problems
from tests.chaos.history import Answer, Fault, History, Read, Row, Stored, Stream

ROWS = [Row(f"txn_1_{number}", "1.00", f"{number}.00") for number in range(1, 5)]


def history() -> History:
    """Row 1 is that of another writer; call-2 to call-4 wrote the others, and call-4 was not answered."""
    return History(
        answers=[
            Answer("grantBonus", 0.0, 0.1),
            Answer("grantBonus", 10.5, 12.0, "UNAVAILABLE"),
            Answer("balance", 16.9, 17.0, "ServerDisconnectedError"),
        ],
        acknowledged={"call-2": ROWS[1], "call-3": ROWS[2]},
        reads=[Read("acct_1", ROWS[2], "3.00")],
        streams={"stream-1": Stream("acct_1", list(ROWS))},
        faults=[Fault("database hung", 10.0, 12.0, 300.0), Fault("flood", 70.0, 75.0, 320.0)],
        stored=[Stored(row, "acct_1", f"call-{number}" if number > 1 else "") for number, row in enumerate(ROWS, 1)],
    )


def test_a_right_history_has_no_problem() -> None:
    assert problems(history()) == []


def _lose_a_row(of: History) -> None:
    del of.stored[2], of.streams["stream-1"].received[2]
    of.reads.clear()


def _double_a_row(of: History) -> None:
    of.stored[3] = of.stored[3]._replace(call="call-3")


def _invent_a_balance(of: History) -> None:
    of.reads[0] = of.reads[0]._replace(balance="2.50")


def _read_a_row_that_was_rolled_back(of: History) -> None:
    of.reads[0] = Read("acct_1", Row("txn_1_3", "7.00", "9.00"), "9.00")


def _miss_a_row(of: History) -> None:
    del of.streams["stream-1"].received[1]


def _receive_a_row_twice(of: History) -> None:
    of.streams["stream-1"].received.insert(1, ROWS[0])


def _swap_rows(of: History) -> None:
    received = of.streams["stream-1"].received
    received[1], received[2] = received[2], received[1]


def _fail_too_late(of: History) -> None:
    of.answers.append(Answer("rest", 17.1, 17.2, "UNAVAILABLE"))


def _fail_before_all(of: History) -> None:
    of.answers.append(Answer("rest", 1.0, 2.0, "TimeoutError"))


def _fail_internally(of: History) -> None:
    of.answers.append(Answer("rest", 11.0, 11.1, "INTERNAL"))


def _grow(of: History) -> None:
    of.faults[1] = of.faults[1]._replace(memory_mib=361.0)


@pytest.mark.parametrize(
    ("plant", "found"),
    [
        (_lose_a_row, "call-3 was acknowledged as txn_1_3 and is not stored"),
        (_double_a_row, "call-3 is stored 2 times: txn_1_3, txn_1_4"),
        (_invent_a_balance, "acct_1 was read with 2.50 after txn_1_3, a balance that it never had"),
        (_read_a_row_that_was_rolled_back, "acct_1 was read with 9.00 after txn_1_3, a balance that it never had"),
        (_miss_a_row, "stream-1 missed 1 rows, txn_1_2 first"),
        (_receive_a_row_twice, "stream-1 received 1 rows twice, txn_1_1 first"),
        (_swap_rows, "stream-1 received rows in another order, or rows that are not stored"),
        (_fail_too_late, "rest failed with UNAVAILABLE at 17.1 s, 5.1 s after the end of: database hung"),
        (_fail_before_all, "rest failed with TimeoutError at 1.0 s, before any fault"),
        (_fail_internally, "rest was answered with INTERNAL"),
        (_grow, "the gateways grew by 61 MiB from 300 MiB"),
    ],
)
def test_a_planted_fault_is_reported(plant: Callable[[History], None], found: str) -> None:
    spoilt = history()
    plant(spoilt)
    assert problems(spoilt) == [found]
