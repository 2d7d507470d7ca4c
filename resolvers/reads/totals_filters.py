"""Filters of totals by hour: the groups that are asked for, and conditions on their usage or cost."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from enum import StrEnum
from typing import Final

from db.filters import TotalsFilter
from db.hour_buckets import BUCKETS
from ledger.errors import BadUserInput
from ledger.kinds import CostKind, RefType, UsageCategory, UsageOrigin
from ledger.texts import API_KEY, PROJECT
from resolvers.reads.texts import checked_length, checked_ref_id
from resolvers.reads.usage import check_days, checked_models, values_of
from resolvers.time_zones import DEFAULT_ZONE, checked_zone

MAX_DIMENSIONS: Final = 4
MAX_NAMES: Final = 100
"""Maximum number of API keys or projects in a filter."""


class UsageDimension(StrEnum):
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    MODEL = "model"
    CATEGORY = "category"
    ORIGIN = "origin"
    API_KEY = "api_key"
    PROJECT = "project"


class CostDimension(StrEnum):
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    KIND = "kind"
    RESOURCE = "resource"
    API_KEY = "api_key"
    PROJECT = "project"


def _dimensions(group_by: Sequence[StrEnum] | None, order: type[StrEnum]) -> tuple[str, ...] | None:
    """Returns the dimensions in the order of the enumeration. Raises BadUserInput for too many or repeated ones."""
    if not group_by:
        return None
    if len(group_by) > MAX_DIMENSIONS:
        msg = f"groupBy must name at most {MAX_DIMENSIONS} dimensions, not {len(group_by)}"
        raise BadUserInput(msg)
    if len(set(group_by)) < len(group_by):
        raise BadUserInput("groupBy must not name a dimension twice")
    if sum(one.value in BUCKETS for one in group_by) > 1:
        raise BadUserInput("groupBy must name at most one of HOUR, DAY, WEEK and MONTH")
    return tuple(one.value for one in order if one in group_by)


def _zone(time_zone: str | None) -> str | None:
    return None if time_zone in (None, DEFAULT_ZONE) else checked_zone(time_zone or "")


def _names(given: Sequence[str] | None, argument: str, longest: int, *, without: bool | None) -> tuple[str, ...] | None:
    """Returns the names to match; with an empty one if what has no name matches too."""
    if given is None:
        return ("",) if without else None
    if len(given) > MAX_NAMES:
        msg = f"{argument} must have at most {MAX_NAMES} values, not {len(given)}"
        raise BadUserInput(msg)
    names = {checked_length(name, argument, 1, longest) for name in given}
    return tuple(sorted(names | {""} if without else names))


def usage_totals_filter(
    *,
    group_by: Sequence[UsageDimension] | None = None,
    time_zone: str | None = None,
    day_gte: date | None = None,
    day_lt: date | None = None,
    models: Sequence[str] | None = None,
    categories: Sequence[UsageCategory] | None = None,
    origins: Sequence[UsageOrigin] | None = None,
    api_keys: Sequence[str] | None = None,
    without_api_key: bool | None = None,
    projects: Sequence[str] | None = None,
    without_project: bool | None = None,
) -> TotalsFilter:
    """Raises BadUserInput for invalid dimensions, an unknown time zone, an invalid range or a list that is too long."""
    check_days(day_gte, day_lt)
    return TotalsFilter(
        group_by=_dimensions(group_by, UsageDimension),
        time_zone=_zone(time_zone),
        day_gte=day_gte,
        day_lt=day_lt,
        models=checked_models(models),
        categories=values_of(categories),
        origins=values_of(origins),
        api_keys=_names(api_keys, "apiKeyIds", API_KEY.longest, without=without_api_key),
        projects=_names(projects, "projects", PROJECT.longest, without=without_project),
    )


def cost_totals_filter(
    *,
    group_by: Sequence[CostDimension] | None = None,
    time_zone: str | None = None,
    day_gte: date | None = None,
    day_lt: date | None = None,
    kinds: Sequence[CostKind] | None = None,
    ref_type: RefType | None = None,
    ref_id: str | None = None,
    api_keys: Sequence[str] | None = None,
    without_api_key: bool | None = None,
    projects: Sequence[str] | None = None,
    without_project: bool | None = None,
) -> TotalsFilter:
    """Raises BadUserInput as `usage_totals_filter` does, and for a refId of invalid length."""
    check_days(day_gte, day_lt)
    return TotalsFilter(
        group_by=_dimensions(group_by, CostDimension),
        time_zone=_zone(time_zone),
        day_gte=day_gte,
        day_lt=day_lt,
        kinds=values_of(kinds),
        ref_type=None if ref_type is None else ref_type.value,
        ref_id=None if ref_id is None else checked_ref_id(ref_id),
        api_keys=_names(api_keys, "apiKeyIds", API_KEY.longest, without=without_api_key),
        projects=_names(projects, "projects", PROJECT.longest, without=without_project),
    )
