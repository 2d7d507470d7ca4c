"""Each planted bug is caught by the operations that caught it when it was last looked for.

Where one is no longer, other operations may be generated now: `python -m tests.execution.planted_bugs --write` looks
for all of them anew.
"""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import execution.plans
from tests.execution.planted_bugs import BUGS, SUBJECTS, is_caught, record
from tests.execution.planting import Bug, planted
from tests.execution.trial import OF_ONE_DOCUMENT, trial

pytestmark = [
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
each_bug = pytest.mark.parametrize("bug", BUGS, ids=[bug.name for bug in BUGS])


@pytest.fixture(autouse=True, scope="module")
def _nothing_left() -> Iterator[None]:
    """What spoilt compilers leave waiting is told of here, not in a test of something else."""
    yield
    gc.collect()


@each_bug
async def test_planted_bug_is_caught(bug: Bug) -> None:
    caught = record()[bug.name]
    await trial(SUBJECTS[caught.subject], caught.document, OF_ONE_DOCUMENT)  # as it is, the compiler is right there
    assert await is_caught(bug, caught)


def test_planted_bugs_use_only_defined_names(tmp_path: Path) -> None:
    """Compiled code would merely fail by it, and what fails is run by the reference executor."""
    for number, bug in enumerate(bug for bug in BUGS if not bug.is_in_c):
        (tmp_path / f"bug_{number}.py").write_text(bug.source, encoding="utf-8")
    command = (sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F821", str(tmp_path))
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


def test_original_compiler_is_restored_afterwards() -> None:
    right = execution.plans
    with planted(BUGS[0]):
        assert sys.modules["execution.plans"] is not right
    assert sys.modules["execution.plans"] is right
    assert execution.plans is right
