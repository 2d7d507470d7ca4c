"""How files are split into records: quotes, delimiters, encodings, and the gateway's own export."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from db.database import Database, DatabaseOptions, sqlite_url
from db.rows import UsageDayRow
from db.schema_version import migrate
from db.usage_writes import FedDay, put_usage_days
from ledger.imports import records
from ledger.imports.columns import delimiter_of
from ledger.imports.importer import Importer
from ledger.imports.options import ImportOptions
from ledger.imports.records import Record, RecordReader
from ledger.imports.sources import Refusal, Source
from ledger.prices import Prices
from tests.gateway.mutations.office import opened

_HEADER = "account,day,model,category,calls,input_tokens,output_tokens,cost_usd"


async def _import(
    database: Database, file: str | bytes, options: ImportOptions | None = None
) -> tuple[tuple[int, int, int], list[tuple[int, str]]]:
    refusals: list[tuple[int, str]] = []

    def refused(_: str, some: Sequence[Refusal]) -> None:
        refusals.extend((one.line, one.reason) for one in some)

    importer = Importer(
        database,
        options or ImportOptions(create_accounts=True),
        Prices(),
        lambda: datetime(2026, 11, 23, 12, tzinfo=UTC),
        on_refusals=refused,
    )
    stream = io.BytesIO(file.encode() if isinstance(file, str) else file)
    (report,) = (await importer.run([Source("usage.csv", stream)])).files
    return (report.taken, report.known, report.refused), refusals


async def _models(database: Database) -> list[str]:
    return [row[0] for row in await database.read(text("SELECT model FROM usage_days ORDER BY calls, model"))]


def _read(file: str | bytes) -> list[Record]:
    return list(RecordReader(io.BytesIO(file.encode() if isinstance(file, str) else file), lambda _: ","))


async def test_a_line_inside_a_quoted_field_is_not_usage(database: Database) -> None:
    """The record is refused whole, by its first line, and the next one is taken."""
    smuggled = (
        f'{_HEADER}\nfirst,2026-10-20,"m\nfirst,2026-10-20,m-smuggled,chat,7,2,3,9.99\n",chat,1,2,3,0.5\n'
        "first,2026-10-20,honest,chat,8,2,3,0.25\n"
    )
    counts, refusals = await _import(database, smuggled)
    assert counts == (1, 0, 1)
    assert refusals == [(2, "model must not contain control characters")]
    assert await _models(database) == ["honest"]


@pytest.mark.parametrize("model", ['m"\n', '"m"x,"\n', '"m\\"x\n', '"m"x"\n'])
async def test_possibly_open_quote_ends_the_file(sqlite_database: Database, model: str) -> None:
    """Whatever way of writing quotes the file's program had, a line within a text is not usage."""
    file = f'{_HEADER}\none,2026-10-20,{model}one,2026-10-20,m-smuggled,chat,7,2,3,9.99\n",chat,1,2,3,0.5\n'
    counts, ((line, reason),) = await _import(sqlite_database, file)
    assert (counts, line) == ((0, 0, 1), 2)
    assert reason.endswith("the rest of the file was not read")


async def test_space_before_a_quoted_field_is_ignored(sqlite_database: Database) -> None:
    smuggled = '"m\none,2026-10-20,m-smuggled,chat,7,2,3,9.99\n"'
    file = f'{_HEADER}\none,2026-10-20, {smuggled},chat,1,2,3,0.5\none, 2026-10-20, "m, large", chat,1,2,3,0.5\n'
    counts, refusals = await _import(sqlite_database, file)
    assert (counts, [line for line, _ in refusals]) == ((1, 0, 1), [2])
    assert await _models(sqlite_database) == ["m, large"]


