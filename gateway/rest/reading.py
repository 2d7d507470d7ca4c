from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, TypeVar
from urllib.parse import parse_qsl

from aiohttp import web
from multidict import MultiDict, MultiMapping

from access.keys import Principal, valid_keys
from access.tokens import Purpose, Token
from db.connections.replicas import SeenUntil
from db.errors import AccountMoved, DatabaseError
from db.moved_accounts import MAX_TRIES
from db.replica_reads import newest_position, replica_read
from gateway.deadlines import deadline
from gateway.requests import RATE, admit, authenticate, query_of
from gateway.services import SERVICES, Services
from ledger.errors import BadUserInput, BillingError, Unauthenticated
from resolvers.context import QueryContext
from schema.costs import STEP

Result = TypeVar("Result")


class NoAnswer(Exception):
    """A replica failed, or what it answered does not count."""


TOKEN: Final = "token"  # noqa: S105  the name of the parameter

_MOVED: Final = "the account was moved to another shard while it was read"
_SEEN: Final = web.RequestKey[SeenUntil | None]("seen", SeenUntil)
_REDEEMED: Final = web.RequestKey("token", Token)


def parsed_query(text: str) -> MultiMapping[str]:
    """Raises BadUserInput for bytes that are no UTF-8."""
    try:
        return MultiDict(parse_qsl(text, keep_blank_values=True, errors="strict"))
    except ValueError as error:
        raise BadUserInput("the parameters in the address are not UTF-8") from error


async def export_query(request: web.Request) -> MultiMapping[str]:
    """The parameters of an export, be they in its address or in the token that stands there in their place."""
    query = query_of(request)
    if TOKEN not in query:
        return query
    if len(query) > 1:
        raise BadUserInput("a token cannot be combined with other parameters: they were given when it was created")
    redeemed = await request.app[SERVICES].tokens.redeem(query[TOKEN], Purpose.EXPORT)
    path, _, text = (redeemed.payload or "").partition("?")
    if path != request.path:
        raise Unauthenticated("the token is for another export")
    request[_REDEEMED] = redeemed
    admit(request, redeemed.principal)
    return parsed_query(text)


async def _principal(request: web.Request) -> Principal:
    redeemed: Token | None = request.get(_REDEEMED)
    if redeemed is None:
        return await authenticate(request)
    # A download that began in time may go on, for as long as its key is valid.
    services, principal = request.app[SERVICES], redeemed.principal
    if not await valid_keys(services.database, [principal], services.clock()):
        raise Unauthenticated("the API key has expired or was revoked")
    return principal


@contextlib.asynccontextmanager
async def reading(
    request: web.Request,
    points: float,
    *,
    brief: bool = False,
    is_step: bool = False,
    may_lag: bool = False,
) -> AsyncIterator[QueryContext]:
    """One read for the key of the request, which spends the points: a page, or a step of an export, within the time of
    an operation. Its connection is taken at the first statement; `brief` allows no other. `may_lag` allows a replica
    that has what the export's first read has seen: raises NoAnswer afterwards if the primary must be read instead."""
    services = request.app[SERVICES]
    principal = await _principal(request)
    request[RATE] = await services.admission.spend(principal, points)
    limit = deadline(services.settings.operation_timeout_seconds)
    of_key = services.of(principal)
    routes = of_key.routes(principal)
    seen = await _seen(request, of_key, principal) if may_lag else None
    replica = replica_read(of_key.database, principal.account_id, seen)
    snapshots = of_key.snapshots(brief=brief, on=None if replica is None else replica.readers)
    slot = services.admission.slot(principal, points, is_export_step=is_step)
    async with slot, limit, snapshots as (snapshot, *others):
        context = QueryContext(
            snapshot,
            principal,
            services.clock(),
            sizes=services.sizes,
            others=others,
            routes=routes if others else None,
        )
        try:
            yield context
        except (BillingError, DatabaseError) as error:
            if replica is not None:
                replica.leave_out(error)
                raise NoAnswer from error
            if routes is not None and not await routes.confirm():
                raise AccountMoved(_MOVED) from error
            raise
        if replica is not None:
            if not replica.counts:
                raise NoAnswer
        elif routes is not None and not await routes.confirm():
            raise AccountMoved(_MOVED)


async def read_step(request: web.Request, read: Callable[[QueryContext], Awaitable[Result]]) -> Result:
    """Makes a step of an export, from a replica where one has what the export's first read has seen. The key is checked
    anew at each step. The export was paid for at its start. If the account was moved meanwhile, the step is made again,
    where it is now."""
    for tries in range(MAX_TRIES):
        with contextlib.suppress(AccountMoved, NoAnswer):
            async with reading(request, STEP, brief=True, is_step=True, may_lag=tries == 0) as context:
                return await read(context)
    raise AccountMoved(_MOVED)


async def _seen(request: web.Request, services: Services, principal: Principal) -> SeenUntil | None:
    """Returns the position of the export's first read, which is over when its first step begins."""
    if _SEEN not in request:
        request[_SEEN] = await newest_position(services.database, principal.account_id)
    return request[_SEEN]
