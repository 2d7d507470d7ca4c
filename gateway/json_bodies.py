from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web

from gateway.errors import RequestError
from gateway.graphql_request import parsed_json
from gateway.media_types import JSON
from gateway.requests import read_body

Read = Callable[[web.Request], Awaitable[bytes]]


async def posted_json(request: web.Request, read: Read = read_body) -> object:
    """The body's value. Raises RequestError, and ClientLeft."""
    if request.content_type != JSON or (request.charset or "utf-8").lower() not in {"utf-8", "utf8"}:
        msg = f"the body must be {JSON} in UTF-8, not {request.headers.get(hdrs.CONTENT_TYPE, 'of no type')[:100]}"
        raise RequestError("UNSUPPORTED_MEDIA_TYPE", msg)
    return parsed_json(await read(request), "the body")


async def posted_text(request: web.Request, name: str, read: Read = read_body) -> str:
    """The one member, a string, of a body that is an object. Raises RequestError, and ClientLeft."""
    given = await posted_json(request, read)
    if not isinstance(given, dict) or list(given) != [name] or not isinstance(given[name], str):
        msg = f"the body must be a JSON object with only the member {name}, a string"
        raise RequestError("BAD_USER_INPUT", msg)
    text: str = given[name]
    return text
