#!/usr/bin/env python3
"""Copies an SQLite database while it is in use: copy_sqlite.py SOURCE TARGET.

The copy is of one moment, and writers go on meanwhile. It gets its name only when it is whole and was checked.
"""

import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path


def main(source: Path, target: Path) -> None:
    if target.exists():
        raise SystemExit(f"{target} exists: give another name")
    new = target.with_name(f"{target.name}.new")
    new.unlink(missing_ok=True)
    os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    with closing(sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True, timeout=60)) as connection:
        connection.execute("VACUUM INTO ?", (str(new),))
    with closing(sqlite3.connect(new)) as connection:
        found = connection.execute("PRAGMA integrity_check").fetchone()[0]
    if found != "ok":
        raise SystemExit(f"{new} is damaged: {found}")
    with new.open("rb") as written:
        os.fsync(written.fileno())
    new.rename(target)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
