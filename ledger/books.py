"""What posting writes of one account, worked out in memory: its rows, and what follows from each."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import MAXYEAR, MINYEAR, datetime

from db.errors import NumberOutOfRange
from db.rows import AccountRow, ChargeRow, HoldRow, MonthlyFiguresRow, TransactionRow
from ledger.chain import GENESIS, row_hash
from ledger.errors import BadUserInput, Forbidden, NotFound
from ledger.ids import account_id_text
from ledger.kinds import SIGN, SOURCE_BY_WRITER, TransactionSource, TransactionType
from ledger.money import MAX_NANOS, format_nanos, in_range
from ledger.moves import MAX_DESCRIPTION, MAX_REF_ID, Entry, Period, Ref, Writer, checked_text

ChargeKey = tuple[int, str, str]


def month_of(moment: datetime) -> str:
    return f"{moment.year:04d}-{moment.month:02d}"


def _cost_increment(row: TransactionRow) -> MonthlyFiguresRow | None:
    month = month_of(row.created_at)
    if row.type in {TransactionType.GPU_USAGE, TransactionType.STORAGE_BILLING}:
        return MonthlyFiguresRow(row.account_id, month, gross_nanos=-row.amount_nanos)
    if row.type == TransactionType.REFUND and row.source == TransactionSource.METERING:
        return MonthlyFiguresRow(row.account_id, month, refunded_nanos=row.amount_nanos)
    return None


def sum_by_month(increments: Iterable[MonthlyFiguresRow]) -> list[MonthlyFiguresRow]:
    sums: dict[tuple[int, str], list[int]] = {}
    for one in increments:
        total = sums.setdefault(one[:2], [0] * len(one[2:]))
        for index, figure in enumerate(one[2:]):
            total[index] += figure
    for (account_id, month), total in sums.items():
        # The database checks too, but a driver can't even bind a larger number.
        if max(map(abs, total)) > MAX_NANOS:
            msg = f"the figures of {month} of {account_id_text(account_id)} leave the 64-bit range"
            raise NumberOutOfRange(msg)
    return [MonthlyFiguresRow(*key, *figures) for key, figures in sums.items()]


class Book:
    """One locked account, its head, and what is to be written for it."""

    def __init__(self, account: AccountRow) -> None:
        self.account = account
        self.head = account
        self.now = account.created_at
        self.rows: list[TransactionRow] = []
        self.increments: list[MonthlyFiguresRow] = []
        self.charges: dict[ChargeKey, ChargeRow] = {}
        self.holds: dict[ChargeKey, HoldRow] = {}
        self.changed_charges: set[ChargeKey] = set()
        self.changed_holds: dict[int, HoldRow] = {}

    @property
    def has_changed(self) -> bool:
        return bool(self.rows or self.changed_charges or self.changed_holds)

    def begin(self, moment: datetime) -> None:
        """Every row of an order has the same time: the clock's, or the newest row's if that is later."""
        self.now = max(moment, self.head.head_at or moment)

    def append(self, writer: Writer, entry: Entry) -> TransactionRow:
        source = source_of(writer, entry.type)
        check_entry(entry, self.head.head_seq)
        what = f"the balance of {account_id_text(self.account.id)}"
        balance = in_range(self.head.balance_nanos + entry.amount_nanos, what)
        row = TransactionRow(
            account_id=self.account.id,
            seq=self.head.head_seq + 1,
            created_at=self.now,
            type=entry.type.value,
            amount_nanos=entry.amount_nanos,
            balance_after_nanos=balance,
            description=entry.description,
            source=source.value,
            ref_type=entry.ref.type.value if entry.ref else None,
            ref_id=entry.ref.id if entry.ref else None,
            actor=writer.actor,
            corrects_seq=entry.corrects_seq,
            period_start=entry.period.start if entry.period else None,
            period_end=entry.period.end if entry.period else None,
            hash=b"",
        )
        row = row._replace(hash=row_hash(self.head.head_hash or GENESIS, row))
        self.head = self.head._replace(
            head_seq=row.seq, head_at=row.created_at, head_hash=row.hash, balance_nanos=balance
        )
        self.rows.append(row)
        increment = _cost_increment(row)
        if increment is not None:
            self.increments.append(increment)
        return row

    def put_charge(self, charge: ChargeRow) -> None:
        what = f"the charge of {charge.ref_type} {charge.ref_id}"
        for nanos in (charge.held_nanos, charge.refunded_nanos, charge.overage_nanos, charge.billed_nanos):
            in_range(nanos, what)
        key = charge[:3]
        self.charges[key] = charge
        self.changed_charges.add(key)

    def put_hold(self, key: ChargeKey, hold: HoldRow) -> None:
        self.holds[key] = hold
        self.changed_holds[hold.hold_seq] = hold

    def key(self, ref: Ref) -> ChargeKey:
        return self.account.id, ref.type.value, ref.id


def source_of(writer: Writer, kind: TransactionType) -> TransactionSource:
    source = SOURCE_BY_WRITER[writer.kind].get(kind)
    if source is None:
        msg = f"a {writer.kind} must not write {kind} rows"
        raise Forbidden(msg)
    return source


def check_ref(ref: Ref) -> None:
    checked_text(ref.id, "refId", MAX_REF_ID)


def check_entry(entry: Entry, head_seq: int) -> None:
    checked_text(entry.description, "description", MAX_DESCRIPTION)
    in_range(entry.amount_nanos, "the amount")
    if entry.amount_nanos == 0:
        raise BadUserInput("the amount must not be zero")
    if SIGN[entry.type] * entry.amount_nanos < 0:
        wanted = "positive" if SIGN[entry.type] > 0 else "negative"
        msg = f"the amount of a {entry.type} row must be {wanted}, not {format_nanos(entry.amount_nanos)}"
        raise BadUserInput(msg)
    if entry.period is not None:
        check_period(entry.period)
    if entry.corrects_seq is not None and not 1 <= entry.corrects_seq <= head_seq:
        raise NotFound("the row to correct does not exist")


def check_moment(moment: datetime, what: str) -> None:
    # In the years at either end of the calendar a moment of another zone may have no time in UTC.
    if moment.tzinfo is None or not MINYEAR < moment.year < MAXYEAR:
        msg = f"{what} must carry its zone, and lie in the years {MINYEAR + 1} to {MAXYEAR - 1}"
        raise BadUserInput(msg)


def check_period(period: Period) -> None:
    check_moment(period.start, "the period's start")
    check_moment(period.end, "the period's end")
    if period.end < period.start:
        raise BadUserInput("the period must not end before it starts")


def check_used(used_nanos: int) -> None:
    if used_nanos < 0:
        raise BadUserInput("what was used must not be negative")
    in_range(used_nanos, "what was used")
