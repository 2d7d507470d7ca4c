"""Which of the processes of `pytest -n 3` runs what: whole files, as much is set up once for all tests of one."""

from __future__ import annotations

from typing import Final

from xdist.scheduler import LoadFileScheduling

_CONSOLE: Final = "tests/console/"

CHAINS: Final = {
    "views": tuple(
        f"{_CONSOLE}test_{name}.py" for name in ("accessibility", "languages", "layout", "odd_input", "signing_in")
    ),
    "console": (_CONSOLE,),
    "clients": (
        *("tests/gateway/streams/clients/", "tests/gateway/test_graphiql_browser.py"),
        *("tests/gateway/test_graphiql_examples.py", "tests/gateway/test_client_programs.py"),
        *("tests/gateway/test_apollo_client.py", "tests/gateway/test_cross_origin.py"),
        "tests/gateway/test_refusal_types.py",
    ),
}
"""Each for one process, which starts one browser. The pages are two chains, as they wait for most of the time and one
would outlast all others. The clients install packages, too, and have ports that nobody else may take while nobody
listens."""


class FileScheduling(LoadFileScheduling):  # type: ignore[misc]  # xdist tells no types
    def _split_scope(self, nodeid: str) -> str:
        found = (chain for chain, starts in CHAINS.items() if nodeid.startswith(starts))
        return next(found, None) or str(super()._split_scope(nodeid))
