"""Statements of an account: the balance before and after a period of UTC days, and what moved it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from enum import StrEnum
from typing import Final, NamedTuple
from urllib.parse import urlencode

from db.filters import TransactionFilter
from db.hour_totals import COST, Grouping, GroupPage, HourFilter
from db.hours import hour_of
from db.period_figures import PeriodEnds
from db.rows import AccountRow, TransactionRow
from ledger.errors import BadUserInput
from ledger.ids import account_id_text
from ledger.kinds import CostKind, TransactionSource, TransactionType
from resolvers.context import QueryContext
from resolvers.pages import Page, PageProjection
from resolvers.reads import transactions
from resolvers.reads.closed_times import is_closed

MAX_DAYS: Final = 366

JSON_PATH: Final = "/billing/statement"
CSV_PATH: Final = "/billing/statement.csv"
PDF_PATH: Final = "/billing/statement.pdf"


class MovementKind(StrEnum):
    """The kinds of movements, in the order of a statement."""

    TOP_UP = "top_up"
    AUTO_RECHARGE = "auto_recharge"
    CONTRACT_GRANT = "contract_grant"
    BONUS_GRANT = "bonus_grant"
    BONUS = "bonus"
    PAYMENT_REFUND = "payment_refund"
    CORRECTION = "correction"
    GPU_INSTANCE = "gpu_instance"
    INFERENCE_INSTANCE = "inference_instance"
    VOLUME = "volume"
    SHARED_FILESYSTEM = "shared_filesystem"
    API_USAGE = "api_usage"
    OTHER = "other"


_T, _S = TransactionType, TransactionSource

_KINDS: Final[dict[tuple[str, str], MovementKind]] = {
    (_T.TOPUP, _S.STRIPE_WEBHOOK): MovementKind.TOP_UP,
    (_T.AUTO_RECHARGE, _S.STRIPE_WEBHOOK): MovementKind.AUTO_RECHARGE,
    (_T.CONTRACT_GRANT, _S.CONTRACT): MovementKind.CONTRACT_GRANT,
    (_T.CONTRACT_GRANT, _S.STRIPE_WEBHOOK): MovementKind.CONTRACT_GRANT,
    (_T.BONUS_GRANT, _S.CONTRACT): MovementKind.BONUS_GRANT,
    (_T.BONUS_GRANT, _S.STRIPE_WEBHOOK): MovementKind.BONUS_GRANT,
    (_T.BONUS, _S.PROMOTION): MovementKind.BONUS,
    (_T.REFUND, _S.STRIPE_WEBHOOK): MovementKind.PAYMENT_REFUND,
    (_T.ADMIN_CORRECTION, _S.ADMIN_CORRECTION): MovementKind.CORRECTION,
    (_T.ADMIN_CORRECTION, _S.STRIPE_WEBHOOK): MovementKind.CORRECTION,
}
"""Kinds of rows that are no cost. All others are cost, which is kept by hour."""

_COSTS: Final = Grouping(keys=("kind",))


class Movement(NamedTuple):
    """The sum of a kind of rows. Its sign is that of its effect on the balance."""

    kind: str
    gross_nanos: int
    refunded_nanos: int = 0

    @property
    def net_nanos(self) -> int:
        return self.gross_nanos + self.refunded_nanos


@dataclass(frozen=True, slots=True)
class Period:
    """A range of UTC days. The end is exclusive."""

    from_day: date
    to_day: date

    @property
    def times(self) -> tuple[datetime, datetime]:
        return _midnight(self.from_day), _midnight(self.to_day)

    @property
    def row_filter(self) -> TransactionFilter:
        start, end = self.times
        return TransactionFilter(created_gte=start, created_lt=end)

    @property
    def credit_filter(self) -> TransactionFilter:
        start, end = self.times
        return TransactionFilter(kinds=tuple(_KINDS), created_gte=start, created_lt=end)

    @property
    def costs(self) -> GroupPage:
        start, end = self.times
        return GroupPage(COST, HourFilter(hour_of(start), hour_of(end)), _COSTS, limit=len(CostKind))


@dataclass(frozen=True, slots=True)
class Statement:
    account: AccountRow
    period: Period

    @property
    def key(self) -> StatementKey:
        return self.account.id, self.period

    @property
    def from_day(self) -> date:
        return self.period.from_day

    @property
    def to_day(self) -> date:
        return self.period.to_day

    def address(self, path: str) -> str:
        period = {"from": self.from_day.isoformat(), "to": self.to_day.isoformat()}
        return f"{path}?{urlencode({'account': account_id_text(self.account.id)} | period)}"


StatementKey = tuple[int, Period]


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def period_of(from_day: date, to_day: date) -> Period:
    """Raises BadUserInput for a period that ends before it begins, or is too long."""
    days = (to_day - from_day).days
    if days < 1:
        raise BadUserInput("the period is empty: to must be after from; the day of to is not part of the period")
    if days > MAX_DAYS:
        msg = f"a statement covers at most {MAX_DAYS} days, not {days}"
        raise BadUserInput(msg)
    return Period(from_day, to_day)


def prefetch_statement(_context: QueryContext, account_id: int, from_day: date, to_day: date) -> StatementKey:
    return account_id, period_of(from_day, to_day)


def statement(account: AccountRow, from_day: date, to_day: date) -> Statement:
    return Statement(account, period_of(from_day, to_day))


def prefetch_ends(context: QueryContext, key: StatementKey) -> None:
    context.loaders.period_ends.load((key[0], key[1].times))


async def ends(context: QueryContext, found: Statement) -> PeriodEnds:
    return await context.loaders.period_ends.load((found.account.id, found.period.times))


def prefetch_movements(context: QueryContext, key: StatementKey) -> None:
    account_id, period = key
    context.loaders.kind_sums.load((account_id, period.credit_filter))
    context.loaders.hour_groups.load((account_id, period.costs))


async def movements(context: QueryContext, found: Statement) -> list[Movement]:
    """Returns the movements that are not zero, in the order of their kinds."""
    account_id, period = found.key
    sums = context.loaders.kind_sums.load((account_id, period.credit_filter))
    costs = context.loaders.hour_groups.load((account_id, period.costs))
    credited: dict[str, int] = {}
    for kind, nanos in (await sums).items():
        credited[_KINDS[kind]] = credited.get(_KINDS[kind], 0) + nanos
    moved = [Movement(kind, nanos) for kind, nanos in credited.items() if nanos]
    moved += [
        Movement(group.keys[0], -group.figures.gross_nanos, group.figures.refunded_nanos)
        for group in (await costs).groups
    ]
    return _in_order(moved)


def _in_order(moved: Iterable[Movement]) -> list[Movement]:
    order = list(MovementKind)
    return sorted(moved, key=lambda one: order.index(MovementKind(one.kind)))


def is_final(context: QueryContext, found: Statement) -> bool:
    """Returns whether no row can be written in the period any more."""
    _, end = found.period.times
    return is_closed(found.account, end, context.now)


def prefetch_rows(
    context: QueryContext, key: StatementKey, page_projection: PageProjection, **paging: int | str | None
) -> transactions.PageKey:
    return transactions.prefetch_page(
        context,
        key[0],
        key[1].row_filter,
        page_projection=page_projection,
        **paging,  # type: ignore[arg-type]
    )


async def rows(
    context: QueryContext, found: Statement, page_projection: PageProjection, **paging: int | str | None
) -> Page[TransactionRow]:
    return await transactions.transaction_page(
        context,
        found.account.id,
        found.period.row_filter,
        page_projection=page_projection,
        **paging,  # type: ignore[arg-type]
    )
