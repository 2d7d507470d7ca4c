"""Rows read with a few columns alone: the others can't be read by mistake."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from db.rows import ColumnNotRead, TransactionRow, named, row_of

NAMES = ("account_id", "seq", "description")
ROW = named(row_of(TransactionRow, NAMES), [(7, 3, "text")])[0]


def test_columns_are_read_by_name() -> None:
    assert (ROW.account_id, ROW.seq, ROW.description) == (7, 3, "text")
    assert isinstance(ROW, TransactionRow)
    assert repr(ROW) == "TransactionRow(account_id=7, seq=3, description='text')"


@pytest.mark.parametrize("name", [name for name in TransactionRow._fields if name not in NAMES])
def test_reading_an_unread_column_raises(name: str) -> None:
    with pytest.raises(ColumnNotRead, match=name):
        getattr(ROW, name)
    with pytest.raises(ColumnNotRead, match=name):
        getattr(ROW, name, None)


@pytest.mark.parametrize(
    "read",
    [
        lambda row: row[2],
        lambda row: row[1:3],
        list,
        len,
        hash,
        lambda row: row == (7, 3, "text"),
        lambda row: row != (7, 3, "text"),
        lambda row: row < (8,),
        lambda row: 3 in row,
        lambda row: (*row, 1),
        lambda row: row + (1,),  # noqa: RUF005
        lambda row: row * 2,
        lambda row: row._replace(seq=4),
        lambda row: row._asdict(),
        lambda row: row.index(3),
        lambda row: row.count(3),
    ],
)
def test_reading_by_position_raises(read: Callable[[TransactionRow], object]) -> None:
    assert ROW
    with pytest.raises(ColumnNotRead):
        read(ROW)
