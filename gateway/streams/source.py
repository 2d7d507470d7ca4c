"""Source of the transports' events, which the composition root sets."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

from aiohttp import web

from access.keys import Principal
from gateway.graphql_request import GraphQLRequest
from gateway.services import Services
from gateway.streams.subscription import EventStream

Answers = Callable[[Services, Principal, GraphQLRequest, str | None], Coroutine[Any, Any, EventStream]]

ANSWERS: Final = web.AppKey[Answers]("answers")
