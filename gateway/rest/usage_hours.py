"""Usage by hour, API key, project and price, as CSV."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import date
from typing import Any, Final

from aiohttp import web

from db.csv_lines import Lines, usage_hour_lines
from db.filters import UsageHourFilter, Window
from db.hours import HOURS_A_DAY, first_hour
from db.usage_hours import HourPosition, usage_hours_page
from gateway.rest.columns import AMOUNT, COUNT, TIME, Column
from gateway.rest.exports import STEP_ROWS, Steps
from gateway.rest.price_columns import PRICE_COLUMNS
from gateway.rest.reading import read_step
from ledger.kinds import UsageCategory, UsageOrigin
from resolvers.context import QueryContext
from resolvers.reads.usage_requests import usage_request_filter

_AFTER_ANY_PRICE: Final = "\x01"
"""Follows the project of a position, so that the position is after all rows of the project. No project has it."""

COLUMNS: Final = (
    Column("account", "Id of the account.", {"type": "string", "pattern": r"^acct_[1-9]\d*$"}),
    Column("hour", "Start of the UTC hour of the calls' timestamps.", TIME),
    Column(
        "span_hours",
        "1; or 24 for usage of which only the UTC day is known. `hour` is then the start of the day.",
        {"type": "integer", "enum": [1, HOURS_A_DAY]},
    ),
    Column("model", "Id of the model that was called.", {"type": "string"}, free_text=True),
    Column("category", "The kind of model.", {"type": "string", "enum": [word.value for word in UsageCategory]}),
    Column("origin", "Who provides the model.", {"type": "string", "enum": [word.value for word in UsageOrigin]}),
    Column("api_key", "The customer's key at the platform; empty for none.", {"type": "string"}, free_text=True),
    Column("project", "The customer's project; empty for none.", {"type": "string"}, free_text=True),
    Column("calls", "Number of requests.", COUNT),
    Column("input_tokens", "Tokens sent to the model.", COUNT),
    Column("cached_input_tokens", "The part of the input tokens that was read from a cache.", COUNT),
    Column("output_tokens", "Tokens that the model generated.", COUNT),
    Column("reasoning_tokens", "The part of the output tokens that was spent on reasoning.", COUNT),
    Column("units", "Number of images, seconds of audio and the like.", {"type": "string"}),
    Column("cost", "Cost of the calls.", AMOUNT),
    *PRICE_COLUMNS,
)


def _hour_of(day: date | None) -> int | None:
    return None if day is None else first_hour(day)


def row_filter_of(given: Mapping[str, Any]) -> UsageHourFilter:
    checked = usage_request_filter(
        models=given.get("models"),
        categories=given.get("categories"),
        origins=given.get("origins"),
        api_key_ids=given.get("api_keys"),
        projects=given.get("projects"),
    )
    return UsageHourFilter(
        hour_gte=_hour_of(given.get("day_gte")),
        hour_lt=_hour_of(given.get("day_lt")),
        models=checked.models,
        categories=checked.categories,
        origins=checked.origins,
        api_keys=checked.api_keys,
        projects=checked.projects,
    )


async def _step(request: web.Request, account_id: int, row_filter: UsageHourFilter, window: Window) -> Lines:
    return await read_step(
        request, lambda context: usage_hour_lines(context.snapshot_of(account_id), account_id, row_filter, window)
    )


async def newest(context: QueryContext, account_id: int, row_filter: UsageHourFilter) -> HourPosition | None:
    found = await usage_hours_page(context.snapshot_of(account_id), account_id, row_filter, Window(limit=1))
    return found[0].usage[1:9] if found else None


async def steps(
    request: web.Request, account_id: int, row_filter: UsageHourFilter, newest: HourPosition | None
) -> Steps:
    """The rows up to that of the position `newest`, oldest first."""
    if newest is None:
        return
    *first, project, _ = newest
    end = (*first, project + _AFTER_ANY_PRICE, 0)
    position: HourPosition | None = None
    is_last = False
    while not is_last:
        window = Window(limit=STEP_ROWS, after=end, before=position, oldest=True)
        step = asyncio.create_task(_step(request, account_id, row_filter, window))
        yield step
        lines = await step
        position, is_last = lines.last, lines.row_count < STEP_ROWS
