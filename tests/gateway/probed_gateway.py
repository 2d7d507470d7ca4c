"""A gateway in a process of its own, with two customers, for tests that send bytes and read bytes and the log."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from access.keys import IssuedKey, Keys, KeyScope, NewKey, principal_of
from access.tokens import Purpose, Tokens
from db.database import Database, DatabaseOptions
from ledger.accounts import Accounts
from ledger.commands import Entry, Posting, Writer
from ledger.kinds import TransactionType, WriterKind
from ledger.money import NANOS
from ledger.posting import Ledger

WEBHOOK_SECRET: Final = "whsec_probe_0123456789"
METRICS_TOKEN: Final = "metrics-probe-0123456789"
STRIPE_KEY: Final = "sk_test_probe_0123456789"
_SETTINGS: Final = {
    "BILLING_STRIPE_WEBHOOK_SECRETS": WEBHOOK_SECRET,
    "BILLING_METRICS_TOKEN": METRICS_TOKEN,
    "BILLING_STRIPE_SECRET_KEY": STRIPE_KEY,
    # Port 9 discards: no probe reaches Stripe.
    "BILLING_STRIPE_API_BASE": "http://127.0.0.1:9",
}
_DAY: Final = timedelta(days=1)
_WRITER: Final = Writer(WriterKind.OPERATOR, "tests")
_DESCRIPTION: Final = '=HYPERLINK("https://evil.example")'
_STARTED: Final = re.compile(r'"address": ?"http://127\.0\.0\.1:(\d+)"')
_CODE: Final = re.compile(rb'"code": ?"([A-Z_]+)"')
_CURSOR: Final = "query ($id: ID) { account(id: $id) { transactions(first: 1) { edges { cursor } } } }"

SECRETS: Final = ("read", "manage", "service", "operator", "revoked", "expired", "export token", "stream token")

Names = Mapping[str, str]
"""What stands for `<name>` in a probe: the SECRETS, `mine`, `theirs`, `their row`, `their prefix`, `their cursor`."""


def _two_days_ago() -> datetime:
    return datetime.now(UTC) - 2 * _DAY


async def _new_account(database: Database, name: str) -> int:
    account = await Accounts(database).create(name)
    bonus = Entry(TransactionType.ADMIN_CORRECTION, 5 * NANOS, _DESCRIPTION)
    await Ledger(database).post(Posting(account.id, _WRITER, [bonus], "opening"))
    return account.id


async def _keys(database: Database, mine: int) -> dict[str, IssuedKey]:
    keys, past = Keys(database), Keys(database, _two_days_ago)
    found = {
        "read": await keys.create(NewKey(KeyScope.READ, "tests", mine)),
        "manage": await keys.create(NewKey(KeyScope.MANAGE, "tests", mine)),
        "service": await keys.create(
            NewKey(KeyScope.SERVICE, "tests", account_ids=(mine,), operations=("grantBonus",))
        ),
        "operator": await keys.create(NewKey(KeyScope.OPERATOR, "tests")),
        "revoked": await keys.create(NewKey(KeyScope.READ, "tests", mine)),
        "expired": await past.create(NewKey(KeyScope.READ, "tests", mine, expires_at=datetime.now(UTC) - _DAY)),
    }
    await keys.revoke(found["revoked"].row.prefix)
    return found


async def fill(database_url: str) -> Names:
    """Two accounts with a row each, keys of every kind for the first, and tokens of its READ key."""
    database = Database(DatabaseOptions(database_url))
    try:
        mine, theirs = [await _new_account(database, name) for name in ("Mine", "Theirs")]
        keys = await _keys(database, mine)
        their_key = await Keys(database).create(NewKey(KeyScope.READ, "tests", theirs))
        reader, tokens = principal_of(keys["read"].row), Tokens(database)
        return {
            **{name: key.secret for name, key in keys.items()},
            "export token": await tokens.issue(reader, Purpose.EXPORT, _DAY, "/billing/transactions.csv?"),
            "stream token": await tokens.issue(reader, Purpose.STREAM, _DAY),
            "mine": f"acct_{mine}",
            "theirs": f"acct_{theirs}",
            "their row": f"txn_{theirs}_1",
            "their prefix": their_key.row.prefix,
        }
    finally:
        await database.close()


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    """By their names in lower case."""
    body: bytes
    whole: bytes

    @property
    def code(self) -> str | None:
        """The code of the error, in whatever shape the path has."""
        match = _CODE.search(self.body)
        return None if match is None else match[1].decode()

    @property
    def message(self) -> str:
        error = json.loads(self.body)
        found: str = (error["errors"][0] if "errors" in error else error["error"])["message"]
        return found


def _parsed(whole: bytes) -> Answer:
    head, _, body = whole.partition(b"\r\n\r\n")
    first, *lines = head.decode("ascii").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return Answer(int(first.split()[1]), {name.lower(): value for name, value in headers.items()}, body, whole)


@dataclass
class ProbedGateway:
    port: int
    log_path: Path
    database_url: str
    names: Names
    _read_bytes: int = 0

    def send(self, text: bytes) -> Answer:
        with socket.create_connection(("127.0.0.1", self.port), 10) as connection:
            # The gateway may refuse a request, and hang up, before it has read all of it.
            with suppress(ConnectionError):
                connection.sendall(text)
            with connection.makefile("rb") as file:
                return _parsed(file.read())

    def new_log(self) -> str:
        """The log since the last call."""
        text = self.log_path.read_bytes()[self._read_bytes :]
        self._read_bytes += len(text)
        return text.decode()

    def secrets(self) -> list[str]:
        """What no answer and no log may have: whole keys, tokens, and secrets of the settings."""
        return [*(self.names[name] for name in SECRETS), WEBHOOK_SECRET, METRICS_TOKEN, STRIPE_KEY]


def _port_of(process: subprocess.Popen[bytes], log_path: Path) -> int:
    for _ in range(600):
        if match := _STARTED.search(log_path.read_text()):
            return int(match[1])
        assert process.poll() is None, log_path.read_text()
        time.sleep(0.05)
    raise AssertionError("the gateway did not start")


def _their_cursor(gateway: ProbedGateway) -> str:
    body = json.dumps({"query": _CURSOR, "variables": {"id": gateway.names["theirs"]}}).encode()
    head = (
        f"POST /graphql HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {gateway.names['operator']}"
        f"\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    answer: Any = json.loads(gateway.send(head.encode() + body).body)
    cursor: str = answer["data"]["account"]["transactions"]["edges"][0]["cursor"]
    return cursor


@contextmanager
def probed_gateway(database_url: str, names: Names, folder: Path) -> Iterator[ProbedGateway]:
    log_path = folder / "log"
    environment = os.environ | _SETTINGS | {"BILLING_DATABASE_URL": database_url}
    command = [sys.executable, "-m", "gateway.cli", "serve", "--port", "0"]
    with log_path.open("wb") as file:
        process = subprocess.Popen(command, env=environment, stderr=file)
    try:
        gateway = ProbedGateway(_port_of(process, log_path), log_path, database_url, names)
        gateway.names = {**names, "their cursor": _their_cursor(gateway)}
        gateway.new_log()
        yield gateway
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
