"""The layout for Citus in docs/distribution.md, and the rules that PostgreSQL's catalogue breaks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import text

from db.database import Database

PAGE: Final = (Path(__file__).parents[2] / "docs" / "distribution.md").read_text()

_TABLES: Final = text("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")
_UNIQUE: Final = text("""
SELECT relation.relname, index.relname, array_agg(attribute.attname)
  FROM pg_index JOIN pg_class AS relation ON relation.oid = indrelid JOIN pg_class AS index ON index.oid = indexrelid
       JOIN pg_attribute AS attribute ON attrelid = indexrelid AND attnum <= indnkeyatts
 WHERE indisunique AND relation.relnamespace = 'public'::regnamespace
 GROUP BY 1, 2
""")
_FOREIGN: Final = text("""
SELECT conname, conrelid::regclass::text, confrelid::regclass::text,
       (SELECT array_agg(own.attname || ' ' || other.attname)
          FROM unnest(conkey, confkey) AS pair (own, other)
               JOIN pg_attribute AS own ON own.attrelid = conrelid AND own.attnum = pair.own
               JOIN pg_attribute AS other ON other.attrelid = confrelid AND other.attnum = pair.other)
  FROM pg_constraint WHERE contype = 'f' AND connamespace = 'public'::regnamespace
""")
_TRIGGERS: Final = text("""
SELECT tgname, tgrelid::regclass::text FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
 WHERE NOT tgisinternal AND relnamespace = 'public'::regnamespace
""")


def _rows(title: str) -> list[tuple[str, ...]]:
    """The rows of the table in a section of the page."""
    section = PAGE.split(f"## {title}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]


def _places() -> dict[str, str]:
    """The place of each table."""
    return {name: place for names, place, *_others in _rows("Layout") for name in re.findall(r"`(\w+)`", names)}


async def _broken(database: Database) -> set[tuple[str, str]]:
    places = _places()
    columns = {name: place.split("`")[1] for name, place in places.items() if place.startswith("distributed by")}
    found = set()
    for table, index, own in await database.read(_UNIQUE):
        if table in columns and columns[table] not in own:
            found.add((table, f"`{index}` has no `{columns[table]}`"))
    for name, table, other, pairs in await database.read(_FOREIGN):
        if other not in columns:
            if table in columns and places[other] != "reference":
                found.add((table, f"`{name}` leads to a local table"))
        elif table not in columns:
            found.add((table, f"`{name}` leads to a distributed table"))
        elif f"{columns[table]} {columns[other]}" not in pairs:
            found.add((table, f"`{name}` has not the columns that both are distributed by"))
    for name, table in await database.read(_TRIGGERS):
        if table in columns:
            found.add((table, f"`{name}` is a trigger"))
    return found


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
async def test_the_page_has_each_table_and_each_broken_rule(database: Database) -> None:
    tables = {row[0] for row in await database.read(_TABLES)}
    assert set(_places()) == tables
    written = {(table.strip("`"), rule) for table, rule, *_others in _rows("Broken rules")}
    assert await _broken(database) == written
