"""A customer checks the ledger with nothing but its rows as REST serializes them."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.rows import TransactionRow
from ledger.chain import GENESIS, canonical_text, format_time, row_hash
from ledger.money import MAX_NANOS, MIN_NANOS
from tests.ledger.desk import GPU, OPERATOR, START, Desk, api_usage, correction, open_hold, settle, usd
from tests.ledger.recompute import COLUMNS, RestRow, as_rest, chain_breaks

ROW = TransactionRow(
    account_id=7,
    seq=2,
    created_at=datetime(2026, 11, 23, 16, 2, 40, tzinfo=UTC),
    type="gpu_usage",
    amount_nanos=-2_490_000_000,
    balance_after_nanos=135,
    description='GPU Instance #132: hold "per-GPU" × 1 GPU × 1h ☃',
    source="metering",
    ref_type="gpu_instance",
    ref_id="132",
    actor="eco_service",
    corrects_seq=1,
    period_start=datetime(2026, 11, 23, 16, tzinfo=UTC),
    period_end=None,
    hash=b"",
)


def test_canonical_text_is_as_documented() -> None:
    assert canonical_text(ROW).decode() == (
        '["txn_7_2","acct_7",2,"2026-11-23T16:02:40.000000Z","gpu_usage","-2.49","0.000000135",'
        '"GPU Instance #132: hold \\"per-GPU\\" × 1 GPU × 1h ☃","metering","gpu_instance","132","eco_service",'
        '"txn_7_1","2026-11-23T16:00:00.000000Z",null]'
    )


def test_hash_covers_the_previous_hash() -> None:
    text = canonical_text(ROW)
    assert bytes(32) == GENESIS
    assert row_hash(GENESIS, ROW) == hashlib.sha256(bytes(32) + text).digest()
    assert row_hash(b"\x01" * 32, ROW) == hashlib.sha256(b"\x01" * 32 + text).digest()


def test_times_are_formatted_in_utc() -> None:
    moment = datetime(2026, 1, 1, 1, 2, 3, 4, tzinfo=timezone(timedelta(hours=2)))
    assert format_time(moment) == "2025-12-31T23:02:03.000004Z"


MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(9998, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)


@given(
    st.builds(
        TransactionRow,
        account_id=st.integers(1, 2**63 - 1),
        seq=st.integers(1, 2**63 - 1),
        created_at=MOMENTS,
        type=st.just("bonus"),
        amount_nanos=st.integers(MIN_NANOS, MAX_NANOS),
        balance_after_nanos=st.integers(MIN_NANOS, MAX_NANOS),
        description=TEXTS,
        source=TEXTS,
        ref_type=st.none() | st.just("volume"),
        ref_id=st.none() | TEXTS,
        actor=TEXTS,
        corrects_seq=st.none() | st.integers(1, 2**63 - 1),
        period_start=st.none() | MOMENTS,
        period_end=st.none() | MOMENTS,
        hash=st.just(b""),
    )
)
def test_customer_can_check_any_row(row: TransactionRow) -> None:
    assert chain_breaks([as_rest(row._replace(hash=row_hash(GENESIS, row)))]) == []


async def _export(desk: Desk) -> list[RestRow]:
    account_id = await desk.account("10.00")
    await desk.post(account_id, open_hold(usd("2.49")))
    desk.now = START + timedelta(hours=1)
    await desk.post(account_id, settle(usd("1.00")), api_usage(135))
    await desk.post(account_id, correction(-5, "Ж — “quoted” …"), writer=OPERATOR)
    rows = await desk.rows(account_id)
    assert rows[1].ref_id == GPU.id
    return [as_rest(row) for row in rows]


async def test_posted_rows_form_a_valid_chain(desk: Desk) -> None:
    assert chain_breaks(await _export(desk)) == []


CHANGES: dict[str, Any] = {
    "id": "txn_1_99",
    "account": "acct_99",
    "seq": 99,
    "created_at": "2026-11-01T00:00:00.000001Z",
    "type": "bonus",
    "amount": "-2.5",
    "balance_after": "7.500000001",
    "description": "another",
    "source": "promotion",
    "ref_type": "volume",
    "ref_id": "133",
    "actor": "another",
    "corrects": "txn_1_1",
    "period_start": None,
    "period_end": None,
    "hash": "00" * 32,
}


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
async def test_changing_any_column_breaks_the_chain(desk: Desk) -> None:
    rows = await _export(desk)
    assert list(CHANGES) == [*COLUMNS, "hash"]
    for name, value in CHANGES.items():
        assert rows[1][name] != value
        changed = [*rows[:1], {**rows[1], name: value}, *rows[2:]]
        assert changed[1]["id"] in chain_breaks(changed), name


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
async def test_removed_or_moved_row_breaks_the_chain(desk: Desk) -> None:
    rows = await _export(desk)
    for number in range(len(rows) - 1):
        assert chain_breaks(rows[:number] + rows[number + 1 :]) != []
        assert chain_breaks([*rows[:number], rows[number + 1], rows[number], *rows[number + 2 :]]) != []
