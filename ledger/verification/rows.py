"""Rows: recounts the rows of an account in order, from the first on."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime

from db.folding import folded_column
from db.recount.ledger_rows import StoredAccount, StoredTransaction
from db.rows import TransactionRow
from ledger.account_state import cost_increment
from ledger.chain import GENESIS, format_time, row_hash
from ledger.ids import account_id_text, transaction_id_text
from ledger.kinds import RESOURCES, RefType
from ledger.money import format_nanos
from ledger.verification.costs import HourlyCosts
from ledger.verification.faults import FaultKind, Faults, differences

_ATTRIBUTED = frozenset({RefType.API_USAGE, *RESOURCES})


class Costs:
    """Sums of the rows of one month."""

    __slots__ = ("gross_nanos", "refunded_nanos")

    def __init__(self) -> None:
        self.gross_nanos = 0
        self.refunded_nanos = 0


class Rows:
    """The rows read so far. If a row is faulty, later rows are compared with its stored values."""

    def __init__(self, faults: Faults) -> None:
        self.hours = HourlyCosts(faults.account_id)
        self._faults = faults
        self.count = 0
        self.seq = 0
        self.at: datetime | None = None
        self.hash = GENESIS
        self.balance_nanos = 0
        self.months: dict[str, Costs] = defaultdict(Costs)

    def take(self, stored: StoredTransaction) -> None:
        row = stored.row
        self._check_place(row)
        self._check_figures(row)
        self._check_texts(stored)
        self._check_attribution(row)
        self.count += 1
        self.seq, self.at, self.hash, self.balance_nanos = row.seq, row.created_at, row.hash, row.balance_after_nanos
        increment = cost_increment(row)
        self.hours.take(row, increment)
        if increment is not None:
            costs = self.months[increment.month]
            costs.gross_nanos += increment.gross_nanos
            costs.refunded_nanos += increment.refunded_nanos

    def _check_place(self, row: TransactionRow) -> None:
        name = transaction_id_text(row.account_id, row.seq)
        if row.seq != self.seq + 1:
            missing = transaction_id_text(row.account_id, self.seq + 1)
            self._faults.add(FaultKind.SEQ, missing, f"the row is missing: the next row is {name}")
        if self.at is not None and row.created_at < self.at:
            message = f"created_at is {format_time(row.created_at)}, before the row before it: {format_time(self.at)}"
            self._faults.add(FaultKind.TIME, name, message)

    def _check_figures(self, row: TransactionRow) -> None:
        name = transaction_id_text(row.account_id, row.seq)
        balance = self.balance_nanos + row.amount_nanos
        if row.balance_after_nanos != balance:
            message = f"balance_after is {format_nanos(row.balance_after_nanos)}, expected {format_nanos(balance)}"
            self._faults.add(FaultKind.BALANCE, name, message)
        expected = row_hash(self.hash, row)
        if row.hash != expected:
            message = f"hash is {row.hash.hex()}, expected {expected.hex()}: this row was changed, or the one before it"
            self._faults.add(FaultKind.HASH, name, message)

    def _check_attribution(self, row: TransactionRow) -> None:
        if (row.api_key or row.project) and row.ref_type not in _ATTRIBUTED:
            message = "the row has an API key or a project, but it is neither of API usage nor of a resource"
            self._faults.add(FaultKind.COST, transaction_id_text(row.account_id, row.seq), message)

    def _check_texts(self, stored: StoredTransaction) -> None:
        row = stored.row
        expected = folded_column(row.description), folded_column(row.ref_id)
        if stored.folded != expected:
            message = f"{stored.folded} is stored for searches, expected {expected}"
            self._faults.add(FaultKind.SEARCH_TEXT, transaction_id_text(row.account_id, row.seq), message)


def check_account(stored: StoredAccount, newest: Rows, beyond: int | None, faults: Faults) -> None:
    """Compares the head with the newest row that was read. `beyond` is a row after the head."""
    row, name = stored.row, account_id_text(stored.row.id)
    if newest.seq < row.head_seq:
        missing = transaction_id_text(row.id, newest.seq + 1)
        faults.add(FaultKind.SEQ, missing, f"the row is missing: the head is at {row.head_seq}")
    if beyond is not None:
        message = f"the row is newer than the head, which is at {row.head_seq}"
        faults.add(FaultKind.SEQ, transaction_id_text(row.id, beyond), message)
    head = {
        "head_seq": row.head_seq,
        "head_at": row.head_at,
        "head_hash": row.head_hash,
        "balance_nanos": row.balance_nanos,
    }
    expected = dict(
        zip(head, (newest.seq, newest.at, newest.hash if newest.seq else None, newest.balance_nanos), strict=True)
    )
    if different := differences(head, expected):
        faults.add(FaultKind.HEAD, name, f"the head does not match the newest row: {different}")
    texts = folded_column(row.name), folded_column(row.external_id)
    if stored.folded != texts:
        faults.add(FaultKind.SEARCH_TEXT, name, f"{stored.folded} is stored for searches, expected {texts}")
