"""Database URLs and their parameters.

No error repeats a part of a URL: a special character in a password moves the rest of it into another part.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs, urlencode

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

SSL_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
SYSTEM_CERTIFICATES: Final = "system"

_SHAPE: Final = (
    "invalid database URL: expected a form like sqlite:///billing.db or postgresql://user:password@host:5432/billing"
)
_STRAY_ENDS: Final = " ,;|'\"`\\\u2018\u2019\u201c\u201d"
_STRAY: Final = "a database URL must not begin or end with a space, comma, semicolon, bar, backslash or quote"
_SEVERAL: Final = "several database URLs without a space between them"
_NEXT_URL: Final = re.compile(r"(?:sqlite|postgres(?:ql)?)(?:\+\w+)?://")
_PARAMETERS: Final = ("host", "port", "sslmode", "sslrootcert", "target_session_attrs")
SESSION_ATTRIBUTES: Final = ("any", "primary", "standby", "prefer-standby", "read-write", "read-only")
DEFAULT_PORT: Final = 5432

_NUMBERED: Final = re.compile(r"(\d{1,9})=(.+)", re.ASCII)
_HOSTS: Final = re.compile(
    r"(postgres(?:ql)?(?:\+\w+)?://(?:[^/?#]*@)?)([^/?#@]*,[^/?#@]*)((?:/[^?#]*)?)(?:\?([^#]*))?"
)
_HOST: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:,\[\]]+))(?::(\d{1,5}))?")


class DatabaseUrls(NamedTuple):
    """URLs of one database."""

    url: str
    direct: str | None = None
    """The way past the pooler that `url` leads to. None, or the same URL, if it leads to none."""
    read: tuple[str, ...] = ()
    """Replicas."""

    def check(self) -> None:
        """Raises ValueError for a pooler or replicas of SQLite, and for a replica that is not one server."""
        others = [*self.read, *([] if self.direct is None else [self.direct])]
        if others and any(driver_url(url).get_backend_name() != "postgresql" for url in (self.url, *others)):
            raise ValueError(
                "direct_database_url and read_database_urls require PostgreSQL URLs, and so does database_url with them"
            )
        if any(isinstance(connect_arguments(driver_url(url)).get("host"), list) for url in self.read):
            # What one of its connections tells of the log would not hold for another.
            raise ValueError("each of read_database_urls must name one server: separate several URLs by spaces")


def check_set_of_urls(shards: Sequence[DatabaseUrls]) -> None:
    """Raises ValueError, naming the setting, for a database or a replica that is given twice, and for shards on both
    kinds of database."""
    if len({driver_url(one.url).get_backend_name() for one in shards}) > 1:
        raise ValueError("shards: all must be PostgreSQL databases or all SQLite files, as database_url is")
    for name, urls in (
        ("shards", [(number, one.url) for number, one in enumerate(shards)]),
        ("direct_shards", [(number, one.direct or one.url) for number, one in enumerate(shards)]),
        ("read_shards", [(number, url) for number, one in enumerate(shards) for url in one.read]),
    ):
        known: dict[tuple[str, ...], int] = {}
        for number, url in urls:
            place = _place_of(url)
            if place in known:
                raise ValueError(_given_twice(name, known[place], number))
            known[place] = number


def _given_twice(name: str, first: int, second: int) -> str:
    if name != "read_shards":
        return f"{name}: shard {first} and shard {second} have the same database"
    if second == 0:
        return "read_database_urls: a replica is given twice"
    return f"{name}: a replica of shard {second} is given a second time, first for shard {first}"


def numbered_urls(name: str, text: str) -> dict[int, tuple[str, ...]]:
    """Returns the URLs of a setting like `1=postgresql://db1/billing 2=postgresql://db2/billing` by their numbers.
    Raises ValueError."""
    found: dict[int, tuple[str, ...]] = {}
    for one in text.split():
        match = _NUMBERED.fullmatch(one)
        if match is None:
            msg = f"{name}: expected the number of a shard before each URL, like 1=postgresql://db1/billing"
            raise ValueError(msg)
        try:
            driver_url(match[2])
        except ValueError as error:
            msg = f"{name}: {error}"
            raise ValueError(msg) from None
        number = int(match[1])
        found[number] = (*found.get(number, ()), match[2])
    return found


def driver_url(url: str) -> URL:
    """Returns the URL with this program's asynchronous driver. Raises `ValueError` for URLs that it cannot use."""
    _check_text(url)
    try:
        url.encode()
        parsed = make_url(_with_hosts_as_parameters(url))
    except (ArgumentError, ValueError):
        raise ValueError(_SHAPE) from None
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        _check_sqlite(parsed)
        return parsed.set(drivername="sqlite+aiosqlite")
    if backend in {"postgresql", "postgres"}:
        parsed = parsed.set(drivername="postgresql+asyncpg")
        _check_postgresql(parsed)
        return parsed
    msg = f"unsupported database {backend}: use sqlite or postgresql"
    raise ValueError(msg)


