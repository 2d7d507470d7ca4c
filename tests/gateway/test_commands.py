"""The command line as a user has it, and what it prints. What serves is a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import asyncpg
import click
import pytest
from aiohttp import ClientSession
from sqlalchemy import make_url

from db.database import sqlite_url
from gateway.commands.options import settings_of
from tests.doses import IS_NIGHTLY
from tests.gateway.command_line import run
from tests.ports import free_port
from tests.postgres import Postgres

ROOT = Path(__file__).parents[2]


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "gateway.cli", *arguments]


def run_process(*arguments: str, url: str, status: int = 0) -> str:
    found = subprocess.run(
        _command(*arguments),
        env=os.environ | {"BILLING_DATABASE_URL": url},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert found.returncode == status, found.stderr
    return found.stdout if status == 0 else found.stderr


class Server:
    def __init__(self, url: str, *arguments: str, stderr: int | IO[bytes] = subprocess.DEVNULL) -> None:
        self.address = f"http://127.0.0.1:{(port := free_port())}"
        self.process = subprocess.Popen(
            _command("serve", "--port", str(port), *arguments),
            env=os.environ | {"BILLING_DATABASE_URL": url},
            cwd=ROOT,
            stderr=stderr,
        )

    async def ready(self, session: ClientSession) -> None:
        for _ in range(300):
            try:
                async with session.get(f"{self.address}/readyz") as response:
                    if response.status == 200:
                        return
            except OSError:
                pass
            await asyncio.sleep(0.1)
        raise AssertionError("the server never got ready")

    async def stopped(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(self.process.wait, 30)


@pytest.fixture
def servers() -> Iterator[list[Server]]:
    made: list[Server] = []
    yield made
    for server in made:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait()


@pytest.fixture
def started_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands import what they need, as those of users do."""
    monkeypatch.setenv("TESTS_FORK", "0")


@pytest.mark.usefixtures("started_anew")
def test_a_process_prints_its_answer_or_its_error(sqlite_file_url: str) -> None:
    assert run_process("accounts", "create", "--name", "One", url=sqlite_file_url) == "acct_1\n"
    refused = run_process("keys", "list", "--account", "acct_77", url=sqlite_file_url, status=1)
    assert refused == run("keys", "list", "--account", "acct_77", url=sqlite_file_url, status=1)
    assert refused == "billing-gateway: there is no account acct_77 (NOT_FOUND)\n"


def test_accounts_and_keys_from_the_first_to_the_last(database_url: str) -> None:
    assert run("accounts", "create", "--name", "One", "--external-id", "one", url=database_url) == "acct_1\n"
    taken = run("accounts", "create", "--name", "Two", "--external-id", "one", url=database_url, status=1)
    assert "(CONFLICT)" in taken
    for name in ("acct_1", "acct_9", "acct_007"):
        shaped = run("accounts", "create", "--name", "Two", "--external-id", name, url=database_url, status=1)
        assert "externalId must not look like an account id" in shaped
    assert run("accounts", "list", url=database_url) == "acct_1\tone\tactive\t0.00\tOne\n"
    secret = run("keys", "create", "--scope", "read", "--account", "acct_1", "--owner", "me", url=database_url).strip()
    prefix = secret[:12]
    new = run("keys", "rotate", prefix, "--grace-seconds", "60", url=database_url).strip()
    assert new[:12] != prefix
    again = run("keys", "rotate", prefix, url=database_url, status=1)
    assert f"the key {prefix} was already rotated" in again
    assert "(CONFLICT)" in again
    assert run("keys", "revoke", prefix, url=database_url).startswith(f"{prefix} revoked at ")
    listed = run("keys", "list", "--account", "acct_1", url=database_url)
    assert [line.split("\t")[:4] for line in listed.splitlines()] == [
        [prefix, "read", "acct_1", "me"],
        [new[:12], "read", "acct_1", "me"],
    ]
    assert secret not in listed
    assert "(NOT_FOUND)" in run("keys", "revoke", "eco_aaaaaaaa", url=database_url, status=1)


def test_a_key_is_restricted_to_addresses(sqlite_file_url: str) -> None:
    create = ("keys", "create", "--scope", "operator", "--owner", "me")
    allowed = ("--allowed-address", "2001:db8::/32", "--allowed-address", "203.0.113.7")
    new = run(*create, *allowed, url=sqlite_file_url)[:12]
    (line,) = run("keys", "list", url=sqlite_file_url).splitlines()
    assert line.split("\t")[0] == new
    assert line.split("\t")[8:10] == ["", "203.0.113.7,2001:db8::/32"]
    refused = run(*create, "--allowed-address", "office", url=sqlite_file_url, status=1)
    assert "--allowed-address must be addresses or networks such as 203.0.113.7" in refused


