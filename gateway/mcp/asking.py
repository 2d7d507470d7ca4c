"""Sends a tool's operation to a gateway: one at an address, or the one that this process is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import Any, Final

import aiohttp
import orjson

from access.addresses import allows
from access.keys import Principal
from db.errors import DatabaseError
from execution.limits import ListTooLong
from gateway.errors import RequestError, problem_of
from gateway.graphql_request import GraphQLRequest
from gateway.operations import Refused, find_operation, run_operation
from gateway.rates import RateExceeded, TooCostly
from gateway.serve import check_schema
from gateway.services import Services, build_services
from gateway.settings import Settings
from gateway.slots import QueueFull
from ledger.errors import BillingError

Ask = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]
"""Returns the data of an operation's text with these variables. Raises NotAnswered."""

TIMEOUT_SECONDS: Final = 60.0
LOOPBACK: Final = ip_address("127.0.0.1")

_NOT_ADMITTED: Final = (RateExceeded, TooCostly, QueueFull, ListTooLong)


class NotAnswered(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


def _data(body: object) -> dict[str, Any]:
    """Raises NotAnswered for the first of the errors."""
    if isinstance(body, dict) and (errors := body.get("errors")):
        raise NotAnswered(errors[0].get("extensions", {}).get("code", "INTERNAL"), errors[0].get("message", ""))
    if not isinstance(body, dict) or not isinstance(body.get("data"), dict):
        raise NotAnswered("UNAVAILABLE", "the answer is not GraphQL's: check the address")
    data: dict[str, Any] = body["data"]
    return data


@asynccontextmanager
async def remote_gateway(url: str, key: str) -> AsyncIterator[Ask]:
    """The gateway at an address."""
    address, headers = f"{url.rstrip('/')}/graphql", {"Authorization": f"Bearer {key}", "Accept": "application/json"}
    async with aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(TIMEOUT_SECONDS)) as session:

        async def ask(text: str, variables: dict[str, Any]) -> dict[str, Any]:
            try:
                async with session.post(address, json={"query": text, "variables": variables}) as response:
                    return _data(orjson.loads(await response.read()))
            except (aiohttp.ClientError, TimeoutError) as error:
                raise NotAnswered("UNAVAILABLE", f"{address} cannot be reached: {error}") from error
            except orjson.JSONDecodeError as error:
                raise NotAnswered("UNAVAILABLE", f"{address} does not answer in JSON: check the address") from error

        yield ask


@asynccontextmanager
async def own_gateway(settings: Settings, key: str) -> AsyncIterator[Ask]:
    """The gateway's own parts on its database, with the same checks and bounds but no HTTP."""
    await check_schema(settings)
    services = build_services(settings)

    async def ask(text: str, variables: dict[str, Any]) -> dict[str, Any]:
        given = GraphQLRequest(text, None, variables)
        try:
            principal = await _admitted(services, key)
            answer = await run_operation(services, principal, await find_operation(services, principal, given), given)
        except Refused as refused:
            return _data({"errors": refused.errors})
        except (BillingError, DatabaseError, RequestError, *_NOT_ADMITTED) as error:
            problem = problem_of(error)
            raise NotAnswered(problem.code, problem.message) from error
        # Scalars are serialized here as they are for HTTP.
        return _data(orjson.loads(orjson.dumps(answer.body)))

    try:
        yield ask
    finally:
        await services.close()


async def _admitted(services: Services, key: str) -> Principal:
    """Does what a request from this machine does."""
    principal = await services.authenticator.principal(key)
    if not allows(principal.allowed_addresses, LOOPBACK):
        raise RequestError("FORBIDDEN", f"the API key is not allowed from the address {LOOPBACK}")
    services.authenticator.note_use(principal, LOOPBACK)
    return principal
