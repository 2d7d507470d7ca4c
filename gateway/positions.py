"""Positions of clients: what a client has seen, which a read from a replica must have, too.

Where there are replicas, each answer has a position in the header `Billing-Position`: a time of the primary's clock,
the timeline of its log and, with shards, the number of the shard. A client sends the newest one back, or `0-0` if it
has seen nothing.
"""

from __future__ import annotations

import re
from typing import Final

from aiohttp import web

from db.connections.replicas import SeenUntil
from db.database import Database
from db.replica_reads import newest_position
from db.shards import account_shard
from gateway.errors import RequestError

POSITION: Final = "Billing-Position"

_SHAPE: Final = re.compile(r"(\d{1,18})-(\d{1,10})(?:-(\d{1,2}))?", re.ASCII)


def position_of(request: web.BaseRequest) -> SeenUntil | None:
    """Returns None for a client that sends none: it may have seen anything. Raises RequestError for a position that no
    answer had."""
    given = request.headers.getall(POSITION, ())
    if not given:
        return None
    match = _SHAPE.fullmatch(given[0])
    if match is None or len(given) > 1:
        msg = f"{POSITION} must be given at most once, as an answer had it"
        raise RequestError("BAD_USER_INPUT", msg)
    return SeenUntil(int(match[1]), int(match[2]), None if match[3] is None else int(match[3]))


async def position_headers(database: Database, account_id: int | None) -> dict[str, str]:
    """Returns the header of an answer that is there now, to a key of the account. `database` is any of the set."""
    seen = await newest_position(database if account_id is None else account_shard(database, account_id), account_id)
    if seen is None:
        return {}
    return {POSITION: "-".join(str(part) for part in seen if part is not None)}