_CREATE_KEY = ("keys", "create", "--owner", "me", "--scope")


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ((*_CREATE_KEY, "read", "--account", "acct_77"), 1, "there is no account acct_77 (NOT_FOUND)"),
        ((*_CREATE_KEY, "service", "--only-account", "acct_77"), 1, "there is no account acct_77 (NOT_FOUND)"),
        ((*_CREATE_KEY, "service", "--operation", "bogus"), 2, "'bogus' is not one of 'openHold', 'renewHold'"),
        ((*_CREATE_KEY, "operator", "--account", "acct_1"), 1, "an operator key must not have an account"),
        (("keys", "list", "--account", "acct_77"), 1, "there is no account acct_77 (NOT_FOUND)"),
        (("accounts", "list", "--search", "ab"), 1, "search must have 3 to 200 characters, not 2 (BAD_USER_INPUT)"),
        (("accounts", "list", "--search", "a" * 201), 1, "search must have 3 to 200 characters, not 201"),
        (("accounts", "list", "--search", "ab\udcff"), 1, "search is not Unicode text"),
    ],
)
def test_invalid_settings_are_refused_by_name(
    sqlite_file_url: str, arguments: tuple[str, ...], status: int, said: str
) -> None:
    refused = run(*arguments, url=sqlite_file_url, status=status)
    assert said in refused
    assert "Traceback" not in refused


def test_serving_an_empty_database_names_the_command_to_run(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/new.db"
    commands = (
        ("accounts", "list"),
        ("accounts", "create", "--name", "One"),
        ("keys", "list"),
        ("keys", "create", "--scope", "operator", "--owner", "me"),
        ("keys", "revoke", "eco_k3x7q2ab"),
        ("keys", "rotate", "eco_k3x7q2ab"),
    )
    said = "billing-gateway: the database has no tables yet: run `billing-gateway migrate` (UNAVAILABLE)\n"
    assert run_process("serve", "--port", "0", url=url, status=1) == said
    for command in commands:
        assert run(*command, url=url, status=1) == said
    assert list(tmp_path.iterdir()) == []
    assert "now have" in run("migrate", url=url)
    assert "already" in run("migrate", url=url)


@pytest.mark.parametrize(
    "command", [("serve", "--port"), ("serve", "--workers", "2", "--port"), ("worker", "--worker-metrics-port")]
)
def test_a_port_that_is_taken_is_said(sqlite_file_url: str, command: tuple[str, ...]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        said = run_process(*command, port, url=sqlite_file_url, status=1)
    assert said.splitlines()[-1] == f"billing-gateway: cannot listen on 127.0.0.1:{port}: Address already in use"


def test_a_host_that_is_not_known_is_said(sqlite_file_url: str) -> None:
    said = run_process("serve", "--host", "nowhere.invalid", url=sqlite_file_url, status=1)
    assert said.startswith("billing-gateway: cannot listen on nowhere.invalid:8000: ")


async def test_the_production_profile_says_so_at_start(
    sqlite_file_url: str, tmp_path: Path, servers: list[Server]
) -> None:
    log = tmp_path / "log"
    with log.open("wb") as file:
        server = Server(sqlite_file_url, "--profile", "production", "--introspection", "true", stderr=file)
    servers.append(server)
    async with ClientSession() as session:
        await server.ready(session)
    assert await server.stopped() == 0
    (line,) = [line for line in map(json.loads, log.read_text().splitlines()) if "profile" in line["event"]]
    said = {name: line[name] for name in ("event", "introspection", "suggestions", "graphiql")}
    assert said == {"event": "production profile", "introspection": True, "suggestions": False, "graphiql": False}


def test_a_manifest_that_does_not_fit_is_said_before_serving(sqlite_file_url: str, tmp_path: Path) -> None:
    path = tmp_path / "documents.json"
    path.write_text(json.dumps({"0" * 64: "{ viewer { scope } }"}))
    said = run_process("serve", "--trusted-documents", str(path), url=sqlite_file_url, status=2)
    assert f"Error: trusted_documents: {path}: '{'0' * 64}' is not the SHA-256 of its text" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('[models."m"]\nusd_per_call = -1\n', 'models."m".usd_per_call must be a number of dollars'),
        ('[models."m"]\nusd_per_call = 1e-10\n', 'models."m" has a price of more than nine fraction digits'),
        (None, "No such file or directory"),
    ],
)
def test_invalid_price_file_is_said_before_serving(
    sqlite_file_url: str, tmp_path: Path, text: str | None, named: str
) -> None:
    path = tmp_path / "prices.toml"
    if text is not None:
        path.write_text(text)
    said = run_process("serve", "--price-file", str(path), url=sqlite_file_url, status=2)
    assert f"Error: price_file: {path}: {named}" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("log_format", ["json", "console"])
