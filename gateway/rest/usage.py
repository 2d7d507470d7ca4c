from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

from aiohttp import web
from multidict import MultiMapping

from db.csv_lines import Lines, usage_lines
from db.filters import UsageFilter, UsageHourFilter, Window
from db.rows import AccountRow
from gateway.rest import usage_hours
from gateway.rest.columns import AMOUNT, COUNT, Column
from gateway.rest.exports import STEP_ROWS, Steps, stream_csv
from gateway.rest.parameters import (
    ACCOUNT,
    Parameter,
    account_in,
    check_range,
    day_parameter,
    read_parameters,
    texts_parameter,
    word_parameter,
)
from gateway.rest.reading import export_query, read_step, reading
from ledger.errors import BadUserInput
from ledger.ids import account_id_text
from ledger.kinds import UsageCategory, UsageOrigin
from resolvers.context import QueryContext
from resolvers.cursors import UsagePosition
from resolvers.reads.usage import MAX_MODELS, usage_filter
from resolvers.reads.usage_requests import MAX_VALUES
from schema.costs import EXPORT

EXPORT_PATH: Final = "/billing/usage.csv"

COLUMNS: Final = (
    Column("account", "Id of the account.", {"type": "string", "pattern": r"^acct_[1-9]\d*$"}),
    Column("day", "UTC day of the calls' timestamps.", {"type": "string", "format": "date"}),
    Column("model", "Id of the model that was called.", {"type": "string"}, free_text=True),
    Column("category", "The kind of model.", {"type": "string", "enum": [word.value for word in UsageCategory]}),
    Column("origin", "Who provides the model.", {"type": "string", "enum": [word.value for word in UsageOrigin]}),
    Column("calls", "Number of requests.", COUNT),
    Column("input_tokens", "Tokens sent to the model.", COUNT),
    Column("output_tokens", "Tokens that the model generated.", COUNT),
    Column("tokens", "Input plus output tokens.", COUNT),
    Column("cost", "Cost of the calls.", AMOUNT),
)


class By(StrEnum):
    DAY = "day"
    HOUR = "hour"


_OF_HOURS: Final = ("api_keys", "projects")
"""Parameters that only the export by hour has."""

EXPORT_PARAMETERS: Final[tuple[Parameter, ...]] = (
    ACCOUNT,
    word_parameter(
        "by",
        "`day` for a row a day; `hour` for a row an hour, API key, project and price, with all columns. If omitted,"
        " `hour` if `api_keys` or `projects` is given, else `day`.",
        By,
    ),
    day_parameter("day_gte", "Only usage on this UTC day or later."),
    day_parameter("day_lt", "Only usage before this UTC day."),
    texts_parameter("models", f"Only usage of these models, at most {MAX_MODELS}.", example="llama-3-70b"),
    word_parameter("categories", "Only usage of these kinds of models.", UsageCategory, many=True),
    word_parameter("origins", "Only usage from these origins.", UsageOrigin, many=True),
    texts_parameter(
        "api_keys",
        f"Only usage of these keys of the customer, by hour; at most {MAX_VALUES}.",
        example="key_9f2",
    ),
    texts_parameter("projects", f"Only usage of these projects, by hour; at most {MAX_VALUES}.", example="search"),
)


def _row_filter(given: Mapping[str, Any]) -> UsageFilter | UsageHourFilter:
    check_range(given, "day_gte", "day_lt")
    of_hours = [name for name in _OF_HOURS if name in given]
    if given.get("by", By.HOUR if of_hours else By.DAY) == By.HOUR:
        return usage_hours.row_filter_of(given)
    if of_hours:
        msg = f"{of_hours[0]} cannot be combined with by=day: a day's usage has no keys and projects"
        raise BadUserInput(msg)
    return usage_filter(
        day_gte=given.get("day_gte"),
        day_lt=given.get("day_lt"),
        models=given.get("models"),
        categories=given.get("categories"),
        origins=given.get("origins"),
    )


async def _step(request: web.Request, account_id: int, row_filter: UsageFilter, window: Window) -> Lines:
    return await read_step(
        request, lambda context: usage_lines(context.snapshot_of(account_id), account_id, row_filter, window)
    )


async def _steps(request: web.Request, account_id: int, row_filter: UsageFilter, newest: UsagePosition | None) -> Steps:
    """The usage days up to that of the position `newest`, oldest first."""
    if newest is None:
        return
    day, model, category, origin = newest
    end = (day, model, category, f"{origin}~")  # no other origin lies between
    position: UsagePosition | None = None
    while position != newest:
        window = Window(limit=STEP_ROWS, after=end, before=position, oldest=True)
        step = asyncio.create_task(_step(request, account_id, row_filter, window))
        yield step
        lines = await step
        position = lines.last if lines.row_count == STEP_ROWS else newest


async def asked(context: QueryContext, query: MultiMapping[str]) -> tuple[AccountRow, UsageFilter | UsageHourFilter]:
    """Returns the account and the filter of an export with these parameters."""
    given = read_parameters(query, EXPORT_PARAMETERS)
    row_filter = _row_filter(given)
    return await account_in(context, given), row_filter


async def export(request: web.Request) -> web.StreamResponse:
    query = await export_query(request)
    async with reading(request, EXPORT) as context:
        account, row_filter = await asked(context, query)
        columns: Sequence[Column] = COLUMNS
        kind = "usage"
        if isinstance(row_filter, UsageHourFilter):
            columns, kind = usage_hours.COLUMNS, "usage-by-hour"
            newest_hour = await usage_hours.newest(context, account.id, row_filter)
            steps = usage_hours.steps(request, account.id, row_filter, newest_hour)
        else:
            newest = await context.loaders.usage_page.load((account.id, (row_filter, Window(limit=1))))
            steps = _steps(request, account.id, row_filter, newest[0][1:5] if newest else None)
    return await stream_csv(request, f"{kind}-{account_id_text(account.id)}.csv", columns, steps)
