"""Hour totals: adds up usage and cost by hour, by buckets of time and by the columns of their keys.

Usage of which only the UTC day is known belongs to a bucket of time, and to a range of hours, if all hours of the day
do. One statement reads a page of groups and the sums over all groups, so that the hours are added up once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeVar

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Numeric,
    Select,
    String,
    Table,
    and_,
    bindparam,
    case,
    column,
    false,
    func,
    literal_column,
    not_,
    or_,
    select,
    true,
    tuple_,
)

from db.attribution_tables import cost_hours, usage_hours
from db.connections.snapshots import Read, Rows
from db.hour_buckets import (
    HOUR,
    IN_UTC,
    Offsets,
    bucket_of_hour,
    changes_in_statement,
    constant,
    offset_parameters,
)
from db.hours import HOURS_A_DAY, day_of_hour
from db.statements import THE_ACCOUNT, exact_sum, exact_sums, for_each_account, is_one_of, nothing_of_each, read_each

KINDS: Final = ("api_usage", "gpu_instance", "inference_instance", "shared_filesystem", "volume")
"""Ref types of rows that have a kind of cost of their own."""
OTHER: Final = "other"
"""The kind of cost of all other rows."""

MAX_UNDIVIDED_DAYS: Final = 1_000
MAX_COST_NANOS: Final = 2**94
"""More than any sum of costs."""

_NO_BUCKET: Final = -(2**62)
"""Stands for no bucket in statements: the last one in the order."""
_LOW: Final = 0xFFFFFFFF
_STEP_HOURS: Final = 7 * HOURS_A_DAY

Figures = TypeVar("Figures", bound=NamedTuple)


class UsageHourFigures(NamedTuple):
    calls: int
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    reasoning_tokens: int
    units_nanos: int
    cost_nanos: int


class ImportedFigures(NamedTuple):
    cost_nanos: int
    imported_nanos: int


class CostHourFigures(NamedTuple):
    gross_nanos: int
    refunded_nanos: int

    @property
    def cost_nanos(self) -> int:
        return self.gross_nanos - self.refunded_nanos


class Measure(NamedTuple):
    """A table of hours, and its figures."""

    table: Table
    figures: type[UsageHourFigures | ImportedFigures | CostHourFigures]

    def __repr__(self) -> str:
        return self.table.name


USAGE: Final = Measure(usage_hours, UsageHourFigures)
IMPORTED: Final = Measure(usage_hours, ImportedFigures)
COST: Final = Measure(cost_hours, CostHourFigures)


@dataclass(frozen=True, slots=True)
class HourFilter:
    """Conditions on hours."""

    from_hour: int | None = None
    to_hour: int | None = None
    lists: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Values by column, or by "kind"; an empty text stands for no API key or project."""


@dataclass(frozen=True, slots=True)
class Grouping:
    """Names the groups: the bucket of time, if there is one, and the columns of their keys."""

    bucket: str | None = None
    keys: tuple[str, ...] = ()
    offsets: Offsets = IN_UTC


class GroupPosition(NamedTuple):
    """Position in the order of groups: newest bucket first, then highest cost, then keys."""

    bucket: int | None
    cost_nanos: int
    keys: tuple[str, ...]


class Group(NamedTuple):
    bucket: int | None
    keys: tuple[str, ...]
    figures: Any

    @property
    def position(self) -> GroupPosition:
        return GroupPosition(self.bucket, self.figures.cost_nanos, self.keys)


class GroupsFound(NamedTuple):
    """A page of groups, and the sums over all groups."""

    groups: list[Group]
    total: int
    """Number of all groups."""
    newer: int
    """Number of groups up to the position that the page follows."""
    totals: Any


@dataclass(frozen=True, slots=True)
class GroupPage:
    """A request for a page of groups."""

    measure: Measure
    row_filter: HourFilter
    grouping: Grouping
    limit: int
    after: GroupPosition | None = None


