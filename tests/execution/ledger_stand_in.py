"""The context of our resolvers without a database: rows and outcomes from a seed, some of them spoilt."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any, Final, NamedTuple, NoReturn, cast

from sqlalchemy import Executable

from access.keys import KeyScope, Principal
from db.attribution_rows import RequestDetailRow, UsagePriceRow
from db.connections.snapshots import Rows, Snapshot
from db.filters import Window
from db.hour_totals import CostHourFigures, Group, GroupPage, GroupPosition, GroupsFound, UsageHourFigures
from db.limit_rows import AuthorizationRow, ReservedRow, SpendLimitRow
from db.recharges import RechargeViewRow
from db.rows import (
    AccountRow,
    ApiKeyRow,
    AuditEntryRow,
    ChargeRow,
    HoldRow,
    MonthlyFiguresRow,
    TransactionRow,
    UsageDayRow,
    UsageFigures,
)
from db.runway import CrossingHold
from db.stripe_events import StripeEventRow
from db.top_ups import TopUpRow
from db.transactions.totals import TransactionTotalsRow
from ledger.commands import Posting
from ledger.kinds import (
    AccountStatus,
    ChargeState,
    CostKind,
    RefType,
    TransactionSource,
    TransactionType,
    UsageCategory,
    UsageOrigin,
)
from ledger.recharges import RechargeState
from ledger.stripe.api import CheckoutSession
from ledger.stripe.events import EventState
from ledger.top_ups import TopUps
from ledger.usage_prices import PriceSource
from ledger.windows import SpendWindow, window_start
from resolvers.cursors import CursorKind, CursorWriter
from resolvers.loaders import Loaders
from resolvers.mutations.context import MutationContext
from schema.build import graphql_schema
from tests.execution.chances import Answers, Chances, Later, fault_error, raise_fault, spoilt, turned
from tests.execution.operations import Vocabulary
from tests.execution.subjects import Subject

NOW: Final = datetime(2026, 11, 15, 12, tzinfo=UTC)
OWN: Final = 7
"""The account of keys that have one."""

_VOCABULARY: Final = Vocabulary(
    scalars={
        "ID": ["acct_7"] * 6 + ["txn_7_3"] * 4 + ["chg_7_2"] * 3 + ["limit_7_1"] * 2 + ["acct_8", "nothing"],
        "String": ["abc", "x", "gpu_1"],
        "Int": [1, 2, 3, 4] * 4 + [0],
        "Boolean": [True, False],
        "DateTime": ["2026-11-01T00:00:00Z", "2026-11-20T10:00:00.5+01:00"],
        "BigInt": ["0", "12", 3],
        "Decimal": ["1.00", "-0.000000001", 5],
        "Date": ["2026-11-02", "2026-10-31"],
        "YearMonth": ["2026-11", "2026-09"],
    },
    arguments={
        "after": [
            CursorWriter(CursorKind.LEDGER, OWN).of_seq(40),
            CursorWriter(CursorKind.LEDGER, OWN).of_seq(0),
            *CursorWriter(CursorKind.USAGE, OWN).of_usages([(date(2026, 11, 2), "m", "chat", "platform")]),
            CursorWriter(CursorKind.ACCOUNTS, 0).of_seq(9),
            CursorWriter(CursorKind.AUDIT, 0).of_seq(9),
            CursorWriter(CursorKind.CHARGES, OWN).of_seq(30),
            CursorWriter(CursorKind.KEYS, OWN).of_seq(9),
            CursorWriter(CursorKind.ACCOUNT_AUDIT, OWN).of_seq(9),
            CursorWriter(CursorKind.STRIPE_EVENTS, 0).of_seq(9),
            *CursorWriter(CursorKind.USAGE_GROUPS, OWN).of_groups([GroupPosition(None, 5, ())]),
            *CursorWriter(CursorKind.COST_GROUPS, OWN).of_groups([GroupPosition(None, 5, ())]),
            "nothing",
        ],
        "search": ["abc", "abcd", "bcd", "x"],
        "timeZone": ["UTC", "UTC", "America/Los_Angeles", "Asia/Tokyo", "Asia/Kolkata", "nothing"],
        "accountIds": ["acct_7", "acct_8"],
        "account.id": ["acct_7"] * 11 + ["acct_8", "nothing"],
        "accountId": ["acct_7"] * 20 + ["nothing"],
        "find.id": ["acct_7", "txn_7_3", "chg_7_2", "limit_7_1", "auth_7_1", "evt_1", "acct_8"],
        "transaction.id": ["txn_7_3", "txn_7_4"] * 6 + ["txn_8_1", "nothing"],
    },
    weights={
        "account": 4,
        "viewer": 2,
        "accounts": 2,
        "auditEntries": 2,
        "edges": 2,
        "nodes": 3,
        "node": 2,
        "transactions": 3,
        "usage": 2,
        "usageTotals": 2,
        "costTotals": 2,
        "charges": 2,
        "charge": 2,
        "explanation": 3,
        "after": 0.3,
        "before": 0.2,
        "last": 0.4,
        "search": 0.5,
    },
)


def _account(number: int, _chances: Chances) -> tuple[object, ...]:
    at = NOW - timedelta(hours=number)
    status = list(AccountStatus)[number % 2].value
    head = (0, None, None) if number % 3 == 0 else (number % 5, at, b"hash")
    return (number, f"ext {number}", f"Name {number}", "USD", status, at, *head, number * 10**9 + 5)


def _transaction(key: tuple[int, int], chances: Chances) -> tuple[object, ...]:
    account_id, seq = key
    number = chances.number("transaction", key)
    at = NOW - timedelta(seconds=seq)
    kind = list(TransactionType)[number % 9].value
    source = list(TransactionSource)[number // 16 % 6].value
    ref = (None, None) if number & 1024 else (list(RefType)[number % 11].value, f"ref {seq}")
    period = (None, None) if number & 2048 else (at, at + timedelta(days=1))
    corrects = seq - 1 if seq > 1 and number & 4096 else None
    money = number % 10**12 - 10**11, number % 10**11
    return (
        account_id,
        seq,
        at,
        kind,
        *money,
        f"Row {seq}",
        source,
        *ref,
        "actor",
        corrects,
        *period,
        b"hash",
        f"key_{number % 3}" if number & 8192 else None,
        None,
    )


def _charge(key: tuple[object, ...], chances: Chances) -> tuple[object, ...]:
    """Of a key that begins with the account: the row that it begins with, or what it is of."""
    number = chances.number("charge", key)
    kind, state = list(RefType)[number % 4].value, list(ChargeState)[number // 16 % 3].value
    figures = (number % 10**12, number % 10**11, number % 10**10, number % 10**9, number % 7)
    closed_at = None if number & 1024 else NOW
    times = (number % 40, number % 30 + 1, 40, NOW, closed_at)
    return (key[0], kind, f"ref {number % 5}", state, *figures, *times, "key 1", None)


def _hold(key: tuple[int, int], chances: Chances) -> tuple[object, ...]:
    number = chances.number("hold", key)
    kind, state = list(RefType)[number % 2].value, list(ChargeState)[number // 16 % 3].value
    end = NOW + timedelta(seconds=number % 90_000)
    used = None if number & 1024 else number % 10**10
    at = None if number & 2048 else end
    return (*key, kind, f"ref {key[1]}", number % 3 + 1, 10**9, "2026-11", state, NOW, end, used, key[1] + 1, at, at)


def _usage_day(key: tuple[int, int], chances: Chances) -> tuple[object, ...]:
    number = chances.number("usage", key)
    names = (list(UsageCategory)[number % 5].value, list(UsageOrigin)[number % 2].value)
    figures = (number % 100, number % 10**11, number % 10**9, number % 10**10)
    return (key[0], date(2026, 11, 1) - timedelta(days=key[1]), f"model {key[1]}", *names, *figures)


def _month(key: tuple[int, str], chances: Chances) -> tuple[object, ...]:
    number = chances.number("month", key)
    return (*key, number % 10**12, number % 10**10, number % 10**9, number % 50, number % 7, number % 10**11)


def _audit_entry(number: int, chances: Chances) -> tuple[object, ...]:
    bits = chances.number("entry", number)
    account_id, key = None if bits & 1 else OWN, None if bits & 2 else "eco_test"
    rows = (None, None) if bits & 4 else (1, 1 + bits % 3)
    words = ("correctBalance", "eco_operator", "tests", account_id, key, None if bits & 8 else "Why")
    values = (None if bits & 16 else "service", None if bits & 32 else "balance 1.00", "balance 2.00")
    return (number, NOW - timedelta(hours=number), *words, *rows, *values)


def _stripe_event(number: int, chances: Chances) -> tuple[object, ...]:
    bits = chances.number("event", number)
    state = list(EventState)[bits % 3].value
    words = (None if bits & 16 else "Why", None if bits & 32 else OWN, None, None)
    return (f"evt_{number}", "refund.created", NOW, NOW, state, *words, bits % 9, None if bits & 64 else NOW, number)


def _api_key(key: tuple[int, int], chances: Chances) -> tuple[object, ...]:
    bits = chances.number("key", key)
    accounts = "[7, 8]" if bits & 1 else None
    operations = '["openHold", "grantBonus"]' if bits & 2 else None
    times = [NOW if bits >> one & 1 else None for one in (2, 3, 4)]
    scope = list(KeyScope)[bits // 32 % 4].value
    session_of = 1 if bits & 512 else None
    ends = (*times, None, None, None, session_of)
    return (key[1], "eco_test", b"digest", scope, key[0], accounts, operations, "tests", NOW, *ends)


def _recharge(key: tuple[int, object], chances: Chances) -> tuple[object, ...]:
    bits = chances.number("recharge", key)
    state = list(RechargeState)[bits % 3].value
    money = (bits % 10**11, bits % 10**10 + 1, bits % 10**12)
    at = None if bits & 1024 else NOW + timedelta(hours=bits % 3 - 1)
    failure = (None, None) if bits & 2048 else ("Declined", NOW)
    return (key[0], state, *money, bits % 3, at, *failure, bits % 10**10, bool(bits & 4096))


def _spend_limit(key: tuple[int, int], chances: Chances) -> tuple[object, ...]:
    bits = chances.number("limit", key)
    scope = ("key 1" if bits & 16 else "", "project 1" if bits & 32 else "")
    levels = ("", "80", "50,80,100")[bits % 3]
    deleted_at = NOW if bits & 64 else None
    window = list(SpendWindow)[bits // 128 % 4]
    start = window_start(window, NOW - timedelta(days=bits // 512 % 2 * 40))
    money = (bits % 10**11, start, bits % 101)
    return (*key, *scope, window.value, bits % 10**10 + 1, levels, NOW, NOW, deleted_at, *money)


def _authorization(key: tuple[int, int], chances: Chances) -> tuple[object, ...]:
    bits = chances.number("authorization", key)
    state = ("open", "captured", "released")[bits % 3]
    money = (bits % 10**10 + 1, bits % 10**9)
    times = (NOW, NOW + timedelta(seconds=bits // 16 % 2 * 60), None if state == "open" else NOW)
    return (*key, state, *money, *times, "key 1" if bits & 64 else "", "", None if bits & 32 else "ref")


def _transaction_totals(key: tuple[int, object], chances: Chances) -> tuple[object, ...]:
    number = chances.number("totals", key)
    return (key[0], number % 9, number % 10**10, -(number % 10**9))


def _usage_totals(key: tuple[int, object], chances: Chances) -> tuple[object, ...]:
    number = chances.number("usage totals", key)
    return (number % 100, number % 10**11, number % 10**9, number % 10**10)


def _request_detail(key: tuple[int, object], chances: Chances) -> tuple[object, ...]:
    number = chances.number("request", key)
    names = (list(UsageCategory)[number % 5].value, list(UsageOrigin)[number % 2].value)
    who = ("key 1", None, "user 1") if number & 1024 else (None, "project 1", None)
    tokens = (number % 10**6, number % 10**5, number % 10**4, number % 10**3)
    money = (number % 10**9, number % 10**10, number % 3, number % 40 + 1 if number & 2048 else None)
    return (key[0], NOW, number.to_bytes(16), None if number & 4096 else "abc", "m", *names, *who, *tokens, *money)


def _usage_price(key: tuple[int, int], chances: Chances) -> tuple[object, ...]:
    number = chances.number("price", key)
    since = (None, None) if number & 1024 else (NOW, NOW + timedelta(days=1))
    prices = (number % 10**9, None, number % 10**10, number % 10**8, 0, number % 7)
    return (*key, *prices, *since, list(PriceSource)[number % 3].value)


def _hour_figures(key: tuple[object, ...], chances: Chances) -> tuple[object, ...]:
    number = chances.number("hour figures", key)
    return (number % 100, number % 10**11, number % 10**9, number % 10**8, number % 9, number % 10**7, number % 10**10)


def _cost_figures(key: tuple[object, ...], chances: Chances) -> tuple[object, ...]:
    return _hour_figures(key, chances)[1:3]


_WORDS: Final = {
    "category": [one.value for one in UsageCategory],
    "origin": [one.value for one in UsageOrigin],
    "kind": [one.value for one in CostKind],
    "ref_type": ["", *(one.value for one in RefType)],
}
"""Values of keys of groups that are words; others are any text."""


def _group(chances: Chances, key: tuple[int, GroupPage], place: int) -> Group:
    account_id, page = key
    number = chances.number("group", key, place)
    words = [_WORDS.get(name, ["", "abc", "x"]) for name in page.grouping.keys]
    keys = tuple(one[number % len(one)] for one in words)
    # Hours, or days: in 2026 both.
    bucket = 498_000 - place if page.grouping.bucket == "hour" else 739_900 - place
    has_bucket = page.grouping.bucket is not None and number & 1024
    figures = row_of(chances, page.measure.figures, (account_id, number))
    return Group(bucket if has_bucket else None, keys, figures)


def _groups_found(chances: Chances, key: tuple[int, GroupPage]) -> GroupsFound:
    account_id, page = key
    count = min(chances.number("groups", key) % 4, page.limit)
    groups = [_group(chances, key, place) for place in range(count)]
    totals = row_of(chances, page.measure.figures, (account_id, page.row_filter))
    return GroupsFound(groups, count + 3, chances.number("newer", key) % 2, totals)


_VALUES: Final[dict[type, Callable[[Any, Chances], tuple[object, ...]]]] = {
    AccountRow: _account,
    AuditEntryRow: _audit_entry,
    StripeEventRow: _stripe_event,
    ApiKeyRow: _api_key,
    TransactionRow: _transaction,
    ChargeRow: _charge,
    HoldRow: _hold,
    UsageDayRow: _usage_day,
    MonthlyFiguresRow: _month,
    TransactionTotalsRow: _transaction_totals,
    UsageFigures: _usage_totals,
    RequestDetailRow: _request_detail,
    UsagePriceRow: _usage_price,
    UsageHourFigures: _hour_figures,
    CostHourFigures: _cost_figures,
    RechargeViewRow: _recharge,
    SpendLimitRow: _spend_limit,
    AuthorizationRow: _authorization,
}


@cache
def _raising(row_class: type, field: str, number: int) -> Any:
    """The row's class with a field that cannot be read."""
    return type(f"Raising{row_class.__name__}", (row_class,), {field: property(lambda _row: raise_fault(number))})


