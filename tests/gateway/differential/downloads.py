"""Random requests to the paths of REST, with their parameters."""

from __future__ import annotations

from typing import Final

from tests.gateway.differential.calls import Download, LinkedDownload
from tests.gateway.differential.known import ALL_REF_TYPES, CATEGORIES, EXTREME_IDS, ORIGINS, Known
from tests.gateway.differential.mutations import model
from tests.gateway.differential.queries import SOURCES, TYPES

Parameters = list[tuple[str, str]]

PATHS: Final = ("/billing/transactions", "/billing/transactions.csv", "/billing/usage.csv")


def _words(known: Known, name: str, words: tuple[str, ...]) -> Parameters:
    """Several, with commas or one by one."""
    chosen = [word.lower() for word in known.random.sample(words, min(known.random.randint(0, 3), len(words)))]
    if known.often(0.7):
        return [(name, ",".join(chosen))]
    return [(name, word) for word in chosen]


def _transactions(known: Known) -> Parameters:
    _, _, ref_id = known.one_of(known.refs, ("", "", "i-1"))
    amount = known.one_of(known.amounts, "0.00")
    possible: list[tuple[float, Parameters]] = [
        (0.15, _words(known, "types", TYPES)),
        (0.1, _words(known, "sources", SOURCES)),
        (0.15, [("created_at_gte", known.time())]),
        (0.15, [("created_at_lt", known.time())]),
        (0.1, [("amount_gte", amount)]),
        (0.1, [("amount_lte", known.one_of(known.amounts, "0.00"))]),
        (0.1, [("ref_type", known.random.choice(ALL_REF_TYPES).lower())]),
        (0.1, [("ref_id", ref_id)]),
        (0.4, [("search", known.needle())]),
    ]
    return [one for share, given in possible if known.often(share) for one in given]


def _usage(known: Known) -> Parameters:
    possible: list[tuple[float, Parameters]] = [
        (0.2, [("day_gte", known.day())]),
        (0.2, [("day_lt", known.day())]),
        (0.3, [("models", model(known)) for _ in range(known.random.randint(1, 3))]),
        (0.2, _words(known, "categories", CATEGORIES)),
        (0.2, _words(known, "origins", ORIGINS)),
        (0.4, [("by", known.random.choice(("hour", "hour", "day")))]),
        (0.1, [("api_keys", known.attribution())]),
        (0.1, [("projects", known.attribution())]),
    ]
    return [one for share, given in possible if known.often(share) for one in given]


def _page(known: Known) -> Parameters:
    given = [("limit", known.random.choice(("1", "3", "50", "1000", "0", "1001", "x")))] if known.often(0.6) else []
    return given + (
        [("before", known.one_of(known.ids, "txn_1_1") if known.often(0.9) else known.random.choice(EXTREME_IDS))]
        if known.often(0.4)
        else []
    )


def download(known: Known) -> Download:
    if known.often(0.1):
        return _single(known)
    path = known.random.choices(PATHS, (3, 4, 3))[0]
    account = known.account()
    given = [("account", account)] if known.often(0.9) else []
    if known.often(0.6):
        given += _usage(known) if path.endswith("usage.csv") else _transactions(known)
    if path == PATHS[0]:
        given += _page(known)
    if known.often(0.03):
        given += known.random.choice(([("unknown", "1")], given[:1], [("types", "nothing")]))
    # A lone surrogate cannot be written in an address.
    given = [(name, value.encode(errors="replace").decode()) for name, value in given]
    return Download(path, given, known.right_key("operator", "operator", f"MANAGE {account}", f"READ {account}"))


def _single(known: Known) -> Download:
    """A request by its id."""
    account = known.account()
    path = f"/billing/usage/requests/r{known.random.randint(1, 60)}"
    return Download(path, [("account", account)], known.right_key("operator", f"READ {account}"))


def linked(known: Known) -> LinkedDownload:
    """By a link that needs no key."""
    return LinkedDownload(download(known))
