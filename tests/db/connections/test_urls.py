from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from db.connections.urls import SESSION_ATTRIBUTES, SSL_MODES, connect_arguments, driver_url
from db.database import Database, DatabaseOptions
from db.errors import DatabaseUnavailable
from db.keys import key_by_digest
from db.schema_version import check
from tests.postgres import Postgres

ROOT = Path(__file__).parents[3]
GUIDE = (ROOT / "docs/configuration.md").read_text().split("## Database URLs")[1]


@pytest.mark.parametrize(
    "url",
    [
        *("", "foo", "/path/to/s3cr3t.db", "s3cr3t", "://s3cr3t", "sqlite:s3cr3t", "postgresql:/s3cr3t"),
        *("sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite://s3cr3t/a.db", "sqlite://u:s3cr3t@/a.db"),
        *("sqlite:///a.db?mode=ro", "sqlite:///a.db?timeout=s3cr3t", "sqlite:///a\udcff.db"),
        *("postgresql://u:p@h:s3cr3t@x/d", "postgresql://u:s3cr3t@h:99999999/d", "postgresql://u@h:0/d"),
        *("postgresql://u@h/d?port=s3cr3t", "postgresql://u@h/d?port=99999999", "postgresql://u@h/d?timeout=s3cr3t"),
        *("postgresql://u@h/d?s3cr3t=1", "postgresql://u@h/d?port=1&port=2"),
        *("postgresql://u@h/d?password=s3cr3t", "postgresql://u:s3cr3t@h1:1,h2:/d"),
        *("postgresql://u:s3cr3t@h1:1,/d", "postgresql://u:s3cr3t@h1,h2:99999/d", "postgresql://u@h1,h2/d?host=s3cr3t"),
        *("postgresql://u@h/d?target_session_attrs=s3cr3t",),
        *("postgresql://u@h/d?sslmode=s3cr3t", "postgresql://u@h/d?sslrootcert=s3cr3t"),
        *(
            "postgresql://u@h/d?sslmode=require&sslmode=require",
            "postgresql://u@h/d?sslmode=require&sslrootcert=system",
        ),
        *("postgresql://u@h/d?sslmode=require&sslrootcert=/s3cr3t", "oracle://u:s3cr3t@h/d"),
    ],
)
def test_unusable_url_error_does_not_repeat_the_url(url: str) -> None:
    with pytest.raises(ValueError) as caught:
        driver_url(url)
    assert type(caught.value) is ValueError
    assert "s3cr3t" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_documented_urls_and_modes_are_accepted() -> None:
    urls = re.findall(r"^\| `(\w+://\S+)` ", GUIDE, re.MULTILINE)
    assert len(urls) == 5
    for url in urls:
        driver_url(url)
    for begin, known in (("As in libpq: ", SSL_MODES), ("Which of several hosts is used: ", SESSION_ATTRIBUTES)):
        (listed,) = re.findall(f"{begin}(.*?);", GUIDE)
        assert tuple(re.findall(r"`(.+?)`", listed)) == known


@pytest.mark.parametrize(
    ("url", "hosts", "ports"),
    [
        ("postgresql://u:p@a:1,b:2/d?target_session_attrs=primary", ["a", "b"], [1, 2]),
        ("postgresql://u:p@a,b:2/d", ["a", "b"], [5432, 2]),
        ("postgresql://u:p@[::1]:1,[::2]/d?sslmode=disable", ["::1", "::2"], [1, 5432]),
        ("postgresql://u:p@/d?host=a,b&port=1,2", ["a", "b"], [1, 2]),
        ("postgresql://u:p@/d?host=a:1&host=b:2", ["a", "b"], [1, 2]),
        ("postgresql://u:p,q@a:1/d", "a", 1),
    ],
)
def test_several_hosts_are_read_as_libpq_reads_them(url: str, hosts: object, ports: object) -> None:
    arguments = connect_arguments(driver_url(url))
    assert (arguments["host"], arguments["port"]) == (hosts, ports)


def _certificate(folder: Path) -> tuple[Path, Path]:
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"]
    subprocess.run(
        [*command, *names, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True, timeout=30
    )
    return certificate, key


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


@contextlib.asynccontextmanager
async def _in_front_of(server: Postgres, context: ssl.SSLContext | None) -> AsyncIterator[int]:
    """The test's PostgreSQL, which listens on a socket alone, on a TCP port: with TLS, or refusing it."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.readexactly(8)
        socket_path = f"{server.host}/.s.PGSQL.5432"
        if first[4:] == b"\x04\xd2\x16\x2f":  # SSLRequest
            writer.write(b"S" if context else b"N")
            await writer.drain()
            first = b""
            if context:
                try:
                    await writer.start_tls(context)
                except OSError:
                    return
        behind_reader, behind_writer = await asyncio.open_unix_connection(socket_path)
        behind_writer.write(first)
        await asyncio.gather(_copy(reader, behind_writer), _copy(behind_reader, writer))

    listening = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with listening:
        yield int(listening.sockets[0].getsockname()[1])


async def _refusal(url: str) -> str:
    """Why neither way to the database works; empty where both do."""
    database = Database(DatabaseOptions(url))
    try:
        await check(database)
        assert await key_by_digest(database, b"") is None
    except DatabaseUnavailable as error:
        return str(error)
    finally:
        await database.close()
    return ""


async def test_sslmode_and_sslrootcert_work_as_in_libpq(
    postgres_server: Postgres, postgres_template: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = _certificate(tmp_path)
    (other := tmp_path / "other").mkdir()
    foreign, _ = _certificate(other)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    monkeypatch.setenv("HOME", str(other))
    name = await postgres_server.new_database(postgres_template)
    no_tls = "the database does not offer TLS, which sslmode in the database URL requires"
    uncertain = "TLS with the database failed (CERTIFICATE_VERIFY_FAILED)"

    async def found(host: str, port: int, parameters: str) -> str:
        return await _refusal(f"postgresql://{postgres_server.user}@{host}:{port}/{name}{parameters}")

    async with _in_front_of(postgres_server, None) as port:
        for parameters in ("", "?sslmode=disable", "?sslmode=prefer"):
            assert await found("localhost", port, parameters) == ""
        for parameters in ("?sslmode=require", f"?sslmode=verify-full&sslrootcert={certificate}"):
            assert await found("localhost", port, parameters) == no_tls
    async with _in_front_of(postgres_server, context) as port:
        for mode in ("disable", "prefer", "require"):
            assert await found("localhost", port, f"?sslmode={mode}") == ""
        for mode in ("require", "verify-ca", "verify-full"):
            assert await found("localhost", port, f"?sslmode={mode}&sslrootcert={certificate}") == ""
            assert await found("localhost", port, f"?sslmode={mode}&sslrootcert={foreign}") == uncertain
        assert await found("127.0.0.1", port, f"?sslmode=verify-ca&sslrootcert={certificate}") == ""
        assert await found("127.0.0.1", port, f"?sslmode=verify-full&sslrootcert={certificate}") == uncertain
        assert await found("localhost", port, "?sslmode=verify-full&sslrootcert=system") == uncertain
        needed = "the database's certificate cannot be verified: set sslrootcert in the database URL"
        assert await found("localhost", port, "?sslmode=verify-full") == needed