@dataclass(frozen=True, slots=True)
class _Shape:
    """Everything that determines a statement's text."""

    postgresql: bool
    measure: Measure
    lists: tuple[str, ...]
    from_hour: bool
    to_hour: bool
    cuts_days: bool
    """Whether the range of hours begins or ends within a UTC day."""
    bucket: str | None
    changes: int | None
    keys: tuple[str, ...]
    after: bool


def _changes(grouping: Grouping) -> int | None:
    """Returns the number of clock changes in the statement; None for UTC."""
    changes = changes_in_statement(grouping.offsets)
    return 0 if changes and grouping.bucket in (None, HOUR) else changes


def _shape(postgresql: bool, page: GroupPage) -> _Shape:
    row_filter, grouping = page.row_filter, page.grouping
    return _Shape(
        postgresql,
        page.measure,
        lists=tuple(name for name, _ in row_filter.lists),
        from_hour=row_filter.from_hour is not None,
        to_hour=row_filter.to_hour is not None,
        cuts_days=any((hour or 0) % HOURS_A_DAY for hour in (row_filter.from_hour, row_filter.to_hour)),
        bucket=grouping.bucket,
        changes=_changes(grouping),
        keys=grouping.keys,
        after=page.after is not None,
    )


def _parameters(postgresql: bool, page: GroupPage) -> dict[str, Any]:
    row_filter, after = page.row_filter, page.after
    values: dict[str, Any] = {f"list_{name}": list(listed) for name, listed in row_filter.lists}
    values |= {name: value for name in ("from_hour", "to_hour") if (value := getattr(row_filter, name)) is not None}
    values |= offset_parameters(page.grouping.offsets)
    if after is not None:
        values["after_bucket"] = _NO_BUCKET if after.bucket is None else after.bucket
        costs = _halves(after.cost_nanos, postgresql=postgresql)
        values |= {f"after_cost_{number}": part for number, part in enumerate(costs)}
        values |= {f"after_key_{number}": key for number, key in enumerate(after.keys)}
    return values


def _halves(sum_nanos: int, *, postgresql: bool) -> tuple[int, ...]:
    return (sum_nanos,) if postgresql else (sum_nanos >> 32, sum_nanos & _LOW)


def _number(name: str) -> Any:
    return bindparam(name, type_=BigInteger())


def _text(value: str) -> ColumnElement[str]:
    return literal_column(f"'{value}'", String())


def _column(measure: Measure, name: str) -> ColumnElement[Any]:
    if name != "kind":
        return measure.table.c[name]
    ref_type = measure.table.c.ref_type
    return case((ref_type.in_([_text(kind) for kind in KINDS]), ref_type), else_=_text(OTHER))


def _divides_days(shape: _Shape) -> bool:
    """Whether the hours of a UTC day may belong to different buckets."""
    return shape.bucket == HOUR or (shape.bucket is not None and shape.changes is not None)


def _bucket_of(hour: ColumnElement[int], shape: _Shape) -> ColumnElement[int]:
    assert shape.bucket is not None
    return bucket_of_hour(hour, shape.bucket, shape.changes, postgresql=shape.postgresql)


def _bucket(shape: _Shape) -> ColumnElement[int]:
    hour = shape.measure.table.c.hour
    if shape.bucket is None:
        return constant(_NO_BUCKET)
    if shape.measure is COST or not _divides_days(shape):
        return _bucket_of(hour, shape)
    return case((_has_bucket(shape), _bucket_of(hour, shape)), else_=constant(_NO_BUCKET))


def _has_bucket(shape: _Shape) -> ColumnElement[bool]:
    """Whether all hours of a row belong to one bucket."""
    hour, span = shape.measure.table.c.hour, shape.measure.table.c.span_hours
    if shape.bucket == HOUR:
        return span == constant(1)
    last = hour + span - constant(1)
    return or_(span == constant(1), _bucket_of(hour, shape) == _bucket_of(last, shape))


