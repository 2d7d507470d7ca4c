"""Links that download an export without a key: for browsers, which send none when a link is followed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Final

import orjson
from aiohttp import hdrs, web
from multidict import MultiMapping

from access.tokens import Purpose
from gateway.json_bodies import posted_text
from gateway.requests import authenticate
from gateway.rest import statements, transactions, usage
from gateway.rest.reading import TOKEN, parsed_query, reading
from gateway.services import SERVICES
from ledger.chain import format_time
from ledger.errors import BadUserInput
from resolvers.context import QueryContext
from schema.costs import TOKEN as TOKEN_POINTS

PATH: Final = "/billing/export-links"
LIFETIME: Final = timedelta(minutes=5)
MAX_ADDRESS: Final = 8_000

_EXPORTS: Final[Mapping[str, Callable[[QueryContext, MultiMapping[str]], Awaitable[Any]]]] = MappingProxyType(
    {
        transactions.EXPORT_PATH: transactions.asked,
        usage.EXPORT_PATH: usage.asked,
        statements.EXPORT_PATH: statements.asked,
        statements.PDF_PATH: statements.asked_as_pdf,
    }
)
"""Functions that read the parameters of each export, and refuse those that the export would refuse."""


def _parsed(address: str) -> tuple[str, str]:
    """The path and the parameters of an export's address."""
    if len(address) > MAX_ADDRESS:
        msg = f"address must have at most {MAX_ADDRESS} characters"
        raise BadUserInput(msg)
    path, _, query = address.partition("?")
    if path not in _EXPORTS or "#" in query:
        msg = f"address must be one of {', '.join(_EXPORTS)}, with its parameters"
        raise BadUserInput(msg)
    return path, query


async def create(request: web.Request) -> web.Response:
    principal = await authenticate(request)
    path, query = _parsed(await posted_text(request, "address"))
    services, parameters = request.app[SERVICES], parsed_query(query)
    async with reading(request, TOKEN_POINTS) as context:
        await _EXPORTS[path](context, parameters)
    if path == statements.PDF_PATH:
        await statements.check_fonts(services.typesetter, parameters)
    expires_at = services.clock() + LIFETIME
    token = await services.tokens.issue(principal, Purpose.EXPORT, LIFETIME, f"{path}?{query}")
    body = {"address": f"{path}?{TOKEN}={token}", "expiresAt": format_time(expires_at)}
    headers: dict[str, str] = {hdrs.CACHE_CONTROL: "no-store"}
    return web.Response(body=orjson.dumps(body), status=201, content_type="application/json", headers=headers)