def row_of(chances: Chances, row_class: Any, key: Any) -> Any:
    """The row of the key; or, by chance, with a field spoilt, or something that is no such row."""
    values = list(_VALUES[row_class](key, chances))
    name = row_class.__name__
    number = chances.fault(name, key, times=3)
    if number is not None:
        # The id of an account, a row's first field, makes the cursors below it. Only the reference executor makes them
        # for pages of which no row is asked for.
        field = max(number % len(values), 1 if row_class in (AccountRow, TransactionRow) else 0)
        if number & 2**40:
            return _raising(row_class, row_class._fields[field], number >> 50)._make(values)
        values[field] = spoilt(number >> 16)
    row = row_class._make(values)
    number = chances.fault("instead of", name, key, times=0.5)
    if number is None:
        return row
    others = (None, AccountRow._make(_account(OWN, chances)), fault_error(number >> 8), Later(1, row), "no row")
    return others[number % len(others)]


class _Snapshot:
    """The operators' lists are read by it; all else comes from the loaders."""

    is_postgresql = False

    def __init__(self, chances: Chances) -> None:
        self._chances = chances

    async def settled(self) -> None:
        """By chance at once, when little has been answered, or after more turns than any answer takes."""
        await turned(self._chances.number("settled") % 2 * self._chances.number("settled", "turns") % 12)

    def held(self) -> AbstractContextManager[None]:
        return nullcontext()

    async def rows(self, statement: Executable, parameters: dict[str, Any]) -> Rows:
        text = str(statement)
        classes = {"audit_entries": AuditEntryRow, "stripe_events": StripeEventRow}
        row_class: Any = next((one for name, one in classes.items() if name in text), AccountRow)
        name = (row_class.__name__, *sorted(parameters.items()))
        await turned(self._chances.turns(*name))
        number = self._chances.fault(*name, times=2)
        if number is not None:
            raise fault_error(number)
        if parameters.keys() & {"id", "prefix", "ref_ids"}:
            # Nothing has the id of another system.
            return []
        count = self._chances.number(*name) % 4
        if "rows" not in parameters:
            return [(count,)]
        rows = [row_of(self._chances, row_class, number) for number in (9, 8, OWN)[:count]]
        return [row for row in rows if isinstance(row, row_class)]


