"""Account state: the rows that posting will write for one account, computed in memory, and what follows from each
row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from operator import add
from typing import Any, Final, NamedTuple, TypeVar

from db.attribution_rows import COST_HOUR_KEY, CostHourRow
from db.errors import NumberOutOfRange
from db.hours import hour_of
from db.rows import AccountRow, ChargeRow, HoldRow, MonthlyFiguresRow, TransactionRow
from ledger.attribution import NOBODY, Attribution, Share, common
from ledger.chain import GENESIS, row_hash
from ledger.commands import Entry, Period, Ref, UsageEntry, Writer
from ledger.errors import BadUserInput, Forbidden, NotFound
from ledger.ids import account_id_text
from ledger.kinds import SIGN, SOURCE_BY_WRITER, RefType, TransactionSource, TransactionType
from ledger.moments import check_moment
from ledger.money import MAX_NANOS, MIN_NANOS, format_nanos, in_range
from ledger.spending import Spending, SpendingMark
from ledger.texts import DESCRIPTION, REF_ID

ChargeKey = tuple[int, str, str]
Increment = TypeVar("Increment", bound=tuple[Any, ...])


_COST: Final = frozenset(map(str, (TransactionType.GPU_USAGE, TransactionType.STORAGE_BILLING)))


@lru_cache(maxsize=64)
def _month_text(year: int, month: int) -> str:
    return f"{year:04d}-{month:02d}"


def month_of(moment: datetime) -> str:
    return _month_text(moment.year, moment.month)


def cost_increment(row: TransactionRow) -> MonthlyFiguresRow | None:
    if row.type in _COST:
        return MonthlyFiguresRow(row.account_id, month_of(row.created_at), gross_nanos=-row.amount_nanos)
    if row.type == TransactionType.REFUND and row.source == TransactionSource.METERING:
        return MonthlyFiguresRow(row.account_id, month_of(row.created_at), refunded_nanos=row.amount_nanos)
    return None


def cost_hours(row: TransactionRow, increment: MonthlyFiguresRow, shares: Sequence[Share]) -> Iterator[CostHourRow]:
    """Yields what a row adds to the costs of its hour. Rows of API usage are not kept apart by batch."""
    ref_type = row.ref_type or ""
    ref_id = "" if ref_type == RefType.API_USAGE else row.ref_id or ""
    for attribution, nanos in shares:
        gross, refunded = (0, nanos) if increment.refunded_nanos else (-nanos, 0)
        yield CostHourRow(row.account_id, hour_of(row.created_at), ref_type, ref_id, *attribution, gross, refunded)


def _summed(increments: Iterable[Increment], keys: int) -> dict[tuple[Any, ...], Increment]:
    """Adds up the increments whose first columns, the keys, are the same."""
    sums: dict[tuple[Any, ...], Increment] = {}
    for one in increments:
        key = one[:keys]
        known = sums.get(key)
        if known is not None:
            one = tuple.__new__(type(one), (*key, *map(add, known[keys:], one[keys:])))
        sums[key] = one
    return sums


def sum_by_hour(increments: Iterable[CostHourRow]) -> list[CostHourRow]:
    return sorted(_summed(increments, len(COST_HOUR_KEY)).values())


def sum_by_month(increments: Iterable[MonthlyFiguresRow]) -> list[MonthlyFiguresRow]:
    sums = _summed(increments, 2)
    for (account_id, month), total in sums.items():
        # The database checks this too, but a driver cannot even bind a larger number.
        if max(map(abs, total[2:])) > MAX_NANOS:
            msg = f"the figures of {month} of {account_id_text(account_id)} exceed the 64-bit range"
            raise NumberOutOfRange(msg)
    return list(sums.values())


class AccountMark(NamedTuple):
    """A saved point of an account state, for `AccountState.undo`."""

    head: tuple[int, datetime | None, bytes | None, int]
    rows: int
    increments: int
    costs: int
    spending: SpendingMark
    charges: dict[ChargeKey, ChargeRow]
    holds: dict[ChargeKey, HoldRow]
    changed_charges: set[ChargeKey]
    changed_holds: dict[int, HoldRow]


class AccountState:
    """One account, its head, and what will be written for it."""

    __slots__ = (
        *("account", "head_seq", "head_at", "head_hash", "balance_nanos", "now"),
        *("rows", "increments", "costs", "charges", "holds", "changed_charges", "changed_holds"),
        *("spending", "attribution"),
    )

    def __init__(self, account: AccountRow) -> None:
        self.account = account
        self.head_seq = account.head_seq
        self.head_at = account.head_at
        self.head_hash = account.head_hash
        self.balance_nanos = account.balance_nanos
        self.now = account.created_at
        self.rows: list[TransactionRow] = []
        self.increments: list[MonthlyFiguresRow] = []
        self.costs: list[CostHourRow] = []
        self.spending = Spending(account.id)
        self.attribution = NOBODY
        self.charges: dict[ChargeKey, ChargeRow] = {}
        self.holds: dict[ChargeKey, HoldRow] = {}
        self.changed_charges: set[ChargeKey] = set()
        self.changed_holds: dict[int, HoldRow] = {}

    @property
    def has_changed(self) -> bool:
        return bool(self.rows or self.changed_charges or self.changed_holds or self.spending.has_changed)

    def head(self) -> AccountRow:
        """Returns the head that will be written."""
        return AccountRow(*self.account[:6], self.head_seq, self.head_at, self.head_hash, self.balance_nanos)

    def mark(self) -> AccountMark:
        return AccountMark(
            (self.head_seq, self.head_at, self.head_hash, self.balance_nanos),
            len(self.rows),
            len(self.increments),
            len(self.costs),
            self.spending.mark(),
            self.charges.copy(),
            self.holds.copy(),
            self.changed_charges.copy(),
            self.changed_holds.copy(),
        )

    def undo(self, mark: AccountMark) -> None:
        """Undoes all changes since the mark."""
        self.head_seq, self.head_at, self.head_hash, self.balance_nanos = mark.head
        del self.rows[mark.rows :], self.increments[mark.increments :], self.costs[mark.costs :]
        self.spending.undo(mark.spending)
        self.charges, self.holds = mark.charges, mark.holds
        self.changed_charges, self.changed_holds = mark.changed_charges, mark.changed_holds

    def begin(self, moment: datetime, attribution: Attribution = NOBODY) -> None:
        """Sets the time of a posting, and who spends. All its rows have the same time: the clock's, or that of the
        newest row or authorization if that is later.

        An account's time never goes back, whichever gateway's clock is behind: an authorization that had expired when
        its amount was reserved again must not pay after all, nor a row be of the day before the one that it was
        authorized for.
        """
        self.now = max(moment, self.head_at or moment, self.spending.newest_at or moment)
        self.attribution = attribution

    def attribution_of(self, ref: Ref | None) -> Attribution:
        """Returns that of the resource if it has a charge, and otherwise that of the posting."""
        charge = None if ref is None else self.charges.get(self.key(ref))
        return self.attribution if charge is None else Attribution(charge.api_key or "", charge.project or "")

    def append(self, writer: Writer, entry: Entry) -> TransactionRow:
        shares = list(entry.shares) if isinstance(entry, UsageEntry) else []
        shares = shares or [(self.attribution_of(entry.ref), entry.amount_nanos)]
        assert sum(nanos for _, nanos in shares) == entry.amount_nanos, "the shares make up the amount"
        attribution = common(shares)
        source = source_of(writer, entry.type)
        check_entry(entry, self.head_seq)
        account_id, ref, period = self.account.id, entry.ref, entry.period
        balance = self.balance_nanos + entry.amount_nanos
        if not MIN_NANOS <= balance <= MAX_NANOS:
            in_range(balance, f"the balance of {account_id_text(account_id)}")
        row = TransactionRow(
            account_id=account_id,
            seq=self.head_seq + 1,
            created_at=self.now,
            type=str(entry.type),
            amount_nanos=entry.amount_nanos,
            balance_after_nanos=balance,
            description=entry.description,
            source=str(source),
            ref_type=str(ref.type) if ref else None,
            ref_id=ref.id if ref else None,
            actor=writer.actor,
            corrects_seq=entry.corrects_seq,
            period_start=period.start if period else None,
            period_end=period.end if period else None,
            hash=b"",
            api_key=attribution.api_key or None,
            project=attribution.project or None,
        )
        row = row._replace(hash=row_hash(self.head_hash or GENESIS, row))
        self.head_seq, self.head_at, self.head_hash, self.balance_nanos = row.seq, row.created_at, row.hash, balance
        self.rows.append(row)
        increment = cost_increment(row)
        if increment is not None:
            self.increments.append(increment)
            self.costs += cost_hours(row, increment, shares)
            self.spending.spend(row.seq, row.created_at, ((who, -nanos) for who, nanos in shares))
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
        msg = f"{writer.kind} must not write {kind} rows"
        raise Forbidden(msg)
    return source


def check_ref(ref: Ref) -> None:
    REF_ID.checked(ref.id, "refId")


def check_entry(entry: Entry, head_seq: int) -> None:
    DESCRIPTION.checked(entry.description, "description")
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


def check_period(period: Period) -> None:
    check_moment(period.start, "the period's start")
    check_moment(period.end, "the period's end")
    if period.end < period.start:
        raise BadUserInput("the period must not end before it starts")


def check_used(used_nanos: int) -> None:
    if used_nanos < 0:
        raise BadUserInput("what was used must not be negative")
    in_range(used_nanos, "what was used")