def _lists(shape: _Shape) -> list[ColumnElement[bool]]:
    measure = shape.measure
    return [is_one_of(_column(measure, name), f"list_{name}", postgresql=shape.postgresql) for name in shape.lists]


def _range(shape: _Shape) -> list[ColumnElement[bool]]:
    """Selects rows that lie in the range of hours."""
    row = shape.measure.table.c
    limits = []
    if shape.from_hour:
        limits.append(row.hour >= _number("from_hour"))
    if shape.to_hour:
        limits.append(row.hour < _number("to_hour"))
        if shape.measure is not COST and shape.cuts_days:
            limits.append(row.hour + row.span_hours <= _number("to_hour"))
    return limits


def _groups_of(account: ColumnElement[int], shape: _Shape) -> Select[Any]:
    table = shape.measure.table
    keys = [_column(shape.measure, name).label(f"key_{number}") for number, name in enumerate(shape.keys)]
    sums = [
        half.label(f"sum_{number}_{part}")
        for number, name in enumerate(shape.measure.figures._fields)
        for part, half in enumerate(exact_sum(table.c[name], postgresql=shape.postgresql))
    ]
    chosen = select(_bucket(shape).label("bucket"), *keys, *sums)
    chosen = chosen.where(table.c.account_id == account, *_range(shape), *_lists(shape))
    # By their number: as expressions, they would have parameters of their own.
    columns: list[ColumnElement[Any]] = [literal_column(str(number)) for number in range(1, len(keys) + 2)]
    if shape.bucket is None:
        columns = columns[1:]
    return chosen.group_by(*columns) if columns else chosen.having(func.count() > 0)


def _steps(account: ColumnElement[int], shape: _Shape) -> Any:
    """Selects the first hours of the steps from the account's first hour to its last."""

    def end(function: Any) -> Any:
        row = shape.measure.table.alias().c
        limits = [row.hour >= _number("from_hour")] if shape.from_hour else []
        limits += [row.hour < _number("to_hour")] if shape.to_hour else []
        return select(function(row.hour)).where(row.account_id == account, *limits).scalar_subquery()

    series = func.generate_series(end(func.min), end(func.max), constant(_STEP_HOURS))
    return series.table_valued(column("start", BigInteger())).render_derived(name="steps")


def _groups_in_steps(account: ColumnElement[int], shape: _Shape) -> Select[Any]:
    """Adds up a week at a time. PostgreSQL then reads the account's own rows by the primary key, however few of all
    rows they are, and holds the groups of a week in memory instead of sorting the rows."""
    steps, hour = _steps(account, shape), shape.measure.table.c.hour
    within = (hour >= steps.c.start, hour < steps.c.start + constant(_STEP_HOURS))
    part = _groups_of(account, shape).where(*within).lateral("part")
    names = [one for one in part.c if not one.name.startswith("sum_")]
    sums = [func.sum(one).label(one.name) for one in part.c if one.name.startswith("sum_")]
    return select(*names, *sums).select_from(steps.join(part, true())).group_by(*names)


def _groups(account: ColumnElement[int], shape: _Shape) -> Select[Any]:
    return _groups_in_steps(account, shape) if shape.postgresql else _groups_of(account, shape)


def _cost(groups: Any, shape: _Shape) -> tuple[ColumnElement[Any], ...]:
    """Returns the columns that order groups by cost, even beyond 64 bits."""
    fields = shape.measure.figures._fields
    parts = range(1 if shape.postgresql else 2)

    def sums_of(name: str) -> list[ColumnElement[Any]]:
        return [groups.c[f"sum_{fields.index(name)}_{part}"] for part in parts]

    if shape.measure is not COST:
        cost = sums_of("cost_nanos")
    else:
        cost = [g - r for g, r in zip(sums_of("gross_nanos"), sums_of("refunded_nanos"), strict=True)]
    if shape.postgresql:
        return (cost[0],)
    high, low = cost
    return high + low.op(">>")(constant(32)), low.op("&")(constant(_LOW))