def _listed(chances: Chances, row_class: type, key: tuple[int, tuple[object, Window]]) -> Sequence[Any] | None:
    account_id, (_, window) = key
    if chances.fault("list", key, times=0.3) is not None:
        return None
    count = min((0, 1, 2, 2, 3, 4)[chances.number("length", key) % 6], window.limit)
    return [row_of(chances, row_class, (account_id, seq)) for seq in range(count, 0, -1)]


def _account_audit(chances: Chances, window: Window) -> Sequence[Any]:
    count = min(chances.number("activity", window) % 4, window.limit)
    return [row_of(chances, AuditEntryRow, number) for number in (9, 8, OWN)[:count]]


def _account_or_none(chances: Chances, account_id: int) -> Any:
    return row_of(chances, AccountRow, account_id) if account_id != 8 and isinstance(account_id, int) else None


@cache
def _few_columns(row_class: Any, columns: frozenset[str]) -> Any:
    """The row's class, in which all other columns raise."""

    def refuse(_row: object) -> NoReturn:
        raise AssertionError("the operation was not expected to read this")

    always = columns | {"account_id", "seq", "day", "model", "category", "origin"}
    return type(row_class.__name__, (row_class,), {name: property(refuse) for name in {*row_class._fields} - always})


def _narrowed(row: Any, columns: frozenset[str]) -> Any:
    row_class: Any = row.__class__
    return _few_columns(row_class, columns)._make(row) if isinstance(row, TransactionRow | UsageDayRow) else row