def _check_text(url: str) -> None:
    """Raises ValueError for remains of a list's separators and of a shell's quotes: a server would take them for a part
    of the database's name."""
    if any(ord(character) < ord(" ") or character == "\x7f" for character in url):
        raise ValueError("a database URL must not contain line breaks or other control characters")
    if _NEXT_URL.search(url.partition("://")[2]):
        raise ValueError(_SEVERAL)
    if url.strip(_STRAY_ENDS) != url:
        raise ValueError(_STRAY)


def _place_of(url: str) -> tuple[str, ...]:
    """Returns the servers and the database that the URL names: the same for another user or other parameters."""
    parsed = driver_url(url)
    if parsed.get_backend_name() == "sqlite":
        return (str(Path(parsed.database or "").resolve()),)
    hosts, ports = (parsed.query.get(name) for name in ("host", "port"))
    host = hosts or (parsed.host or "").lower()
    port = ports or str(parsed.port or DEFAULT_PORT)
    named = parsed.database or parsed.username or ""
    return (*((host,) if isinstance(host, str) else host), *((port,) if isinstance(port, str) else port), named)


def _with_hosts_as_parameters(url: str) -> str:
    """Several hosts before the slash, as libpq takes them, in the only form that SQLAlchemy takes."""
    found = _HOSTS.fullmatch(url)
    if found is None:
        return url
    before, listed, path, query = found.groups()
    hosts = [_HOST.fullmatch(one) for one in listed.split(",")]
    if None in hosts or any(name in parse_qs(query or "") for name in ("host", "port")):
        raise ValueError(_SHAPE)
    parameters = {
        "host": ",".join(host[1] or host[2] for host in hosts if host),
        "port": ",".join(host[3] or str(DEFAULT_PORT) for host in hosts if host),
    }
    return f"{before}{path}?{'&'.join(filter(None, (query, urlencode(parameters))))}"


def _check_sqlite(url: URL) -> None:
    if url.host or url.port or url.username or url.password is not None:
        raise ValueError("invalid SQLite URL: write three slashes before a relative path, four before an absolute path")
    if url.database in {None, "", ":memory:"}:
        raise ValueError(
            "the SQLite database must be a file: in memory, every connection would have an empty database of its own"
        )
    if url.query:
        raise ValueError("a SQLite URL takes no parameters")


def _check_postgresql(url: URL) -> None:
    if not set(url.query) <= set(_PARAMETERS):
        msg = f"unknown parameter in the PostgreSQL URL: allowed are {', '.join(_PARAMETERS)}"
        raise ValueError(msg)
    attributes = url.query.get("target_session_attrs", "any")
    if attributes not in SESSION_ATTRIBUTES:
        msg = f"target_session_attrs must be given once, as one of {', '.join(SESSION_ATTRIBUTES)}"
        raise ValueError(msg)
    ports = connect_arguments(url).get("port", DEFAULT_PORT)
    # SQLAlchemy takes port 0 for no port.
    if url.port == 0 or not all(1 <= port <= 65_535 for port in (ports if isinstance(ports, list) else [ports])):
        raise ValueError("the port of a PostgreSQL URL must be between 1 and 65535")


def connect_arguments(url: URL) -> dict[str, Any]:
    """Returns the arguments for asyncpg. Raises `ValueError` for an invalid parameter."""
    tls = _tls(url)
    try:
        _, found = url.get_dialect()().create_connect_args(url.difference_update_query(["sslmode", "sslrootcert"]))
    except (ArgumentError, TypeError, ValueError):
        raise ValueError(_SHAPE) from None
    arguments = dict(found)
    return arguments if tls is None else arguments | {"ssl": tls}


def _tls(url: URL) -> str | ssl.SSLContext | None:
    """Converts libpq's `sslmode` and `sslrootcert` to asyncpg's `ssl`: a mode, or the certificates to trust."""
    mode, certificates = url.query.get("sslmode"), url.query.get("sslrootcert")
    if mode is None and certificates is None:
        return None
    if mode not in SSL_MODES:
        msg = f"sslmode must be given once, as one of {', '.join(SSL_MODES)}"
        raise ValueError(msg)
    assert isinstance(mode, str)
    if certificates is None or SSL_MODES.index(mode) < SSL_MODES.index("require"):
        return mode
    if certificates == SYSTEM_CERTIFICATES:
        if mode != "verify-full":
            # Anybody can get a certificate that the system trusts, for a name of their own.
            raise ValueError("sslrootcert=system requires sslmode=verify-full")
        return ssl.create_default_context()
    try:
        context = ssl.create_default_context(cafile=str(certificates))
    except OSError:
        raise ValueError("the sslrootcert file has no readable certificates") from None
    # As in libpq: with a root certificate, `require` verifies as `verify-ca` does.
    context.check_hostname = mode == "verify-full"
    return context
