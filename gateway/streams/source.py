"""Where the transports get their events from: the composition root says."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

from aiohttp import web

from gateway.graphql_request import GraphQLRequest
from gateway.parts import Parts
from gateway.streams.subscription import EventStream
from ledger.keys import Principal

Answers = Callable[[Parts, Principal, GraphQLRequest, str | None], Coroutine[Any, Any, EventStream]]

ANSWERS: Final = web.AppKey[Answers]("answers")
