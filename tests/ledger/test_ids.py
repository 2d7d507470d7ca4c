from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.ids import (
    account_id_text,
    charge_id_text,
    parse_account_id,
    parse_charge_id,
    parse_transaction_id,
    transaction_id_text,
)

NUMBERS = st.integers(1, 2**63 - 1)


@given(NUMBERS, NUMBERS)
def test_ids_round_trip_through_text(account_id: int, seq: int) -> None:
    assert account_id_text(account_id) == f"acct_{account_id}"
    assert transaction_id_text(account_id, seq) == f"txn_{account_id}_{seq}"
    assert charge_id_text(account_id, seq) == f"chg_{account_id}_{seq}"
    assert parse_account_id(f"acct_{account_id}") == account_id
    assert parse_charge_id(f"chg_{account_id}_{seq}") == (account_id, seq)
    assert parse_transaction_id(f"txn_{account_id}_{seq}") == (account_id, seq)


NUMERALS = [
    "",
    "0",
    "01",
    "-1",
    "+1",
    "1.0",
    " 1",
    "1 ",
    "1\n",
    "1_0",
    "١",
    "１",
    "9223372036854775808",
    pytest.param("9" * 5000, id="long"),
]


@pytest.mark.parametrize("text", ["", "7", "acct", "acct-7", "ACCT_7", "acct7", "txn_7", "txn_7_1", " acct_7"])
def test_invalid_account_id_is_refused(text: str) -> None:
    assert parse_account_id(text) is None


@pytest.mark.parametrize("text", ["", "7_1", "txn", "txn_7", "TXN_7_1", "txn_7_1_1", "txn_7__1", "acct_7", "txn_7-1"])
def test_invalid_transaction_id_is_refused(text: str) -> None:
    assert parse_transaction_id(text) is None
    assert parse_charge_id(text.replace("txn", "chg").replace("TXN", "CHG")) is None


@pytest.mark.parametrize("numeral", NUMERALS)
def test_impossible_id_number_is_refused(numeral: str) -> None:
    assert parse_account_id(f"acct_{numeral}") is None
    assert parse_transaction_id(f"txn_{numeral}_1") is None
    assert parse_transaction_id(f"txn_1_{numeral}") is None
    assert parse_charge_id(f"chg_{numeral}_1") is None
    assert parse_charge_id(f"chg_1_{numeral}") is None


@given(st.text(max_size=30))
def test_random_text_is_not_an_id(text: str) -> None:
    account_id, transaction_id = parse_account_id(text), parse_transaction_id(text)
    assert account_id is None or account_id_text(account_id) == text
    assert transaction_id is None or transaction_id_text(*transaction_id) == text