async def test_a_log_that_cannot_be_written_stops_nothing(sqlite_file_url: str, log_format: str) -> None:
    with Path("/dev/full").open("wb") as full:  # noqa: ASYNC230  opening a device does not block
        server = Server(sqlite_file_url, "--log-format", log_format, stderr=full)
    try:
        async with ClientSession() as session:
            await server.ready(session)
            assert (await _viewer(session, server.address, "eco_nobody"))[0] == 401
        assert await server.stopped() == 0
    finally:
        server.process.kill()
        server.process.wait()


@pytest.mark.parametrize("url", ["", "foo", "sqlite://", "postgresql://u:p@h:s3cr3t@x/d", "sqlite:///a.db?mode=ro"])
def test_a_database_url_that_can_t_be_used_is_refused_without_repeating_it(url: str) -> None:
    said = run("accounts", "list", url=url, status=2)
    assert "Error: database_url: " in said
    assert "Traceback" not in said
    assert "s3cr3t" not in said


@pytest.mark.parametrize("url", ["s3://AKIA:s3cr3t@bucket/archive", "sftp://u:p@h:s3cr3t@x/d"])
def test_an_archive_url_with_credentials_is_refused_without_repeating_it(url: str) -> None:
    said = run("archive", "--archive-url", url, url="sqlite:///a.db", status=2)
    assert "Error: archive_url: " in said
    assert "s3cr3t" not in said


@pytest.mark.parametrize("setting", ["direct_database_url", "read_database_urls"])
def test_other_urls_are_checked_as_well_and_are_for_postgresql_only(setting: str) -> None:
    url = "postgresql://billing@db/billing"
    wrong = (
        {"database_url": url, setting: "postgresql://u:p@h:s3cr3t@x/d"},
        {"database_url": "sqlite:///a.db", setting: url},
    )
    for given, said in zip(
        wrong, (f"{setting}: Value error, invalid database URL", "require PostgreSQL URLs"), strict=True
    ):
        with pytest.raises(click.UsageError, match=re.escape(said)) as refused:
            settings_of(given)
        assert "s3cr3t" not in str(refused.value)


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
async def test_a_role_without_rights_is_told_so(database_url: str, postgres_server: Postgres) -> None:
    url = make_url(database_url)
    assert url.database is not None
    await postgres_server.execute("CREATE ROLE nobody_s LOGIN")
    try:
        url = url.set(username="nobody_s")
        said = await asyncio.to_thread(run, "accounts", "list", url=url.render_as_string(), status=1)
    finally:
        await postgres_server.execute("DROP ROLE nobody_s")
    assert said == ("billing-gateway: the database role lacks a required permission (SQLSTATE 42501) (UNAVAILABLE)\n")


