"""Recount: the reads of verification. Each reads a page or a sum, by itself or within a snapshot."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from sqlalchemy import Executable

Read = Callable[[Executable, dict[str, Any]], Awaitable[Sequence[Any]]]