@pytest.mark.parametrize("end", ["", '"x,chat,1,2,3,0.5\n', "a" * 70_000])
async def test_no_line_is_imported_after_an_open_quote(database: Database, end: str) -> None:
    file = (
        f'{_HEADER}\none,2026-10-20,a,chat,1,2,3,0.5\none,2026-10-20,"m,chat,2,2,3,0.5\none,2026-10-20,b,chat,3,2,3,1\n'
    )
    counts, ((line, reason),) = await _import(database, file + end)
    assert (counts, line) == ((1, 0, 1), 3)
    assert "lines 3 to " in reason
    assert reason.endswith("the rest of the file was not read")
    assert await _models(database) == ["a"]


def test_record_length_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_RECORD_CHARACTERS", 10)
    too_long = "the line is longer than 10 characters"
    assert _read("h\n" + "é" * 10 + "\n" + "é" * 11 + "\n" + "x" * 30 + "\ny") == [
        Record(2, ["é" * 10]),
        Record(3, [], too_long),
        Record(4, [], too_long),
        Record(5, ["y"]),
    ]
    rest = "the rest of the file was not read"
    assert _read("h\n" + "x" * 30 + '"\ny') == [Record(2, [], f"{too_long} and has quotes: {rest}")]
    broken = _read('h\n"1234\n1234\n1234\n"\ny')
    assert broken == [Record(2, [], f"the record on lines 2 to 3 is longer than 10 characters: {rest}")]


_cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=20)


@given(
    st.lists(st.lists(_cells, min_size=2, max_size=4), max_size=10),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.booleans(),
)
def test_csv_records_round_trip(
    rows: list[list[str]], delimiter: str, encoding: str, line_end: str, named: bool
) -> None:
    written = io.StringIO(newline="")
    if named:
        written.write(f"sep={delimiter}{line_end}")
    # This writer quotes a line feed only if its own lines end in one.
    quoting: Final = csv.QUOTE_ALL if line_end == "\r" else csv.QUOTE_MINIMAL
    writer = csv.writer(written, delimiter=delimiter, lineterminator=line_end, quoting=quoting)
    writer.writerows([["account", "day"], *rows])
    reader = RecordReader(io.BytesIO(written.getvalue().encode(encoding)), lambda _: delimiter)
    stripped = [[cell.strip(" ") for cell in row] for row in rows]
    if encoding == "utf-16" and any("\ufffd" in cell for row in rows for cell in row):
        return
    assert reader.header.fields == ["account", "day"]
    found = [[field.strip(" ") for field in record.fields] for record in reader]
    assert found == [row for row in stripped if any(row)]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("named", [False, True])
async def test_spreadsheet_files_are_read(
    sqlite_database: Database, delimiter: str, encoding: str, named: bool
) -> None:
    mark = "\ufeff" if encoding in {"utf-16-le", "utf-16-be"} else ""
    lines = [_HEADER, 'one,2026-10-20,"mödel",chat,1,2,3,0.5', ",,,,,,,", 'one,2026-10-20,"n""1",chat,2,2,3,1']
    file = mark + (f"sep={delimiter}\r\n" if named else "") + "\r\n".join(lines).replace(",", delimiter)
    assert await _import(sqlite_database, file.encode(encoding)) == ((2, 0, 0), [])
    assert await _models(sqlite_database) == ["mödel", 'n"1']


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("one,2026-10-20,mödel,chat,1,2,3,0.5".encode("cp1252"), "invalid UTF-8 at byte 17 of the line: save the"),
        ('one,2026-10-20,"mö\nl",chat,1,2,3,0.5'.encode("cp1252"), "invalid UTF-8 at byte 18 of the line: save the"),
    ],
)
async def test_unsupported_encoding_error_names_the_encoding(
    sqlite_database: Database, line: bytes, reason: str
) -> None:
    counts, ((number, refusal),) = await _import(sqlite_database, _HEADER.encode() + b"\n" + line)
    assert (counts, number) == ((0, 0, 1), 2)
    assert refusal.startswith(reason)


# The gateway's own export


