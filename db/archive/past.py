"""Past: how the archived rows of an account are added to what was read of its live rows.

Live rows and archived rows are two ledgers of one account, the first newer than the second. Each read of ledger rows is
answered from both by the same statement, and the two answers are added: counts and totals are sums, a page is cut from
both in order, and the newest row before a moment is that of the live rows if they have one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from db.archive.errors import RowsArchived
from db.archive.reach import Reach
from db.connections.borders import Borders
from db.connections.snapshots import Past, Read, Rows

if TYPE_CHECKING:
    from db.archive.reading import Archived

Found = TypeVar("Found")
Key = TypeVar("Key")
Row = TypeVar("Row")


def past_sums(
    account_ids: Collection[int],
    reach: Reach,
    of_sqlite: Callable[[int], Read[dict[Key, Found]]],
    add: Callable[[Found, Found], Found],
) -> Past[dict[Key, Found]]:
    """Adds the values of each key. `of_sqlite` makes the read of one account for SQLite."""

    def joined(live: dict[Key, Found], _rows: Sequence[Rows], archived: Archived) -> dict[Key, Found]:
        found = dict(live)
        for account_id in account_ids:
            rows = archived.whole(account_id, reach)
            past = {} if rows is None else rows.read(of_sqlite(account_id))
            for key, value in past.items():
                found[key] = add(found[key], value) if key in found else value
        return found

    return Past(account_ids, lambda _, borders: reach.meets_any(borders), joined)


def past_pages(
    keys: Mapping[Key, int],
    reach: Reach,
    of_sqlite: Callable[[Key], Read[dict[Key, list[Row]]]],
    *,
    limit: int,
    oldest: bool,
) -> Past[dict[Key, list[Row]]]:
    """Adds the rows of each page: `keys` are those of the pages, each with its account. `of_sqlite` makes the read of
    one page for SQLite."""

    def is_short(account_id: int, page: Sequence[Row], borders: Borders) -> bool:
        # The newest rows are live ones: a whole page of them lacks none.
        return account_id in borders and (oldest or len(page) < limit) and reach.meets(borders[account_id])

    def needed(live: dict[Key, list[Row]], borders: Borders) -> bool:
        return any(is_short(account_id, live[key], borders) for key, account_id in keys.items())

    def whole(key: Key, account_id: int, page: list[Row], archived: Archived) -> list[Row]:
        rows: list[Row] = [] if oldest else page
        for part in archived.parts(account_id, reach, oldest=oldest):
            rows = rows + part.read(of_sqlite(key))[key]
            if len(rows) >= limit:
                return rows[:limit]
        return (rows + page)[:limit] if oldest else rows

    def joined(live: dict[Key, list[Row]], _rows: Sequence[Rows], archived: Archived) -> dict[Key, list[Row]]:
        return {
            key: whole(key, account_id, live[key], archived)
            if is_short(account_id, live[key], archived.borders)
            else live[key]
            for key, account_id in keys.items()
        }

    return Past(frozenset(keys.values()), needed, joined)


def past_rows_by_id(
    ids: Collection[tuple[int, int]], value: Callable[[Any], Found]
) -> Past[dict[tuple[int, int], Found]]:
    """Adds rows that were looked up by (account, seq)."""

    def lacking(live: Mapping[tuple[int, int], Found], borders: Borders) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}
        for account_id, seq in set(ids) - live.keys():
            if account_id in borders and 0 < seq <= borders[account_id].archived_seq:
                found.setdefault(account_id, []).append(seq)
        return found

    def joined(
        live: dict[tuple[int, int], Found], _rows: Sequence[Rows], archived: Archived
    ) -> dict[tuple[int, int], Found]:
        found = dict(live)
        for account_id, seqs in lacking(live, archived.borders).items():
            rows = archived.whole(account_id, Reach(min(seqs) - 1, max(seqs) + 1))
            of_account = [] if rows is None else rows.rows_of(seqs)
            found |= {(row.account_id, row.seq): value(row) for row in of_account}
        return found

    return Past(
        frozenset(account_id for account_id, _ in ids), lambda live, borders: bool(lacking(live, borders)), joined
    )


def past_rows(account_id: int, reach: Reach, of_sqlite: Read[Rows], *, limit: int | None = None) -> Past[Rows]:
    """Adds the rows of one statement, oldest first."""

    def joined(live: Rows, _rows: Sequence[Rows], archived: Archived) -> Rows:
        rows = archived.whole(account_id, reach)
        past = [] if rows is None else rows.read(of_sqlite)
        return [*past, *live][:limit]

    return Past((account_id,), lambda _, borders: reach.meets_any(borders), joined)


def nothing_past(account_ids: Collection[int], since: Sequence[datetime], message: str) -> Past[Any]:
    """Refuses a read that looks up the first row since these moments, if it may be an archived one."""

    def refuse(*_: object) -> Any:
        raise RowsArchived(message)

    def needed(_: object, borders: Borders) -> bool:
        return any(moment <= border.until for border in borders.values() for moment in since)

    return Past(account_ids, needed, refuse)