@pytest.mark.parametrize("value", ["0", "many"])
def test_a_setting_that_does_not_fit_is_named(value: str) -> None:
    found = subprocess.run(
        _command("serve"),
        env=os.environ | {"BILLING_WORKERS": value},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert found.returncode == 2
    assert "workers" in found.stderr


async def _operator_key(url: str) -> str:
    arguments = ("keys", "create", "--scope", "operator", "--owner", "me")
    return (await asyncio.to_thread(run, *arguments, url=url)).strip()


async def _viewer(session: ClientSession, address: str, key: str) -> Any:
    headers = {"Authorization": f"Bearer {key}"}
    async with session.post(f"{address}/graphql", json={"query": "{ viewer { scope } }"}, headers=headers) as response:
        return response.status, await response.json()


async def _metrics(session: ClientSession, address: str) -> str:
    async with session.get(f"{address}/metrics") as response:
        return await response.text()


async def _statuses(address: str, key: str) -> set[int]:
    """Answers to the key on eight connections, which come to both of two workers."""
    found = set()
    for _ in range(8):
        async with ClientSession() as fresh:
            found.add((await _viewer(fresh, address, key))[0])
    return found


@pytest.mark.one_database
@pytest.mark.usefixtures("started_anew")
async def test_workers_share_a_port_and_a_revocation_reaches_all(database_url: str, servers: list[Server]) -> None:
    key = await _operator_key(database_url)
    server = Server(database_url, "--workers", "2")
    servers.append(server)
    async with ClientSession() as session:
        await server.ready(session)
        answers = [await _viewer(session, server.address, key) for _ in range(8)]
        assert answers == [(200, {"data": {"viewer": {"scope": "OPERATOR"}}})] * 8
        labels = 'code="",method="POST",route="/graphql",status="200"'
        counted = f"billing_http_requests_total{{{labels}}} 8.0"
        # Each worker hands on its counts, and asks after its keys, from time to time.
        async with asyncio.timeout(60):
            while counted not in await _metrics(session, server.address):  # noqa: ASYNC110  what is waited for is another process's
                await asyncio.sleep(0.1)
        await asyncio.to_thread(run, "keys", "revoke", key[:12], url=database_url)
        async with asyncio.timeout(60):
            while await _statuses(server.address, key) != {401}:  # noqa: ASYNC110  what is waited for is another process's
                await asyncio.sleep(0.1)
    assert await server.stopped() == 0


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
async def test_a_query_that_runs_at_sigterm_is_answered(database_url: str, servers: list[Server]) -> None:
    key = await _operator_key(database_url)
    server = Server(database_url)
    servers.append(server)
    blocker = await asyncpg.connect(database_url)
    async with ClientSession() as session:
        await server.ready(session)
        assert (await _viewer(session, server.address, key))[0] == 200
        headers = {"Authorization": f"Bearer {key}"}
        query = {"query": "{ accounts { totalCount } }"}
        transaction = blocker.transaction()
        await transaction.start()
        await blocker.execute("LOCK TABLE accounts IN ACCESS EXCLUSIVE MODE")
        pending = asyncio.create_task(session.post(f"{server.address}/graphql", json=query, headers=headers))
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        while not await blocker.fetchval(waiting):  # noqa: ASYNC110  the event is another process's
            await asyncio.sleep(0.05)
        stopping = asyncio.create_task(server.stopped())
        await asyncio.sleep(0.5)
        assert not stopping.done()
        await transaction.rollback()
        async with await pending as response:
            assert await response.json() == {"data": {"accounts": {"totalCount": "0"}}}
        assert await stopping == 0
    await blocker.close()


def _got(address: str, key: str) -> bytes:
    command = ["curl", "-sf", address, "-H", f"Authorization: Bearer {key}"]
    return subprocess.run(command, capture_output=True, timeout=30, check=True).stdout


def _signed_in(address: str, link: str) -> str:
    """The key that the console gets for a link's code, as its page asks for it."""
    page, code = link.split("#code=")
    assert page == f"{address}/console/"
    body = json.dumps({"code": code})
    command = ["curl", "-sf", f"{address}/console/sign-in", "-H", "Content-Type: application/json", "-d", body]
    found = subprocess.run(command, capture_output=True, timeout=30, check=True).stdout
    key: str = json.loads(found)["key"]
    assert subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 22
    return key


# The real command takes half a minute for its 100,000 rows.
_SMALL_DEMO = """
from demo import enterprise
enterprise.MOST_ROWS = 2_000
from gateway.cli import main
main()
"""
_DEMO = (["-m", "gateway.cli"], 100_000) if IS_NIGHTLY else (["-c", _SMALL_DEMO], 2_000)


def test_the_demo_refuses_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BILLING_SHARDS", sqlite_url(tmp_path / "shard.db"))
    said = run("demo", "--data-dir", str(tmp_path / "demo"), url=sqlite_url(tmp_path / "billing.db"), status=2)
    assert "shards: the demo has one database of its own: unset BILLING_SHARDS" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("started_anew")
def test_the_demo_is_made_once_and_answers_when_it_says_so(tmp_path: Path) -> None:
    program, rows_of_largest = _DEMO

    def started() -> dict[str, Any]:
        process = subprocess.Popen(
            [sys.executable, *program, "demo", "--json", "--port", "0", "--data-dir", str(tmp_path)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        try:
            assert process.stdout is not None
            line: dict[str, Any] = json.loads(process.stdout.readline())
            rows = json.loads(_got(f"{line['url']}/billing/transactions?limit=1000", line["keys"]["account"]))
            assert len(rows) == 1000
            assert {row["account"] for row in rows} == {line["accounts"][1]}
            key = _signed_in(line["url"], line["console"]["account"])
            assert json.loads(_got(f"{line['url']}/billing/transactions?limit=1000", key)) == rows
        finally:
            process.terminate()
            process.communicate(timeout=30)
        assert process.returncode == 0
        return line

    first, second = started(), started()
    assert {*first["console"].values()}.isdisjoint(second["console"].values())
    assert (first["accounts"], first["keys"]) == (second["accounts"], second["keys"])
    assert (tmp_path / "demo.json").stat().st_mode & 0o077 == 0
    with sqlite3.connect(tmp_path / "billing.db") as database:
        assert database.execute("SELECT max(head_seq) FROM accounts").fetchone() == (rows_of_largest,)
    database.close()
