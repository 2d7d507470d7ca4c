"""What stands in memory when serving begins, arranged for it."""

from __future__ import annotations

import gc


def settle() -> None:
    """What stands now (the schema above all) stays: looking through it again for garbage would cost more than the
    garbage. Requests leave hardly any cycles, so the oldest generation is looked through seldom. The young ones are
    kept small: each subscriber comes with 150 objects, and while a generation is looked through nobody is answered.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 5, 2_000)
