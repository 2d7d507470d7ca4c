"""Attribution: who spent. An API key of the customer at the platform, and a project."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

from ledger.errors import Conflict
from ledger.texts import API_KEY, PROJECT


class Attribution(NamedTuple):
    api_key: str = ""
    """Empty if nobody said."""
    project: str = ""

    def covers(self, other: Attribution) -> bool:
        """Returns whether a limit or reservation for this attribution applies to the other one."""
        return self.api_key in {"", other.api_key} and self.project in {"", other.project}


NOBODY: Final = Attribution()

Share = tuple[Attribution, int]
"""The part of an amount that one attribution spent, in nano-dollars."""


@lru_cache(maxsize=4_096)
def checked_attribution(api_key: str | None, project: str | None) -> Attribution:
    """Raises BadUserInput, which names the argument. The calls of a batch repeat their keys and projects."""
    if api_key is not None:
        API_KEY.checked(api_key, "apiKeyId")
    if project is not None:
        PROJECT.checked(project, "project")
    return Attribution(api_key or "", project or "")


def check_same(given: Attribution, known: Attribution, what: str) -> None:
    """Raises Conflict if the given attribution is not that with which the resource was opened. None may be given."""
    if given not in {NOBODY, known}:
        msg = f"{what} was opened with another apiKeyId or project, which cannot be changed"
        raise Conflict(msg)


def common(shares: list[Share]) -> Attribution:
    """Returns the attribution of a whole amount: empty where its parts differ."""
    attributions = [attribution for attribution, _ in shares]
    keys, projects = {one.api_key for one in attributions}, {one.project for one in attributions}
    return Attribution(keys.pop() if len(keys) == 1 else "", projects.pop() if len(projects) == 1 else "")