class _Pages(Answers):
    """The same rows whatever columns are asked for, but that the others can't be read."""

    def load(self, key: tuple[int, tuple[object, Window]]) -> asyncio.Future[Any]:
        account_id, (row_filter, window) = key
        columns = window.columns
        whole = super().load((account_id, (row_filter, replace(window, columns=None, unread=False))))
        if columns is None:
            return whole
        few = asyncio.ensure_future(self._few(whole, columns))
        few.add_done_callback(lambda done: done.cancelled() or done.exception())  # it may not be waited for
        return few

    async def _few(self, whole: asyncio.Future[Any], columns: frozenset[str]) -> Any:
        rows = await whole
        return None if rows is None else [_narrowed(row, columns) for row in rows]


def _hold_or_none(chances: Chances, key: tuple[int, int]) -> Any:
    return None if chances.number("no hold", key) % 3 == 0 else row_of(chances, HoldRow, key)


def _recharge_or_none(chances: Chances, key: tuple[int, object]) -> Any:
    return None if chances.number("no recharge", key) % 4 == 0 else row_of(chances, RechargeViewRow, key)


def _limits(chances: Chances, account_id: int) -> list[Any]:
    count = chances.number("limits", account_id) % 4
    return [row_of(chances, SpendLimitRow, (account_id, number)) for number in range(1, count + 1)]


