"""The compiled executor answers as the reference executor does: random operations, random data, errors and nulls in
random places.

`EQUIVALENCE_OPERATIONS` is how many operations are run in all, `EQUIVALENCE_FIRST` the number of the first document.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Final

import pytest

from execution import plans, slices
from tests.conftest import COUNTED
from tests.execution.catalogue import CATALOGUE
from tests.execution.ledger_stand_in import LEDGER
from tests.execution.subjects import Subject
from tests.execution.trial import trial

OPERATIONS: Final = int(os.environ.get("EQUIVALENCE_OPERATIONS", "1000"))
FIRST: Final = int(os.environ.get("EQUIVALENCE_FIRST", "0"))
COMPILED_SHARE: Final = 0.95


@pytest.fixture(autouse=True)
def _rarer_collections() -> Iterator[None]:
    """Every document is a large tree: walking all objects each time that a few of them were made takes a third."""
    thresholds = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()


def _is_of_the_reference(name: str) -> bool:
    return name.startswith(("Executor.", "GraphQLCoreConverter."))


@pytest.fixture
def _coroutines_dropped_by_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """graphql-core cancels what runs beside a field that failed, begun or not. Compiled code drops no coroutine.

    Python cannot even warn where the coroutine goes while a named tuple is made, whose code has no builtins.
    """
    report = sys.unraisablehook

    def hook(unraisable: sys.UnraisableHookArgs) -> None:
        if not _is_of_the_reference(getattr(unraisable.object, "__qualname__", "")):
            report(unraisable)

    monkeypatch.setattr(sys, "unraisablehook", hook)


@pytest.fixture
def _short_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists of three items and more are walked in slices of one item."""
    monkeypatch.setattr(plans, "AT_ONCE_ITEMS", 2)
    monkeypatch.setattr(slices, "SLICE_SECONDS", 0.0)
    monkeypatch.setattr(plans, "_ITEMS_BETWEEN_LOOKS", 1)


@pytest.mark.usefixtures("_coroutines_dropped_by_the_reference", "_short_slices")
@pytest.mark.filterwarnings(r"ignore:coroutine '(Executor|GraphQLCoreConverter)\..*' was never awaited:RuntimeWarning")
@pytest.mark.parametrize(("subject", "part"), [(LEDGER, 0.7), (CATALOGUE, 0.3)], ids=["ledger", "catalogue"])
async def test_both_executors_return_the_same_answers(
    subject: Subject, part: float, record_property: Callable[[str, object], None]
) -> None:
    started = time.perf_counter()
    tally = await trial(subject, FIRST, round(OPERATIONS * part))
    report = (
        f"{subject.name}: {tally.operations:,} operations from {tally.documents:,} documents, {tally.fields:,} fields,"
        f" {tally.compiled_share:.2%} compiled, {tally.failures:,} errors, {time.perf_counter() - started:.0f} s"
    )
    record_property(COUNTED, report)
    assert tally.compiled_share >= COMPILED_SHARE, report