def _order(groups: Any, shape: _Shape) -> list[ColumnElement[Any]]:
    keys = [groups.c[f"key_{number}"].asc() for number in range(len(shape.keys))]
    return [groups.c.bucket.desc(), *(part.desc() for part in _cost(groups, shape)), *keys]


def _is_older(groups: Any, shape: _Shape) -> ColumnElement[bool]:
    """Whether a group follows the position in the parameters."""
    type_ = Numeric() if shape.postgresql else BigInteger()
    descending = [(groups.c.bucket, _number("after_bucket"))]
    for number, part in enumerate(_cost(groups, shape)):
        descending.append((part, bindparam(f"after_cost_{number}", type_=type_)))
    keys = [groups.c[f"key_{number}"] for number in range(len(shape.keys))]
    given = [bindparam(f"after_key_{number}", type_=String()) for number in range(len(keys))]
    older: ColumnElement[bool] = tuple_(*keys) > tuple_(*given) if keys else false()
    for part, value in reversed(descending):
        older = or_(part < value, and_(part == value, older))
    return older


def _page(account: ColumnElement[int], shape: _Shape) -> Select[Any]:
    """Selects the sums over all groups, and beside them the groups of the page."""
    groups = _groups(account, shape).cte("groups")
    sums = [column for column in groups.c if column.name.startswith("sum_")]
    newer = case((_is_older(groups, shape), constant(0)), else_=constant(1)) if shape.after else constant(0)
    whole = select(
        func.count().label("count"),
        func.coalesce(func.sum(newer), 0).label("newer"),
        *(func.coalesce(func.sum(one), 0).label(one.name) for one in sums),
    ).select_from(groups)
    page = select(*groups.c).where(*([_is_older(groups, shape)] if shape.after else []))
    page = page.order_by(*_order(groups, shape)).limit(_number("rows"))
    totals, rows = whole.subquery("totals"), page.subquery("page")
    return (
        select(account.label("account_id"), *totals.c, *rows.c)
        .select_from(totals.outerjoin(rows, true()))
        .order_by(*_order(rows, shape))
        .add_cte(groups, nest_here=True)
    )


@lru_cache(maxsize=512)
def _page_statements(shape: _Shape) -> tuple[Select[Any], Select[Any] | None]:
    one = _page(bindparam(THE_ACCOUNT, type_=BigInteger()), shape)
    if not shape.postgresql:
        return one, None
    return one, for_each_account(lambda account: _page(account, shape))


def _found(rows: Rows, shape: _Shape) -> GroupsFound:
    """Reads the result of `_page`: account, count, newer, total sums; bucket, keys, sums."""
    figures = shape.measure.figures
    width = len(figures._fields) * (1 if shape.postgresql else 2)
    keys = 4 + width

    def group(row: Any) -> Group:
        bucket = None if row[keys - 1] == _NO_BUCKET else row[keys - 1]
        sums = row[keys + len(shape.keys) :]
        return Group(bucket, tuple(row[keys : keys + len(shape.keys)]), figures_of(sums))

    def figures_of(sums: Sequence[Any]) -> Any:
        return figures._make(exact_sums(sums, postgresql=shape.postgresql))

    first = rows[0]
    groups = [] if first[keys - 1] is None else [group(row) for row in rows]
    return GroupsFound(groups, int(first[1]), int(first[2]), figures_of(first[3 : 3 + width]))


def group_pages(postgresql: bool, account_ids: Sequence[int], page: GroupPage) -> Read[dict[int, GroupsFound]]:
    """Reads up to `page.limit` groups per account, and the sums over all groups."""
    shape = _shape(postgresql, page)
    one, each = _page_statements(shape)
    parameters = _parameters(postgresql, page) | {"rows": page.limit}

    def pages(found: Mapping[int, Rows]) -> dict[int, GroupsFound]:
        return {account_id: _found(rows, shape) for account_id, rows in found.items()}

    return read_each(account_ids, parameters, pages, one=one, each=each)


