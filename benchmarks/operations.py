"""What is asked: operations of different shape, for the gateway and, in its own dialect, for PostGraphile."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from benchmarks.filling import Filled

Variables = dict[str, Any]
Cursor = Callable[[int, int], str]
"""From an account and a `seq` to the server's own cursor of that row."""

ROOT: Final = Path(__file__).resolve().parent.parent
_OURS: Final = ROOT / "graphql" / "operations"
_HERE: Final = ROOT / "benchmarks" / "operations"
_POSTGRAPHILE: Final = ROOT / "benchmarks" / "peers" / "postgraphile" / "operations"

REQUESTS: Final = 200
"""Different requests of each operation: as many accounts in turn."""
FILTERED_DAYS: Final = 180


@dataclass(frozen=True, slots=True)
class Asked:
    """What varies from one request to the next."""

    accounts: tuple[int, ...]
    """The one that it is about, and others for a request about several."""
    seq: int
    """A row, or the row that a page begins after."""
    number: int

    @property
    def account(self) -> int:
        return self.accounts[0]

    @property
    def flags(self) -> Variables:
        return {"withUsage": self.number % 2 == 0, "brief": self.number % 4 >= 2}


def _document(path: Path) -> str:
    return path.read_text()


def _billing_page() -> str:
    """The page's own document, with more usage rows."""
    text = _document(_OURS / "BillingPage.graphql")
    assert text.count("usage(first: 50)") == 1
    return text.replace("usage(first: 50)", "usage(first: 150)")


@dataclass(frozen=True, slots=True)
class Operation:
    name: str
    """Also the hand-written endpoints' path."""
    title: str
    document: str
    variables: Callable[[Asked, Filled, Cursor], Variables]
    postgraphile: str
    postgraphile_variables: Callable[[Asked, Cursor], Variables]
    seq: Callable[[Filled, int, int], int] = lambda _filled, _account, _number: 1
    """From an account and the request's number."""
    of_many: bool = False
    """About several accounts: asked with an operator's key."""
    left_out: str = ""
    """What PostGraphile's document lacks of ours, by its stock plugins' lack."""

    def asked(self, filled: Filled) -> list[Asked]:
        order = random.Random(self.name)
        found = []
        for number in range(REQUESTS):
            account = number % filled.accounts + 1
            others = order.sample([other for other in range(1, filled.accounts + 1) if other != account], 4)
            found.append(Asked((account, *others), self.seq(filled, account, number), number))
        order.shuffle(found)
        return found


def _text(account: int) -> str:
    return f"acct_{account}"


def _ours(asked: Asked) -> Variables:
    return {"account": _text(asked.account)}


def _theirs(asked: Asked) -> Variables:
    return {"account": str(asked.account)}


def _this_month() -> str:
    return datetime.now(UTC).strftime("%Y-%m")


def _filter(filled: Filled) -> Variables:
    gte, lt = filled.until - timedelta(days=FILTERED_DAYS), filled.until + timedelta(days=1)
    return {"types": ["REFUND"], "createdAt": {"gte": gte.isoformat(), "lt": lt.isoformat()}}


def _middle(filled: Filled, _account: int, number: int) -> int:
    return filled.rows_of_one // 2 - number


def _single(filled: Filled, account: int, number: int) -> int:
    """Every other row answers another one."""
    return filled.corrections[account - 1] if number % 2 else filled.rows_of_one - number


OPERATIONS: Final = (
    Operation(
        "billing_page",
        "The Billing page: 50 transactions, 150 usage rows, cards, 12 months",
        _billing_page(),
        lambda asked, _filled, _cursor: _ours(asked),
        _document(_POSTGRAPHILE / "BillingPage.graphql"),
        lambda asked, _cursor: {**_theirs(asked), "month": _this_month()},
        left_out="sums: total cost of the months, calls and tokens added up, totals of usage",
    ),
    Operation(
        "more_transactions",
        "A page of 50 transactions in the middle of the ledger, by its cursor",
        _document(_OURS / "MoreTransactions.graphql"),
        lambda asked, _filled, cursor: {**_ours(asked), "after": cursor(asked.account, asked.seq)},
        _document(_POSTGRAPHILE / "MoreTransactions.graphql"),
        lambda asked, cursor: {**_theirs(asked), "after": cursor(asked.account, asked.seq)},
        seq=_middle,
    ),
    Operation(
        "several_accounts",
        "Five accounts by alias, each with its cards and 10 transactions; an operator's key",
        _document(_HERE / "SeveralAccounts.graphql"),
        lambda asked, _filled, _cursor: dict(zip("abcde", map(_text, asked.accounts), strict=True)),
        _document(_POSTGRAPHILE / "SeveralAccounts.graphql"),
        lambda asked, _cursor: {**dict(zip("abcde", map(str, asked.accounts), strict=True)), "month": _this_month()},
        of_many=True,
    ),
    Operation(
        "statement",
        "Aliases, nested fragments, @include and @skip by variables",
        _document(_HERE / "Statement.graphql"),
        lambda asked, _filled, _cursor: {**_ours(asked), **asked.flags},
        _document(_POSTGRAPHILE / "Statement.graphql"),
        lambda asked, _cursor: {**_theirs(asked), **asked.flags},
    ),
    Operation(
        "filtered_transactions",
        "50 transactions of a type within half a year",
        _document(_OURS / "MoreTransactions.graphql"),
        lambda asked, filled, _cursor: {**_ours(asked), "filter": _filter(filled)},
        _document(_POSTGRAPHILE / "FilteredTransactions.graphql"),
        lambda asked, _cursor: _theirs(asked),
        left_out="the range of time, which it has no filter for: it reads the newest rows of the type",
    ),
    Operation(
        "transaction_totals",
        "Count and sums over all transactions of an account",
        _document(_OURS / "TransactionTotals.graphql"),
        lambda asked, _filled, _cursor: _ours(asked),
        _document(_POSTGRAPHILE / "TransactionTotals.graphql"),
        lambda asked, _cursor: _theirs(asked),
        left_out="the sums, which it has no aggregates for: it counts the rows and reads the monthly figures",
    ),
    Operation(
        "usage_by_day",
        "150 usage rows with count and totals",
        _document(_OURS / "UsageByDay.graphql"),
        lambda asked, _filled, _cursor: {**_ours(asked), "first": 150},
        _document(_POSTGRAPHILE / "UsageByDay.graphql"),
        lambda asked, _cursor: _theirs(asked),
        left_out="tokens added up, and the totals",
    ),
    Operation(
        "transaction",
        "One transaction by its id, every other one with the row that it answers",
        _document(_HERE / "TransactionDetail.graphql"),
        lambda asked, _filled, _cursor: {"id": f"txn_{asked.account}_{asked.seq}"},
        _document(_POSTGRAPHILE / "TransactionDetail.graphql"),
        lambda asked, _cursor: {"account": str(asked.account), "seq": str(asked.seq)},
        seq=_single,
        left_out="the balance before, and the row that is answered, which no foreign key leads to",
    ),
)
