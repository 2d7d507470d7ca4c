"""Which of the processes of `pytest -n 2` runs what: whole files, as much is set up once for all tests of one."""

from __future__ import annotations

from typing import Final

from xdist.scheduler import LoadFileScheduling

BROWSERS: Final = (
    *("tests/console/", "tests/gateway/streams/clients/", "tests/gateway/test_graphiql_browser.py"),
    *("tests/gateway/test_graphiql_examples.py", "tests/gateway/test_client_programs.py"),
    *(
        "tests/gateway/test_apollo_client.py",
        "tests/gateway/test_cross_origin.py",
        "tests/gateway/test_refusal_types.py",
    ),
)
"""For one process: two browsers at a time keep each other waiting beyond what tests allow a page. The clients' folder
installs packages, too, and has ports that nobody else may take while nobody listens."""


class FileScheduling(LoadFileScheduling):  # type: ignore[misc]  # xdist tells no types
    def _split_scope(self, nodeid: str) -> str:
        return "browsers" if nodeid.startswith(BROWSERS) else str(super()._split_scope(nodeid))
