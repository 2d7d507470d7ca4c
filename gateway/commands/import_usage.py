"""`billing-gateway import-usage`: the importer with files, a progress bar and a summary around it."""

from __future__ import annotations

import asyncio
import csv
import io
import os
import shutil
import signal
import stat
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, TextIO, cast

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from db.database import Database
from db.errors import DatabaseError
from gateway.commands.options import with_settings
from gateway.databases import check_databases, open_databases
from gateway.settings import Settings
from ledger.errors import BadUserInput
from ledger.imports.columns import Format
from ledger.imports.fields import parse_timestamp
from ledger.imports.importer import Importer
from ledger.imports.options import ImportOptions
from ledger.imports.reports import FileReport, ImportReport
from ledger.imports.sources import Refusal, Source, SourceUnreadable
from ledger.kinds import UsageCategory, UsageOrigin
from ledger.price_file import read_prices
from ledger.prices import Prices
from ledger.texts import EXTERNAL_ID, MODEL

SHOWN_REFUSALS = 20

_KINDS = {"account": EXTERNAL_ID, "model": MODEL}


class _Refusals:
    """Shows the first refused lines of each file on stderr, and writes all of them to a file if there is one."""

    def __init__(self, console: Console, file: TextIO | None) -> None:
        self._console = console
        self._shown: Counter[str] = Counter()
        self._writer = csv.writer(file) if file else None
        if self._writer:
            self._writer.writerow(["file", "line", "reason"])

    def __call__(self, name: str, refusals: Sequence[Refusal]) -> None:
        if self._writer:
            self._writer.writerows((name, refusal.line, refusal.reason) for refusal in refusals)
        room = max(SHOWN_REFUSALS - self._shown[name], 0)
        for refusal in refusals[:room]:
            self._say(f"{name}:{refusal.line}: {refusal.reason}")
        self._shown[name] += len(refusals)

    def finish(self) -> None:
        for name, count in self._shown.items():
            if count > SHOWN_REFUSALS:
                hint = "" if self._writer else " (--refused FILE writes all)"
                self._say(f"{name}: and {_counted(count - SHOWN_REFUSALS, 'more line')} refused{hint}")

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def _start(_: click.Context, __: click.Parameter, value: str | None) -> datetime | None:
    if value is None:
        return None
    try:
        nanos = parse_timestamp(value if len(value) > len("2023-11-16") else value + " 00:00:00")
        return datetime.fromtimestamp(nanos // 10**9, UTC).replace(microsecond=nanos // 1000 % 10**6)
    except (BadUserInput, OverflowError, ValueError, OSError) as error:
        msg = "must be a day or a time such as 2023-11-16 or 2023-11-16T08:00:00Z"
        raise click.BadParameter(msg) from error


def _text(_: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    try:
        return None if value is None else _KINDS[parameter.name or ""].checked(value, f"--{parameter.name}")
    except BadUserInput as error:
        raise click.BadParameter(str(error)) from error


def _format(_: click.Context, __: click.Parameter, value: str | None) -> Format | None:
    return None if value is None else Format(value)


def _prices(_: click.Context, __: click.Parameter, value: Path | None) -> Prices:
    if value is None:
        return Prices()
    try:
        with value.open("rb") as file:
            return read_prices(file)
    except BadUserInput as error:
        raise click.BadParameter(str(error)) from error


def _size(stream: BinaryIO) -> int | None:
    status = os.fstat(stream.fileno())
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _spooled(stream: BinaryIO, stack: ExitStack) -> BinaryIO:
    """A pipe can't be read twice: a copy of it on disk can."""
    copy = cast("BinaryIO", stack.enter_context(tempfile.TemporaryFile()))  # noqa: SIM115 - the stack closes it
    shutil.copyfileobj(stream, copy)
    copy.seek(0)
    return copy


def _source(name: str, stack: ExitStack, *, twice: bool) -> Source:
    try:
        stream = cast("BinaryIO", stack.enter_context(click.open_file(name, "rb")))
        if twice and not stream.seekable():
            stream = _spooled(stream, stack)
    except OSError as error:
        msg = f"{name} can't be read: {error.strerror or error}"
        raise click.ClickException(msg) from error
    return Source("stdin" if name == "-" else name, stream)


def _refusals_file(name: str | None, sources: Sequence[Source], stack: ExitStack) -> TextIO | None:
    """Opened after the files that are read, as opening it empties it: it must be none of them."""
    if name is None:
        return None
    try:
        if name != "-" and Path(name).exists() and any(_is_file(source.stream, Path(name)) for source in sources):
            raise click.BadParameter(
                "this is one of the files to import, and would be overwritten", param_hint="--refused"
            )
        return cast("TextIO", stack.enter_context(click.open_file(name, "w", encoding="utf-8")))
    except OSError as error:
        msg = f"{name} can't be written: {error.strerror or error}"
        raise click.BadParameter(msg, param_hint="--refused") from error


def _is_file(stream: BinaryIO, path: Path) -> bool:
    """Whether the stream reads this file, under any name or as standard input."""
    try:
        return stat.S_ISREG(path.stat().st_mode) and os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except io.UnsupportedOperation:
        return False


def _total_bytes(sources: Sequence[Source], *, twice: bool) -> int | None:
    try:
        sizes = [_size(source.stream) for source in sources]
    except (OSError, ValueError):
        return None
    return None if None in sizes else sum(size or 0 for size in sizes) * (2 if twice else 1)


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("importing"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def _interrupt(*_: object) -> None:
    """SIGTERM ends an import as Ctrl-C does: asyncio knows how to end its task for SIGINT alone."""
    signal.raise_signal(signal.SIGINT)


async def _run(databases: tuple[Database, ...], importer: Importer, sources: Sequence[Source]) -> None:
    try:
        await check_databases(databases)
        await importer.run(sources)
    finally:
        for database in databases:
            await database.close()


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _line(file: FileReport) -> str:
    kind = f" ({file.format})" if file.format else ""
    calls = f" with {_counted(file.calls, 'call')}" if file.calls else ""
    taken = f"{_counted(file.taken, 'line')} taken{calls}"
    return f"{file.name}{kind}: {taken}, {file.known:,} known, {file.refused:,} refused"


def _summary(report: ImportReport) -> list[str]:
    lines = [_line(file) for file in report.files]
    if len(report.files) > 1:
        total = FileReport("total")
        for file in report.files:
            total.taken += file.taken
            total.known += file.known
            total.refused += file.refused
            total.calls += file.calls
        lines.append(_line(total))
    if report.accounts_created:
        lines.append(f"{_counted(report.accounts_created, 'account')} created")
    return lines


@click.command("import-usage")
@click.argument(
    "files",
    nargs=-1,
    required=True,
    metavar="FILE…",
    type=click.Path(exists=True, dir_okay=False, readable=True, allow_dash=True),
)
@click.option("--account", callback=_text, help="Account (id or external id) for files without an account column.")
@click.option("--model", callback=_text, help="Model for files without a model column.")
@click.option(
    "--category",
    type=click.Choice([one.value for one in UsageCategory], case_sensitive=False),
    help="Category for files without a category column.",
)
@click.option(
    "--origin",
    type=click.Choice([one.value for one in UsageOrigin], case_sensitive=False),
    help="Origin for files without an origin column. The default is platform.",
)
@click.option("--start", callback=_start, help="Day or time (UTC) from which BurstGPT's seconds are counted.")
@click.option(
    "--prices",
    callback=_prices,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="TOML file with prices of your models, for logs without costs.",
)
@click.option(
    "--format",
    type=click.Choice([one.value for one in Format], case_sensitive=False),
    callback=_format,
    help="Format of the files. Without it, the columns of each file tell its format.",
)
@click.option("--create-accounts", is_flag=True, help="Create accounts for unknown external ids.")
@click.option("--replace", is_flag=True, help="Let rollups replace days that were imported with other figures.")
@click.option("--strict", is_flag=True, help="Import all lines of all files or, if one is refused, nothing.")
@click.option(
    "--refused",
    type=click.Path(dir_okay=False, writable=True, allow_dash=True),
    help="CSV file to write all refused lines to, with the reasons.",
)
@with_settings("database_url", "shards", "request_detail_days")
def import_usage(
    settings: Settings, /, *, files: tuple[str, ...], prices: Prices, refused: str | None, **options: Any
) -> None:
    """Import usage from CSV files. Use - for standard input.

    The columns of a file tell its format: daily rollups, request logs, Azure traces or BurstGPT traces. Logs may have
    columns for who sent a request and for all that it used. Lines that can't be imported are refused with their number
    and the reason, and all other lines are imported. Lines that were imported before change nothing. The import never
    writes ledger rows.

    Exit code: 0 if every line was imported now or before, 1 if a line or file was refused or the import was
    interrupted, 2 if the command line is invalid.
    """
    chosen = ImportOptions(**options, detail_days=settings.request_detail_days)
    console = Console(stderr=True)
    if settings.shard_urls and chosen.strict:
        raise click.UsageError("--strict cannot be used with BILLING_SHARDS: shards do not commit together")
    databases = open_databases(settings)
    failure = ""
    with ExitStack() as stack, _progress(console) as progress:
        sources = [_source(name, stack, twice=chosen.strict) for name in files]
        refusals = _Refusals(console, _refusals_file(refused, sources, stack))
        task = progress.add_task("", total=_total_bytes(sources, twice=chosen.strict))
        importer = Importer(
            databases[0], chosen, prices, on_refusals=refusals, on_bytes=lambda count: progress.advance(task, count)
        )
        before = signal.signal(signal.SIGTERM, _interrupt)
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            # A shell starts background jobs with SIGINT ignored; SIGTERM has to end them too.
            signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            asyncio.run(_run(databases, importer, sources))
        except (DatabaseError, SourceUnreadable) as error:
            failure = str(error)
        except KeyboardInterrupt:
            failure = "interrupted"
        finally:
            signal.signal(signal.SIGTERM, before)
        refusals.finish()
    _conclude(importer.report, failure, strict=chosen.strict)


def _conclude(report: ImportReport, failure: str, *, strict: bool) -> None:
    for line in _summary(report):
        click.echo(line)
    taken = any(file.taken for file in report.files) or report.accounts_created
    if failure:
        kept = (
            "the lines counted above were imported; import the files again for the rest"
            if taken
            else "nothing was written"
        )
        msg = f"{failure}; {kept}"
        raise click.ClickException(msg)
    if report.refused:
        if strict:
            click.echo("Nothing was written, because --strict imports all lines or nothing.", err=True)
        raise click.exceptions.Exit(1)
