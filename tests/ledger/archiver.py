"""Runs `billing-gateway archive` with small files and transactions, and without the wait before the first move."""

from __future__ import annotations

from functools import partial
from typing import Final
from unittest import mock

from gateway.cli import main
from gateway.commands import archive as command
from ledger import archiving

FILE_ROWS: Final = 6

if __name__ == "__main__":
    small = partial(archiving.Archiving, file_rows=FILE_ROWS, first_move_seconds=0)
    with mock.patch.object(command, "Archiving", small), mock.patch.object(archiving, "MOVED_AT_ONCE", 2):
        main()