def _reserved(chances: Chances, key: tuple[int, datetime]) -> list[ReservedRow]:
    number = chances.number("reserved", key)
    return [ReservedRow("", "", number % 10**9), ReservedRow("key 1", "", number % 10**8)][: number % 3]


def _crossing(chances: Chances, key: tuple[int, datetime]) -> list[CrossingHold]:
    count = chances.number("crossing", key) % 3
    start = key[1] + timedelta(hours=count)
    end = start + timedelta(days=8)
    open_hold = CrossingHold(False, "inference_instance", 10**9, None, start, end, None, None)
    settled = CrossingHold(True, "gpu_instance", 10**9, 10**8, key[1] - timedelta(days=1), end, 7, start)
    return [open_hold, settled][:count]


class _TopUps:
    async def start(self, _new: object) -> CheckoutSession:
        return CheckoutSession("cs_1", "https://checkout.example/cs_1", NOW)


class _Loaders:
    def __init__(self, chances: Chances, *, guard: bool) -> None:
        def answers(name: str, found: Callable[[Any], Any]) -> Answers:
            return Answers(chances, name, found, guard=guard)

        self.account = answers("account", lambda key: _account_or_none(chances, key))
        self.transaction = answers("transaction", lambda key: row_of(chances, TransactionRow, key))
        self.months = answers(
            "month", lambda key: [row_of(chances, MonthlyFiguresRow, (key[0], month)) for month in key[1]]
        )
        self.balance_as_of = answers("balance", lambda key: chances.number("balance", key) % 10**12)
        self.transaction_count = answers("count", lambda key: chances.number("count", key) % 10)
        self.transaction_totals = answers("sums", lambda key: row_of(chances, TransactionTotalsRow, key))
        self.usage_totals = answers("usage sums", lambda key: (row_of(chances, UsageFigures, key), 3))
        self.transaction_page = _Pages(chances, "page", lambda key: _listed(chances, TransactionRow, key), guard=guard)
        self.usage_page = _Pages(chances, "usage page", lambda key: _listed(chances, UsageDayRow, key), guard=guard)
        self.usage_request_page = answers("requests", lambda key: _listed(chances, RequestDetailRow, key))
        self.usage_request_count = answers("request count", lambda key: chances.number("requests", key) % 10)
        self.usage_request = answers("request", lambda key: row_of(chances, RequestDetailRow, (key[0], "one")))
        self.usage_price = answers("price", lambda key: row_of(chances, UsagePriceRow, key))
        self.authorization_count = answers("authorizations", lambda key: chances.number("authorizations", key) % 10)
        self.authorization = answers("authorization", lambda key: row_of(chances, AuthorizationRow, key))
        self.hour_groups = answers("groups", lambda key: _groups_found(chances, key))
        self.crossing_holds = answers("crossing", lambda key: _crossing(chances, key))
        self.volume_day_costs = answers("volumes", lambda key: chances.number("volumes", key) % 10**9)
        self.undivided_days = answers("undivided", lambda key: [date(2026, 11, 2)] * (chances.number(key) % 3))
        self.hour_range = answers("hours", lambda key: None if chances.number(key) % 3 == 0 else (490_000, 498_000))
        self.usage_complete_until = answers("complete", lambda key: None if chances.number(key) % 3 == 0 else NOW)
        self.charge = answers("charge", lambda key: row_of(chances, ChargeRow, key))
        self.charge_of_first_row = answers("first row", lambda key: row_of(chances, ChargeRow, key))
        self.charge_page = answers("charge page", lambda key: _listed(chances, ChargeRow, key))
        self.charge_count = answers("charges", lambda key: chances.number("charges", key) % 10)
        self.opened_hold = answers("opened", lambda key: _hold_or_none(chances, key))
        self.settled_hold = answers("settled", lambda key: _hold_or_none(chances, key))
        self.auto_recharge = answers("recharge", lambda key: _recharge_or_none(chances, key))
        self.saved_card = answers("card", lambda key: chances.number("card", key) % 3 > 0)
        self.spend_limits = answers("limits", lambda account_id: _limits(chances, account_id))
        self.spend_limit = answers("limit", lambda key: row_of(chances, SpendLimitRow, key))
        self.reserved = answers("reserved", lambda key: _reserved(chances, key))
        self.key_page = answers("key page", lambda key: _listed(chances, ApiKeyRow, key))
        self.account_audit_page = answers("activity page", lambda key: _account_audit(chances, key[1]))
        self.account_audit_count = answers("activity", lambda key: chances.number("activity", key) % 10)
        self.key_count = answers("keys", lambda key: chances.number("keys", key) % 10)


