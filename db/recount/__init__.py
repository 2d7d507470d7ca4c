"""The reads of verification. Each takes a page or a sum, whichever way it is read: by itself or within a snapshot."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from sqlalchemy import Executable

Read = Callable[[Executable, dict[str, Any]], Awaitable[Sequence[Any]]]
