"""Answers that a client may keep: to a GET that names its document, for the client's own key only."""

from __future__ import annotations

import hashlib
from typing import Final

from aiohttp import ETag, hdrs, web
from aiohttp.helpers import ETAG_ANY

VARY: Final = f"{hdrs.AUTHORIZATION}, {hdrs.ACCEPT}"


def _tag_of(media_type: str, body: bytes) -> ETag:
    """Weak: an answer is the same however it is compressed."""
    return ETag(hashlib.blake2b(body, digest_size=16, person=media_type[-16:].encode()).hexdigest(), is_weak=True)


def cacheable(request: web.Request, media_type: str, body: bytes, max_age_seconds: int) -> web.Response:
    """The answer, or 304 if the client has it already."""
    tag = _tag_of(media_type, body)
    known = request.if_none_match or ()
    if any(one.value in (tag.value, ETAG_ANY) for one in known):
        response = web.Response(status=304)
    else:
        response = web.Response(body=body, headers={hdrs.CONTENT_TYPE: f"{media_type}; charset=utf-8"})
    response.etag = tag
    kept = f"max-age={max_age_seconds}" if max_age_seconds else "no-cache"
    response.headers.update({hdrs.CACHE_CONTROL: f"private, {kept}", hdrs.VARY: VARY})
    return response
