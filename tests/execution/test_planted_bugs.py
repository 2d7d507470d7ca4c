"""The bugs of `tests.execution.planted_bugs` can still be planted. That they are caught takes minutes: it is run by
hand."""

from __future__ import annotations

import pytest

from tests.execution.planted_bugs import BUGS, ROOT, Bug


@pytest.mark.parametrize("bug", BUGS, ids=[f"{bug.file} {number}" for number, bug in enumerate(BUGS)])
def test_the_line_to_spoil_is_there(bug: Bug) -> None:
    text = (ROOT / "execution" / f"{bug.file}.py").read_text()
    assert text.count(bug.right) > 0
    compile(text.replace(bug.right, bug.wrong), bug.file, "exec")
