"""`import-usage` as it is called: exit codes, what stands on stdout and stderr."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import itertools
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text

from db.database import Database, DatabaseOptions, sqlite_url
from gateway.commands.import_usage import import_usage
from tests.doses import dose

_HEADER = "account,day,model,category,calls,input_tokens,output_tokens,cost_usd\n"
_GOOD = "one,2023-11-16,m,chat,5,50,10,1\n"
_AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,4808,10\n"


def _run(url: str, *arguments: str | Path, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(import_usage, [*map(str, arguments), "--database-url", url], input=stdin)


def _count(url: str, statement: str) -> object:
    async def read() -> object:
        database = Database(DatabaseOptions(url))
        try:
            return (await database.read(text(statement)))[0][0]
        finally:
            await database.close()

    return asyncio.run(read())


@pytest.fixture
def rollups(tmp_path: Path) -> Path:
    path = tmp_path / "rollups.csv"
    path.write_text(_HEADER + _GOOD + _GOOD.replace("one", "two"))
    return path


def test_imported_lines_are_known_the_second_time(database_url: str, rollups: Path) -> None:
    first = _run(database_url, rollups, "--create-accounts")
    assert (first.exit_code, first.stderr) == (0, "")
    assert first.stdout == f"{rollups} (rollups): 2 lines taken with 10 calls, 0 known, 0 refused\n2 accounts created\n"
    second = _run(database_url, rollups, "--strict")
    assert (second.exit_code, second.stdout) == (0, f"{rollups} (rollups): 0 lines taken, 2 known, 0 refused\n")


def test_several_files_and_stdin(sqlite_file_url: str, rollups: Path) -> None:
    options = ("--create-accounts", "--account", "one", "--category", "CHAT", "--model", "gpt-4")
    result = _run(sqlite_file_url, rollups, "-", *options, stdin=_AZURE.encode())
    assert result.exit_code == 0
    assert result.stdout.splitlines()[1:3] == [
        "stdin (azure): 1 line taken with 1 call, 0 known, 0 refused",
        "total: 3 lines taken with 11 calls, 0 known, 0 refused",
    ]
    strict = _run(sqlite_file_url, "-", *options, "--strict", stdin=_AZURE.encode())
    assert strict.stdout == "stdin (azure): 0 lines taken, 1 known, 0 refused\n"


def test_refused_lines_are_shown_up_to_twenty_and_written_whole(sqlite_file_url: str, tmp_path: Path) -> None:
    path, refused = tmp_path / "rollups.csv", tmp_path / "refused.csv"
    path.write_text(_HEADER + "bad\n" * 25 + _GOOD)
    result = _run(sqlite_file_url, path, "--create-accounts")
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    assert lines[0] == f"{path}:2: the line has 1 fields, but the first line names 8 columns"
    assert "\n1 account created\n" in result.stdout
    assert lines[20:] == [f"{path}: and 5 more lines refused (--refused FILE writes all)"]
    assert result.stdout.startswith(f"{path} (rollups): 1 line taken with 5 calls, 0 known, 25 refused\n")
    _run(sqlite_file_url, path, "--refused", refused)
    with refused.open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["file", "line", "reason"]
    assert [row[:2] for row in rows[1:]] == [[str(path), str(number)] for number in range(2, 27)]


@pytest.mark.parametrize("way", ["name", "relative", "link", "hard link", "stdin"])
def test_a_file_to_import_is_never_written_to(
    sqlite_file_url: str, rollups: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(rollups.parent)
    other = rollups.with_name("other.csv")
    if way == "link":
        other.symlink_to(rollups)
    elif way == "hard link":
        other.hardlink_to(rollups)
    refused = {"name": str(rollups), "relative": f"./{rollups.name}", "stdin": str(rollups)}.get(way, str(other))
    before = rollups.read_text()
    files = ["-"] if way == "stdin" else [__file__, str(rollups)]
    command = [sys.executable, "-m", "gateway.cli", "import-usage", *files, "--refused", refused, "--create-accounts"]
    with rollups.open("rb") as stdin:
        result = subprocess.run(
            [*command, "--database-url", sqlite_file_url], stdin=stdin, capture_output=True, text=True, timeout=60
        )
    assert (result.returncode, result.stdout) == (2, "")
    assert "--refused: this is one of the files to import" in result.stderr
    assert rollups.read_text() == before
    assert _count(sqlite_file_url, "SELECT count(*) FROM accounts") == 0


def _feed(process: subprocess.Popen[str]) -> None:
    """Lines without end: the import cannot be done before it is told to end."""
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(_HEADER)
        for one in itertools.count():
            process.stdin.write(_GOOD.replace(",m,", f",m{one},"))


_ENDS = [
    pytest.param("", signal.SIGTERM, id="in front-SIGTERM"),
    pytest.param("trap '' INT; ", signal.SIGINT, id="in a shell's background-SIGINT"),
    pytest.param("", signal.SIGINT, id="in front-SIGINT"),
    pytest.param("trap '' INT; ", signal.SIGTERM, id="in a shell's background-SIGTERM"),
][: dose(2, 4)]


@pytest.mark.parametrize(("launcher", "number"), _ENDS)
def test_an_import_that_is_told_to_end_says_what_it_took(
    sqlite_file_url: str, number: signal.Signals, launcher: str
) -> None:
    shell = ["sh", "-c", f'{launcher}exec "$@"', "sh"]
    command = [*shell, sys.executable, "-m", "gateway.cli", "import-usage", "-", "--create-accounts"]
    process = subprocess.Popen(
        [*command, "--database-url", sqlite_file_url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    feeding = threading.Thread(target=_feed, args=[process])
    feeding.start()
    try:
        for _ in range(600):
            if _count(sqlite_file_url, "SELECT count(*) FROM usage_days"):
                break
            time.sleep(0.05)
        process.send_signal(number)
        assert process.wait(timeout=60) == 1
    finally:
        process.kill()
        feeding.join()
    assert process.stdout is not None
    assert process.stderr is not None
    stdout, stderr = process.stdout.read(), process.stderr.read()
    for pipe in (process.stdin, process.stdout, process.stderr):
        assert pipe is not None
        with contextlib.suppress(BrokenPipeError):
            pipe.close()
    taken = _count(sqlite_file_url, "SELECT count(*) FROM usage_days")
    assert isinstance(taken, int)
    assert taken > 0
    assert f" (rollups): {taken:,} lines taken with {taken * 5:,} calls, 0 known, 0 refused\n" in stdout
    assert "interrupted; the lines counted above were imported; import the files again for the rest" in stderr


def test_strict_writes_nothing_when_a_line_is_refused(sqlite_file_url: str, rollups: Path) -> None:
    with rollups.open("a") as file:
        file.write("bad\n")
    result = _run(sqlite_file_url, rollups, "--create-accounts", "--strict")
    assert result.exit_code == 1
    assert "Nothing was written" in result.stderr
    assert _count(sqlite_file_url, "SELECT count(*) FROM usage_days") == 0


def test_own_prices_and_a_start(sqlite_file_url: str, tmp_path: Path) -> None:
    trace, prices = tmp_path / "trace.csv", tmp_path / "prices.toml"
    trace.write_text("Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,ChatGPT,1,1,2,API log\n")
    prices.write_text('[models."ChatGPT"]\ninput_usd_per_million = 1\noutput_usd_per_million = 2\n')
    options = ("--create-accounts", "--account", "one", "--category", "chat", "--start", "2023-11-16")
    unpriced = _run(sqlite_file_url, trace, *options)
    assert unpriced.exit_code == 1
    assert "no price for the model 'ChatGPT': add one to the --prices file" in unpriced.stderr
    assert _run(sqlite_file_url, trace, *options, "--prices", prices).exit_code == 0
    assert _count(sqlite_file_url, "SELECT cost_nanos FROM usage_days") == 3000


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["missing.csv"],
        ["-", "--start", "yesterday"],
        ["-", "--start", "0001-01-01T00:00:00+05:00"],
        ["-", "--category", "talk"],
        ["-", "--origin", "moon"],
        ["-", "--format", "xml"],
        ["-", "--model", ""],
        ["-", "--account", "a\x1b"],
        ["-", "--prices", "missing.toml"],
        ["-", "--refused", "missing/refused.csv"],
        ["-", "--prices", __file__],
    ],
)
def test_wrong_usage_exits_with_2(sqlite_file_url: str, arguments: list[str]) -> None:
    result = _run(sqlite_file_url, *arguments, stdin=b"")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Error: " in result.stderr


def test_a_database_without_tables_names_the_command(tmp_path: Path, rollups: Path) -> None:
    result = _run(sqlite_url(tmp_path / "new.db"), rollups)
    assert result.exit_code == 1
    assert "run `billing-gateway migrate`; nothing was written" in result.stderr


def test_a_database_that_is_not_there(rollups: Path, tmp_path: Path) -> None:
    result = _run(f"postgresql://nobody@/nothing?host={tmp_path}", rollups)
    assert result.exit_code == 1
    assert "Error: the database cannot be reached; nothing was written" in result.stderr


def test_a_database_of_another_kind(rollups: Path) -> None:
    result = _run("mysql://nobody@localhost/nothing", rollups)
    assert result.exit_code == 2
    assert "unsupported database mysql: use sqlite or postgresql" in result.stderr


def test_sums_beyond_64_bits(sqlite_file_url: str, tmp_path: Path) -> None:
    path = tmp_path / "rollups.csv"
    path.write_text(_HEADER + _GOOD.replace(",5,", f",{2**63 - 1},") + _GOOD.replace(",m,", ",n,"))
    result = _run(sqlite_file_url, path, "--create-accounts")
    assert result.exit_code == 1
    assert (
        "lines up to 3: the sum of usage for 2023-11 of acct_1 exceeds the 64-bit range; nothing was written"
        in result.stderr
    )
    assert _count(sqlite_file_url, "SELECT count(*) FROM accounts") == 0