def _principal(chances: Chances) -> Principal:
    scopes = (*[KeyScope.OPERATOR] * 7, *[KeyScope.SERVICE] * 4, KeyScope.READ, KeyScope.MANAGE)
    scope = scopes[chances.number("key") % len(scopes)]
    # Keys of operators and services have no account; here they have, so that `account` needs no id to be found.
    account_id = None if chances.number("no account") % 12 == 0 else OWN
    expires_at = NOW if chances.number("expires") % 2 else None
    number = chances.fault("prefix")
    prefix = "eco_test" if number is None else spoilt(number)
    return Principal(1, prefix, scope, account_id, None, None, expires_at)


class CallResult(NamedTuple):
    """What the payloads of all mutations are read off."""

    transactions: tuple[Any, ...]
    balance_nanos: int
    replayed: bool
    to_stop: bool
    result: int
    key: Any
    secret: str | None
    replaced: Any
    event: Any
    limit: Any
    authorization: Any
    available_nanos: int
    exceeded: tuple[Any, ...]
    account_id: int = OWN
    url: str = "/console/#code=secret"
    expires_at: datetime = NOW
    top_up: TopUpRow = TopUpRow(OWN, "key", "cs_1", "https://checkout.example/cs_1", 5, NOW, None, NOW)


class _AnyEvent(NamedTuple):
    cursor: str
    balance_nanos: int
    threshold_nanos: int
    transaction: Any
    percent: int
    amount_nanos: int
    spent_nanos: int
    limit_number: int
    account_id: int = OWN


