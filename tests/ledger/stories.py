"""What can happen in a story of `test_producers_model`: how often, and with what, drawn at random.

Not by Hypothesis' own choice, which leaves many acts out of a story and repeats the others with a few values: holds
would seldom meet their settlements.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Final

Draw = Callable[[Random], Any]


def one_of(*values: Any) -> Draw:
    return lambda random: random.choice(values)


def between(low: int, high: int) -> Draw:
    return lambda random: random.randint(low, high)


def how(random: Random) -> Any:
    """Whether an act is done in one go; `("cancelled", n)` is at its n-th wait, and then done again."""
    drawn = random.choice(["once", "once", "once", "again", "at once", "undone", "cancelled"])
    return (drawn, random.randint(1, 25)) if drawn == "cancelled" else drawn


def nanos(random: Random) -> int:
    return random.choice([random.randint(1, 3_000) * 10_000_000, random.randint(1, 10**10)])


def used(random: Random) -> int | None:
    """None is as much as was held."""
    return random.choice([None, 0, nanos(random), nanos(random)])


def nanos_or_none(random: Random) -> int | None:
    return random.choice([None, nanos(random)])


def requests(random: Random) -> list[Any]:
    """Their ids come again, in one batch and in others."""
    return [
        (
            f"r{random.randint(1, 40)}",
            random.randint(0, 60),
            random.choice(["small", "large"]),
            random.choice(["chat", "embedding", "image"]),
            random.choice(["platform", "user_inference"]),
            random.randint(0, 1000),
            random.randint(0, 1000),
            random.choice([0, random.randint(0, 10**9)]),
        )
        for _ in range(random.randint(1, 5))
    ]


def several(random: Random) -> list[int]:
    return random.sample(range(10_000), random.randint(2, 4))


ANY: Final = between(0, 9_999)
FLAG: Final = one_of(True, False)
VOLUMES: Final = one_of("volume 1", "volume 2", "volume 3", "shared_filesystem 1")
FAULTS: Final = one_of("none", "none", "none", "declined", "breaks_off", "503", "429")

"""Of Stripe. A 500 it keeps with the key: that attempt is given up, which takes hours."""

HOW: Final[dict[str, Draw]] = {"how": how}
NAMED: Final[dict[str, Draw]] = HOW | {"name": one_of("a", "a", "b")}
KEYED: Final[dict[str, Draw]] = NAMED | {"key": one_of(*[None] * 8, "k1", "k2")}
"""None is a key of its own."""

ACTS: Final[dict[str, tuple[int, dict[str, Draw]]]] = {
    "create_account": (1, HOW | {"bonus": nanos_or_none}),
    "open_hold": (
        8,
        KEYED | {"kind": one_of("gpu", "inference", "inference"), "nanos": nanos, "hours": between(1, 60)},
    ),
    "settle_hold": (5, KEYED | {"number": ANY, "used": used}),
    "renew_hold": (3, KEYED | {"number": ANY, "used": nanos, "nanos": nanos}),
    "record_usage": (6, KEYED | {"drawn": requests}),
    "grant_bonus": (2, KEYED | {"nanos": nanos}),
    "correct_balance": (3, KEYED | {"nanos": nanos, "sign": one_of(1, -1)}),
    "grant_contract": (2, KEYED | {"cash": nanos, "bonus": nanos_or_none}),
    "change_status": (2, NAMED),
    "set_rate": (9, NAMED | {"number": ANY, "gpus": between(1, 3)}),
    "set_volume": (5, NAMED | {"ref": VOLUMES, "gib": between(1, 500), "back": one_of(0, 0, 0, 5, 50)}),
    "delete_volume": (1, NAMED | {"ref": VOLUMES}),
    "set_recharge": (3, NAMED | {"threshold": between(0, 300), "limit": between(25, 80)}),
    "call_once_more": (3, HOW | {"number": ANY}),
    "pay": (4, {"name": one_of("a", "b"), "cents": between(1, 4_000), "bonus": one_of(None, 0, 700), "late": FLAG}),
    "give_back": (4, {"number": ANY, "cents": between(1, 300), "lists": FLAG}),
    "tell": (10, HOW | {"number": ANY}),
    "tell_at_once": (4, {"numbers": several}),
    "link": (2, NAMED),
    "retry_events": (1, HOW),
    "work": (
        13,
        HOW | {"job": one_of("storage", "cycles", "cycles", "expiry"), "hours": one_of(0, 0, 1, 7, 13, 24, 75)},
    ),
    "recharge": (9, {"two": FLAG, "fault": FAULTS}),
}
"""How often each comes, and what it is given."""
