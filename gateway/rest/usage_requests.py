"""A single request with its cost and price, by the request's own id."""

from __future__ import annotations

from typing import Final

import orjson
from aiohttp import hdrs, web

from db.attribution_rows import RequestDetailRow, UsagePriceRow
from gateway.requests import query_of
from gateway.rest.columns import AMOUNT, COUNT, TIME, Column, nullable
from gateway.rest.exports import Cells
from gateway.rest.parameters import ACCOUNT, Parameter, account_in, read_parameters
from gateway.rest.price_columns import PRICE_COLUMNS, price_cells
from gateway.rest.reading import reading
from ledger.chain import format_time
from ledger.errors import NotFound
from ledger.ids import account_id_text, transaction_id_text
from ledger.kinds import UsageCategory, UsageOrigin
from ledger.money import format_nanos
from ledger.texts import REQUEST_ID
from resolvers.reads.usage_requests import price_of, usage_request
from schema.costs import REST_PAGE

PATH: Final = "/billing/usage/requests/{id}"

_TEXT: Final = {"type": "string"}

ID_SCHEMA: Final = {"type": "string", "minLength": 1, "maxLength": REQUEST_ID.longest}

COLUMNS: Final = (
    Column("id", "The request's own id.", _TEXT),
    Column("account", "Id of the account.", {"type": "string", "pattern": r"^acct_[1-9]\d*$"}),
    Column("at", "Time of the request.", TIME),
    Column("model", "Id of the model that was called.", _TEXT),
    Column("category", "The kind of model.", {"type": "string", "enum": [word.value for word in UsageCategory]}),
    Column("origin", "Who provides the model.", {"type": "string", "enum": [word.value for word in UsageOrigin]}),
    Column("api_key", "The customer's key at the platform; null if none was named.", nullable(_TEXT)),
    Column("project", "The customer's project; null if none was named.", nullable(_TEXT)),
    Column("end_user", "The customer's own user; null if none was named.", nullable(_TEXT)),
    Column("input_tokens", "Tokens sent to the model.", COUNT),
    Column("cached_input_tokens", "The part of the input tokens that was read from a cache.", COUNT),
    Column("output_tokens", "Tokens that the model generated.", COUNT),
    Column("reasoning_tokens", "The part of the output tokens that was spent on reasoning.", COUNT),
    Column("units", "Number of images, seconds of audio and the like.", _TEXT),
    Column("cost", "Cost of the request.", AMOUNT),
    *PRICE_COLUMNS,
    Column(
        "transaction",
        "The ledger row that charged the request with the others of its batch; null if the request was imported or its"
        " batch cost nothing.",
        nullable({"type": "string", "pattern": r"^txn_[1-9]\d*_[1-9]\d*$"}),
    ),
)
_NAMES: Final = tuple(column.name for column in COLUMNS)

PARAMETERS: Final[tuple[Parameter, ...]] = (ACCOUNT,)


def _cells(row: RequestDetailRow, price: UsagePriceRow | None) -> Cells:
    """In the order of COLUMNS."""
    return [
        row.request_id,
        account_id_text(row.account_id),
        format_time(row.at),
        row.model,
        row.category,
        row.origin,
        row.api_key,
        row.project,
        row.end_user,
        row.input_tokens,
        row.cached_input_tokens,
        row.output_tokens,
        row.reasoning_tokens,
        format_nanos(row.units_nanos),
        format_nanos(row.cost_nanos),
        *price_cells(price),
        None if row.seq is None else transaction_id_text(row.account_id, row.seq),
    ]


async def single(request: web.Request) -> web.Response:
    async with reading(request, REST_PAGE) as context:
        account = await account_in(context, read_parameters(query_of(request), PARAMETERS))
        row = await usage_request(context, account.id, request.match_info["id"])
        if row is None:
            raise NotFound("there is no such request, or it is not kept any longer")
        price = await price_of(context, row)
    body = orjson.dumps(dict(zip(_NAMES, _cells(row, price), strict=True)))
    headers: dict[str, str] = {hdrs.CACHE_CONTROL: "no-store"}
    return web.Response(body=body, content_type="application/json", headers=headers)