def _undivided(account: ColumnElement[int], shape: _Shape) -> Select[Any]:
    """Selects the days whose usage is in no bucket, or lies partly outside the range of hours."""
    row = shape.measure.table.c
    end = row.hour + row.span_hours
    near: list[ColumnElement[bool]] = [row.account_id == account, row.span_hours == constant(HOURS_A_DAY)]
    cut: list[ColumnElement[bool]] = []
    if shape.from_hour:
        near.append(row.hour > _number("from_hour") - constant(HOURS_A_DAY))
        cut.append(row.hour < _number("from_hour"))
    if shape.to_hour:
        near.append(row.hour < _number("to_hour"))
        cut.append(end > _number("to_hour"))
    if shape.bucket is not None:
        cut.append(not_(_has_bucket(shape)))
    chosen = select(account.label("account_id"), row.hour).where(*near, or_(false(), *cut), *_lists(shape))
    return chosen.distinct().order_by(row.hour.desc()).limit(constant(MAX_UNDIVIDED_DAYS))


@lru_cache(maxsize=256)
def _undivided_statements(shape: _Shape) -> tuple[Select[Any], Select[Any] | None]:
    one = _undivided(bindparam(THE_ACCOUNT, type_=BigInteger()), shape)
    if not shape.postgresql:
        return one, None
    return one, for_each_account(lambda account: _undivided(account, shape))


def undivided_days(
    postgresql: bool, account_ids: Sequence[int], asked: tuple[HourFilter, Grouping]
) -> Read[dict[int, list[date]]]:
    """Reads the UTC days whose usage is in no bucket or lies partly outside the range of hours, newest first: at most
    MAX_UNDIVIDED_DAYS."""
    row_filter, grouping = asked
    page = GroupPage(USAGE, row_filter, replace(grouping, keys=()), limit=0)
    shape = _shape(postgresql, page)
    is_empty = row_filter.from_hour is not None and row_filter.from_hour == row_filter.to_hour
    if is_empty or not (shape.cuts_days or _divides_days(shape)):
        return nothing_of_each(account_ids)
    one, each = _undivided_statements(shape)

    def days(found: Mapping[int, Rows]) -> dict[int, list[date]]:
        return {account_id: [day_of_hour(row[1]) for row in rows] for account_id, rows in found.items()}

    return read_each(account_ids, _parameters(postgresql, page), days, one=one, each=each)


def _range_of_hours(account: ColumnElement[int], measure: Measure) -> Select[Any]:
    hour = measure.table.c.hour
    ends = [
        select(end(hour)).where(measure.table.c.account_id == account).scalar_subquery() for end in (func.min, func.max)
    ]
    return select(account.label("account_id"), *ends)


@lru_cache(maxsize=8)
def _range_statements(measure: Measure, postgresql: bool) -> tuple[Select[Any], Select[Any] | None]:
    one = _range_of_hours(bindparam(THE_ACCOUNT, type_=BigInteger()), measure)
    if not postgresql:
        return one, None
    return one, for_each_account(lambda account: _range_of_hours(account, measure))


def hour_ranges(
    postgresql: bool, account_ids: Sequence[int], measure: Measure
) -> Read[dict[int, tuple[int, int] | None]]:
    """Reads the first hour of each account, and the hour after its last; None without hours."""
    one, each = _range_statements(measure, postgresql)

    def ranges(found: Mapping[int, Rows]) -> dict[int, tuple[int, int] | None]:
        return {
            account_id: None if row[1] is None else (row[1], row[2] + HOURS_A_DAY)
            for account_id, (row,) in found.items()
        }

    return read_each(account_ids, {}, ranges, one=one, each=each)
