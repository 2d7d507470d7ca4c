"""Errors of the archive.

ArchiveError
├── ArchiveUnavailable   its packages are not installed, or the storage cannot be read or written
├── ArchiveDamaged       a file is missing, or is not the file that was written
└── RowsArchived         what was asked for needs archived rows, and is not answered from the archive
"""

from __future__ import annotations


class ArchiveError(Exception):
    """Base of the errors of this module. The text may be shown to an operator, but not to a client."""


class ArchiveUnavailable(ArchiveError):
    pass


class ArchiveDamaged(ArchiveError):
    pass


class RowsArchived(ArchiveError):
    """The text may be shown to a client."""
