"""Importer: records the usage of files, in batches or all at once."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, timedelta
from hashlib import blake2b
from typing import Final

from db import writes
from db.database import Database, WriteConnection
from db.errors import NumberOutOfRange
from db.moved_accounts import MAX_TRIES, MovedAccounts
from db.rows import UsageDayRow
from db.shards import shard_numbered
from ledger.errors import NotFound
from ledger.imports.accounts import NamedAccounts
from ledger.imports.columns import FileRefused
from ledger.imports.fields import DAY_NANOS, HOUR_NANOS, day_of
from ledger.imports.lines import LogLine, RollupLine
from ledger.imports.numbering import Numbering
from ledger.imports.options import ImportOptions
from ledger.imports.reports import FileReport, ImportReport, Outcome
from ledger.imports.sources import Batch, Refusal, Source, SourceReader
from ledger.posting import Clock, utc_now
from ledger.prices import Prices
from ledger.usage import (
    Rollup,
    UsageRequest,
    id_digest,
    line_digest,
    nth_digest,
    record_requests,
    record_rollups,
)

_LOCKED_AT_ONCE: Final = 5_000

_OUT_OF_ORDER: Final = (
    "the line is too far out of time order to tell whether it is a duplicate: sort the file by timestamp, or add"
    " request ids"
)


class _FileState:
    def __init__(self, name: str) -> None:
        self.name = name
        self.numbering = Numbering()
        self.replaced: set[bytes] = set()


@dataclass(frozen=True, slots=True)
class _Usage:
    """Lines of a batch, with what is recorded for them."""

    requests: list[tuple[int, UsageRequest]]
    rollups: list[tuple[RollupLine, Rollup]]

    @property
    def account_ids(self) -> set[int]:
        return {one.account_id for _, one in self.requests} | {one.row.account_id for _, one in self.rollups}

    def add(self, other: _Usage) -> None:
        self.requests.extend(other.requests)
        self.rollups.extend(other.rollups)

    def by_shard(self, moved: MovedAccounts) -> dict[int, _Usage]:
        found: dict[int, _Usage] = defaultdict(lambda: _Usage([], []))
        for number, request in self.requests:
            found[moved.shard_of(request.account_id)].requests.append((number, request))
        for line, rollup in self.rollups:
            found[moved.shard_of(rollup.row.account_id)].rollups.append((line, rollup))
        return found

    async def record(self, connection: WriteConnection, outcome: Outcome, *, replacing: bool) -> None:
        if self.requests:
            verdicts = await record_requests(connection, [request for _, request in self.requests])
            for (number, _), verdict in zip(self.requests, verdicts, strict=True):
                outcome.judge(number, verdict, 1)
        if self.rollups:
            verdicts = await record_rollups(connection, [rollup for _, rollup in self.rollups])
            for (line, _), verdict in zip(self.rollups, verdicts, strict=True):
                outcome.judge(line.number, verdict, line.calls, replacing=replacing)


class _RolledBack(Exception):
    """Rolls back a strict import."""


def _ignore(*_: object) -> None:
    pass


class Importer:
    def __init__(
        self,
        database: Database,
        options: ImportOptions,
        prices: Prices,
        clock: Clock = utc_now,
        *,
        on_refusals: Callable[[str, Sequence[Refusal]], None] = _ignore,
        on_bytes: Callable[[int], None] = _ignore,
    ) -> None:
        """`on_bytes` is called with the number of bytes read. With `strict`, every byte is read and reported twice."""
        self._database = database
        self._options = options
        self._prices = prices
        self._clock = clock
        self._on_refusals = on_refusals
        self._on_bytes = on_bytes
        self._accounts = NamedAccounts(options.create_accounts, clock)
        self._details_since = clock() - timedelta(days=options.detail_days)
        self._place = ""
        self.report = ImportReport()

    async def run(self, sources: Sequence[Source]) -> ImportReport:
        """Imports the files. Raises DatabaseError or SourceUnreadable; `report` then shows what was committed."""
        self.report.files = [FileReport(source.name) for source in sources]
        pairs = list(zip(sources, self.report.files, strict=True))
        try:
            if self._database.place is not None:
                await self._database.place.shards.moved.look_at_all()
            if self._options.strict:
                assert self._database.place is None, "shards do not commit together"
                await self._all_or_nothing(pairs)
            else:
                for source, file in pairs:
                    await self._in_batches(source, file)
        except NumberOutOfRange as error:
            msg = f"{self._place}: {error}"
            raise NumberOutOfRange(msg) from error
        return self.report

    def _open(self, source: Source, file: FileReport) -> SourceReader | None:
        try:
            reader = SourceReader(source, self._options, self._prices, self._clock().astimezone(UTC).date())
        except FileRefused as error:
            self._refuse(file, [Refusal(1, str(error))])
            return None
        file.format = reader.parser.format
        return reader

    def _refuse(self, file: FileReport, refusals: Sequence[Refusal]) -> None:
        if refusals:
            file.refused += len(refusals)
            self._on_refusals(file.name, refusals)

    def _count(self, file: FileReport, outcome: Outcome) -> None:
        file.taken += outcome.taken
        file.known += outcome.known
        file.calls += outcome.calls
        self.report.accounts_created += outcome.accounts_created
        self._refuse(file, outcome.refusals)

    async def _in_batches(self, source: Source, file: FileReport) -> None:
        reader = self._open(source, file)
        if reader is None:
            return
        state = _FileState(file.name)
        for batch in reader.batches():
            outcome = Outcome()
            recording = asyncio.create_task(self._recorded(batch, state, outcome))
            try:
                await asyncio.shield(recording)
            except asyncio.CancelledError:
                # A batch that is cancelled during its commit could be written without being counted.
                await recording
                raise
            finally:
                outcome.refusals.sort()
                self._count(file, outcome)
            self._on_bytes(batch.read_bytes)

    async def _recorded(self, batch: Batch, state: _FileState, outcome: Outcome) -> None:
        """Adds to the outcome what was committed."""
        found = Outcome(refusals=batch.all_refusals)
        if batch.requests or batch.rollups:
            if self._database.place is None:
                async with self._database.write() as connection:
                    await self._record(connection, batch, state, found)
            else:
                await self._record_on_shards(self._database.place.shards.moved, batch, state, found, outcome)
        outcome.add(found)

    async def _record_on_shards(
        self, moved: MovedAccounts, batch: Batch, state: _FileState, found: Outcome, outcome: Outcome
    ) -> None:
        """Records each line on the shard of its account, shard by shard."""
        self._note_place(batch, state)
        names = {line.account for line in batch.takeable}
        outcome.accounts_created += await self._accounts.find_on_shards(self._database, names)
        usage = self._usage(batch, state, found)
        for tries in range(1, MAX_TRIES + 1):  # pragma: no branch  the last one raises
            left = _Usage([], [])
            for number, of_shard in sorted(usage.by_shard(moved).items()):
                written = Outcome()
                try:
                    async with shard_numbered(self._database, number).write() as connection:
                        await of_shard.record(connection, written, replacing=self._options.replace)
                except NotFound:
                    # An account has left the shard.
                    if tries == MAX_TRIES:
                        raise
                    await moved.find_all(number, of_shard.account_ids)
                    left.add(of_shard)
                else:
                    outcome.add(written)
            if not left.account_ids:
                return
            usage = left

    async def _all_or_nothing(self, pairs: Sequence[tuple[Source, FileReport]]) -> None:
        """Reads all files before it writes, so that all accounts are known and can be locked in the order of their ids.

        Locking accounts batch by batch until the end of the transaction could deadlock with other transactions.
        """
        names: set[str] = set()
        for source, file in pairs:
            names |= self._checked(source, file)
        if self.report.refused:
            return
        outcomes: list[Outcome] = []
        try:
            async with self._database.write() as connection:
                created = await self._lock_all(connection, names)
                for source, file in pairs:
                    outcomes.append(await self._record_all(connection, source, file))
                if any(outcome.refusals for outcome in outcomes):  # pragma: no branch  the end of `async with`
                    raise _RolledBack
        except _RolledBack:
            for (_, file), outcome in zip(pairs, outcomes, strict=True):
                self._refuse(file, outcome.refusals)
            return
        self.report.accounts_created = created
        for (_, file), outcome in zip(pairs, outcomes, strict=True):
            self._count(file, outcome)

    def _checked(self, source: Source, file: FileReport) -> set[str]:
        """Returns the accounts that the file names. Reports its refusals."""
        names: set[str] = set()
        reader = self._open(source, file)
        if reader is not None:
            for batch in reader.batches():
                names |= {line.account for line in batch.takeable}
                self._refuse(file, batch.all_refusals)
                self._on_bytes(batch.read_bytes)
        source.stream.seek(0)
        return names

    async def _lock_all(self, connection: WriteConnection, names: Set[str]) -> int:
        created = await self._accounts.find(connection, names)
        ids = sorted(set(self._accounts.ids.values()))
        for start in range(0, len(ids), _LOCKED_AT_ONCE):
            await writes.lock_accounts(connection, ids[start : start + _LOCKED_AT_ONCE])
        return created

    async def _record_all(self, connection: WriteConnection, source: Source, file: FileReport) -> Outcome:
        outcome, state = Outcome(), _FileState(file.name)
        reader = self._open(source, file)
        assert reader is not None, "the file changed during the import"
        for batch in reader.batches():
            await self._record(connection, batch, state, outcome)
            self._on_bytes(batch.read_bytes)
        return outcome

    def _note_place(self, batch: Batch, state: _FileState) -> None:
        self._place = f"{state.name}, lines up to {batch.last_line}"

    async def _record(self, connection: WriteConnection, batch: Batch, state: _FileState, outcome: Outcome) -> None:
        self._note_place(batch, state)
        names = {line.account for line in batch.takeable}
        outcome.accounts_created += await self._accounts.find(connection, names)
        usage = self._usage(batch, state, outcome)
        await usage.record(connection, outcome, replacing=self._options.replace)

    def _usage(self, batch: Batch, state: _FileState, outcome: Outcome) -> _Usage:
        """Returns what is to be recorded, and refuses lines whose accounts are not known. Called once for each batch:
        equal lines of the file are numbered."""
        requests = [
            (line.number, request)
            for line in batch.requests
            if (request := self._request(line, state, outcome)) is not None
        ]
        return _Usage(requests, self._rollups(batch.rollups, state, outcome))

    def _request(self, line: LogLine, state: _FileState, outcome: Outcome) -> UsageRequest | None:
        account_id = self._accounts.ids.get(line.account)
        if account_id is None:
            if not line.unpriced:
                outcome.refusals.append(Refusal(line.number, self._accounts.refusal(line.account)))
            return None
        digest = _digest(line, account_id, state.numbering)
        if line.unpriced:
            return None
        if digest is None:
            outcome.refusals.append(Refusal(line.number, _OUT_OF_ORDER))
            return None
        used, at = line.used, line.at
        return UsageRequest(
            account_id=account_id,
            day=day_of(line.timestamp_nanos // DAY_NANOS),
            model=line.model,
            category=line.category,
            origin=line.origin,
            input_tokens=used.input_tokens,
            output_tokens=used.output_tokens,
            cost_nanos=line.cost_nanos,
            digest=digest,
            hour=line.timestamp_nanos // HOUR_NANOS,
            api_key=line.api_key,
            project=line.project,
            cached_input_tokens=used.cached_input_tokens,
            reasoning_tokens=used.reasoning_tokens,
            units_nanos=used.units_nanos,
            price=line.price,
            at=at,
            request_id=line.request_id or None,
            end_user=line.end_user or None,
            keeps_detail=at > self._details_since,
            is_imported=True,
        )

    def _rollups(
        self, lines: Sequence[RollupLine], state: _FileState, outcome: Outcome
    ) -> list[tuple[RollupLine, Rollup]]:
        rollups: list[tuple[RollupLine, Rollup]] = []
        for line in lines:
            account_id = self._accounts.ids.get(line.account)
            if account_id is None:
                outcome.refusals.append(Refusal(line.number, self._accounts.refusal(line.account)))
                continue
            row = UsageDayRow(account_id, *line[2:])
            rollups.append((line, Rollup(row, self._replaces(account_id, line, state))))
        return rollups

    def _replaces(self, account_id: int, line: RollupLine, state: _FileState) -> bool:
        """Returns whether the line replaces the stored figures. Only the first line with a key does: a second one
        contradicts it."""
        if not self._options.replace:
            return False
        key = blake2b(repr((account_id, *line[2:6])).encode(), digest_size=16).digest()
        first = key not in state.replaced
        state.replaced.add(key)
        return first


def _digest(line: LogLine, account_id: int, numbering: Numbering) -> bytes | None:
    """Returns the digest of the line, or None if it is unknown which of the equal lines of its file this is."""
    if line.request_id:
        return id_digest(line.request_id)
    first = line_digest(line.timestamp_nanos, line.model, line.category, line.input_tokens, line.output_tokens)
    number = numbering.number(account_id, line.timestamp_nanos, first)
    return None if number is None else nth_digest(first, number)