class _AccountsOfEvents:
    """Accounts that are always found. The compiled executor reads an event's account only if its row does not tell
    what is asked for, so a read that fails would be met by the reference executor alone."""

    def __init__(self, chances: Chances) -> None:
        self._chances = chances

    def load(self, account_id: Any) -> asyncio.Future[Any]:
        future = asyncio.get_running_loop().create_future()
        future.set_result(AccountRow._make(_account(OWN, self._chances))._replace(id=account_id))
        return future


def _event(context: StandIn) -> object:
    """Of any subscription; its row may be one that is spoilt."""
    chances = context._chances
    context.loaders.account = cast("Any", _AccountsOfEvents(chances))
    number = chances.number("event")
    row = row_of(chances, TransactionRow, (OWN, number % 9 + 1))
    figures = (number % 101, number % 10**11, number % 10**9, number % 3 + 1)
    event = _AnyEvent("cursor", number % 10**12, number % 10**10, None if number & 2**50 else row, *figures)
    fault = chances.fault("event")
    return event if fault is None else spoilt(fault)


class StandIn(MutationContext):
    def __init__(self, chances: Chances, *, guard: bool) -> None:
        """`guard` keeps futures from being cancelled by one who waits for them, as the reference executor does."""
        self.snapshot = cast("Snapshot", _Snapshot(chances))
        self.principal = _principal(chances)
        self.now = NOW
        self.top_ups = cast("TopUps", _TopUps())
        self.has_payments = chances.number("payments") % 4 > 0
        self.loaders = cast("Loaders", _Loaders(chances, guard=guard))
        self._chances = chances
        self._fields = 0

    @asynccontextmanager
    async def around_field(self, *, may_read: bool = True) -> AsyncIterator[None]:
        self._fields += 1
        yield
        await self._happens("end", times=0.5)

    async def _happens(self, what: str, times: float = 2) -> None:
        await turned(self._chances.turns(what, self._fields))
        number = self._chances.fault(what, self._fields, times=times)
        if number is not None:
            raise fault_error(number)

    async def act(self, _work: Any, _account_id: int | None = None) -> Any:
        """By chance an error, or what any act may come to, with some rows that are spoilt."""
        await self._happens("act")
        number = self._chances.number("came", self._fields)
        rows = [row_of(self._chances, TransactionRow, (OWN, seq)) for seq in range(number % 3)]
        flags = [bool(number >> bit & 1) for bit in (40, 41, 42)]
        keys = [row_of(self._chances, ApiKeyRow, (OWN, seq)) for seq in (1, 2)]
        secret = "eco_secret" if flags[2] else None
        event = row_of(self._chances, StripeEventRow, 3)
        limits = [row_of(self._chances, SpendLimitRow, (OWN, seq)) for seq in range(1, number % 3 + 2)]
        authorization = row_of(self._chances, AuthorizationRow, (OWN, 1))
        return CallResult(
            *(tuple(rows), number % 10**12, flags[0], flags[1], number % 1_000, keys[0], secret, keys[1], event),
            *(limits[0], authorization, number % 10**11, tuple(limits[1:])),
        )

    async def post(self, _order: Posting) -> Any:
        return await self.act(None)


LEDGER: Final = Subject("our schema", graphql_schema(), _VOCABULARY, StandIn, _event)