_MODELS = ["plain", "=1+1", "'=1", "''-x", "'quoted'", "comma, large", 'say "hi"', "@at", "-minus", "モデル"]
_SPACED = [" lead", "trail ", "  = x"]


async def test_an_export_is_imported_unchanged(database_url: str, tmp_path: Path) -> None:
    """Into its own database without a change, and into another one as it was."""
    lines = io.StringIO(newline="")
    writer = csv.writer(lines)
    writer.writerow(_HEADER.split(","))
    for number, model in enumerate(_MODELS, 1):
        writer.writerow(["one", "2026-10-20", model, "chat", number, 10 * number, number, f"{number}.000000001"])
    async with opened(database_url) as office:
        database = office.services.database
        assert (await _import(database, lines.getvalue()))[0] == (len(_MODELS), 0, 0)
        spaced = [
            FedDay(UsageDayRow(1, date(2026, 10, 20), one, "chat", "platform", 99, 1, 1, 1), "rollup")
            for one in _SPACED
        ]
        async with database.write() as connection:
            await put_usage_days(connection, spaced)
        models = [*_MODELS, *sorted(_SPACED)]
        address = f"{office.url}/billing/usage.csv?account=acct_1"
        async with office.session.get(
            address, headers={"Authorization": f"Bearer {office.keys['operator']}"}
        ) as answer:
            export = await answer.read()
        assert await _import(database, export) == ((0, len(models), 0), [])
        assert await _models(database) == models
    other = Database(DatabaseOptions(sqlite_url(tmp_path / "other.db")))
    await migrate(other)
    assert await _import(other, export.replace(b"acct_1,", b"one,")) == ((len(models), 0, 0), [])
    assert await _models(other) == models
    await other.close()


async def test_an_export_with_another_sum_is_refused(sqlite_database: Database) -> None:
    file = "account,day,model,category,origin,calls,input_tokens,output_tokens,tokens,cost\n"
    file += "one,2026-10-20,m,chat,platform,1,2,3,6,0.5"
    expected = [(2, "tokens must be the sum of input_tokens and output_tokens, 5, not '6'")]
    assert await _import(sqlite_database, file) == ((0, 0, 1), expected)


async def test_rollup_equal_to_recorded_requests_is_skipped(database: Database) -> None:
    log = "timestamp,account,model,category,input_tokens,output_tokens,cost\n2026-10-20T08:00:00Z,one,m,chat,2,3,0.5\n"
    await _import(database, log)
    same = f"{_HEADER}\none,2026-10-20,m,chat,1,2,3,0.50\n"
    replacing = ImportOptions(create_accounts=True, replace=True)
    assert await _import(database, same) == ((0, 1, 0), [])
    assert await _import(database, same, replacing) == ((0, 1, 0), [])
    assert (await _import(database, log.replace("T08", "T09")))[0] == (1, 0, 0)
    counts, _ = await _import(database, same)
    assert counts == (0, 0, 1)


async def test_unpaired_surrogate_in_utf_16_is_reported(sqlite_database: Database) -> None:
    line = "one,2026-10-20,m,chat,1,2,3,0.5"
    file = f"{_HEADER}\n{line}\n".encode("utf-16") + "one,2026-10-20,".encode("utf-16-le") + b"\x00\xd8"
    file += ",chat,1,2,3,0.5\n".encode("utf-16-le")
    counts, ((number, refusal),) = await _import(sqlite_database, file)
    assert (counts, number) == ((1, 0, 1), 3)
    assert refusal == "invalid UTF-16 in the line: save the file as UTF-8"


@pytest.mark.parametrize(
    ("line", "delimiter"),
    [("account,day,model", ","), ("account;day,model;calls", ";"), ('account,"day";calls', ";"), ("", ",")],
)
def test_delimiter_that_finds_most_columns_is_used(line: str, delimiter: str) -> None:
    """One with which the quotes of the line do not match finds none."""
    assert delimiter_of(line) == delimiter
