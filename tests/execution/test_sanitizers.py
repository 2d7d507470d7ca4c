"""`serializer.c` passes its tests under AddressSanitizer and UndefinedBehaviorSanitizer, which find planted faults."""

from __future__ import annotations

import os
from typing import Final

import pytest

from tests.doses import dose
from tests.execution.planting import ROOT
from tests.execution.sanitizing import run

SOURCE: Final = (ROOT / "execution" / "serializer.c").read_text(encoding="utf-8")
OPERATIONS: Final = int(os.environ.get("SANITIZED_OPERATIONS", "0"))
"""How many random operations are run, too: `make test-nightly` does."""
SERIALIZER: Final = "tests/execution/test_serializer.py"
WITHOUT_C: Final = f"{SERIALIZER}::test_python_serializes_without_the_compiled_module"


def test_serializer_tests_pass_under_sanitizers() -> None:
    done = run(SOURCE, "-q", "--noconftest", SERIALIZER, "--deselect", WITHOUT_C)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(OPERATIONS == 0, reason="make test-nightly runs random operations")
def test_random_operations_pass_under_sanitizers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EQUIVALENCE_OPERATIONS", str(OPERATIONS))
    done = run(SOURCE, "-q", "tests/execution/test_equivalence.py")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("right", "wrong", "test", "report"),
    [
        ("MICROSECOND(moment), 6)", "MICROSECOND(moment), 8)", "test_times", "AddressSanitizer: stack-buffer-overflow"),
        (
            "number < 0 ? 0ULL - (unsigned long long)number",
            "number < 0 ? (unsigned long long)-number",
            "test_amounts_at_the_limits",
            "runtime error: negation of -9223372036854775808",
        ),
    ][: dose(1, 2)],
)
def test_a_planted_fault_is_found(right: str, wrong: str, test: str, report: str) -> None:
    assert right in SOURCE
    done = run(SOURCE.replace(right, wrong), "-q", "-x", "--noconftest", f"{SERIALIZER}::{test}")
    assert done.returncode != 0
    assert report in done.stdout + done.stderr
