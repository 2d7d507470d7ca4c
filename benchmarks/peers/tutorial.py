"""Strawberry as its tutorial shows it: dataclasses for types, a resolver for each list, aiohttp's view, a driver pool.

It takes the gateway's own documents. Every list is fetched when its field is resolved, each on a connection of its
own; rows are read by name and copied into objects, money is `Decimal`.
Left out: keys, limits, the snapshot over one query, dataloaders, paging in other directions than newest first, and
filters beyond types and time.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, NewType

import strawberry
from aiohttp import web
from strawberry import Info
from strawberry.aiohttp.views import GraphQLView
from strawberry.schema.config import StrawberryConfig

from benchmarks.peers.serving import main
from benchmarks.peers.stores import SqliteStore, Store, open_store

BigInt = NewType("BigInt", int)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@strawberry.enum
class TransactionType(Enum):
    TOPUP = "topup"
    AUTO_RECHARGE = "auto_recharge"
    GPU_USAGE = "gpu_usage"
    STORAGE_BILLING = "storage_billing"
    REFUND = "refund"
    BONUS = "bonus"
    ADMIN_CORRECTION = "admin_correction"
    CONTRACT_GRANT = "contract_grant"
    BONUS_GRANT = "bonus_grant"


@strawberry.enum
class TransactionSource(Enum):
    STRIPE_WEBHOOK = "stripe_webhook"
    METERING = "metering"
    STORAGE_WORKER = "storage_worker"
    PROMOTION = "promotion"
    ADMIN_CORRECTION = "admin_correction"
    CONTRACT = "contract"


@strawberry.enum
class RefType(Enum):
    GPU_INSTANCE = "gpu_instance"
    INFERENCE_INSTANCE = "inference_instance"
    VOLUME = "volume"
    SHARED_FILESYSTEM = "shared_filesystem"
    API_USAGE = "api_usage"
    STRIPE_CHECKOUT_SESSION = "stripe_checkout_session"
    STRIPE_PAYMENT_INTENT = "stripe_payment_intent"
    STRIPE_REFUND = "stripe_refund"
    STRIPE_INVOICE = "stripe_invoice"
    CONTRACT = "contract"
    PROMOTION = "promotion"


@strawberry.enum
class UsageCategory(Enum):
    CHAT = "chat"
    EMBEDDING = "embedding"
    IMAGE = "image"
    AUDIO = "audio"
    VIDEO = "video"


@strawberry.enum
class UsageOrigin(Enum):
    PLATFORM = "platform"
    USER_INFERENCE = "user_inference"


@strawberry.enum
class AccountStatus(Enum):
    ACTIVE = "active"
    SUSPENDED = "suspended"


def _store(info: Info) -> Store:
    store: Store = info.context["store"]
    return store


def _money(nanos: int) -> Decimal:
    return Decimal(int(nanos)) / 1_000_000_000


def _moment(value: Any) -> Any:
    return _EPOCH + timedelta(microseconds=value) if isinstance(value, int) else value


def _day(value: Any) -> date:
    return date.fromisoformat(value) if isinstance(value, str) else value


def _stored(info: Info, value: datetime) -> Any:
    if isinstance(_store(info), SqliteStore):
        return (value - _EPOCH) // timedelta(microseconds=1)
    return value


def cursor(account_id: int, seq: int) -> str:
    return base64.b64encode(f"{account_id}:{seq}".encode()).decode()


def _months_until_now(count: int) -> list[str]:
    now = datetime.now(UTC)
    last = now.year * 12 + now.month - 1
    return [f"{number // 12:04d}-{number % 12 + 1:02d}" for number in range(last - count + 1, last + 1)]


@strawberry.type
class MonthlySummary:
    month: str
    total_cost: Decimal
    gross_cost: Decimal
    refunded: Decimal
    held_in_open_charges: Decimal
    api_calls: BigInt
    platform_calls: BigInt
    user_inference_calls: BigInt
    total_tokens: BigInt

    @classmethod
    def of(cls, month: str, row: Any | None) -> MonthlySummary:
        figures = row or dict.fromkeys(
            ("gross_nanos", "refunded_nanos", "open_holds_nanos", "platform_calls", "user_inference_calls", "tokens"), 0
        )
        return cls(
            month=month,
            total_cost=_money(figures["gross_nanos"] - figures["refunded_nanos"]),
            gross_cost=_money(figures["gross_nanos"]),
            refunded=_money(figures["refunded_nanos"]),
            held_in_open_charges=_money(figures["open_holds_nanos"]),
            api_calls=BigInt(figures["platform_calls"] + figures["user_inference_calls"]),
            platform_calls=BigInt(figures["platform_calls"]),
            user_inference_calls=BigInt(figures["user_inference_calls"]),
            total_tokens=BigInt(figures["tokens"]),
        )


@strawberry.type
class Transaction:
    id: strawberry.ID
    created_at: datetime
    type: TransactionType
    amount: Decimal
    balance_before: Decimal
    balance_after: Decimal
    description: str
    source: TransactionSource
    ref_type: RefType | None
    ref_id: str | None
    period_start: datetime | None
    period_end: datetime | None
    account_id: strawberry.Private[int]
    seq: strawberry.Private[int]
    corrects_seq: strawberry.Private[int | None]

    @classmethod
    def of(cls, row: Any) -> Transaction:
        return cls(
            id=strawberry.ID(f"txn_{row['account_id']}_{row['seq']}"),
            created_at=_moment(row["created_at"]),
            type=TransactionType(row["type"]),
            amount=_money(row["amount_nanos"]),
            balance_before=_money(row["balance_after_nanos"] - row["amount_nanos"]),
            balance_after=_money(row["balance_after_nanos"]),
            description=row["description"],
            source=TransactionSource(row["source"]),
            ref_type=RefType(row["ref_type"]) if row["ref_type"] else None,
            ref_id=row["ref_id"],
            period_start=_moment(row["period_start"]),
            period_end=_moment(row["period_end"]),
            account_id=row["account_id"],
            seq=row["seq"],
            corrects_seq=row["corrects_seq"],
        )

    @strawberry.field
    async def corrects(self, info: Info) -> Transaction | None:
        if self.corrects_seq is None:
            return None
        return await _transaction(info, self.account_id, self.corrects_seq)


async def _transaction(info: Info, account_id: int, seq: int) -> Transaction | None:
    rows = await _store(info).fetch("SELECT * FROM transactions WHERE account_id = $1 AND seq = $2", account_id, seq)
    return Transaction.of(rows[0]) if rows else None


@strawberry.type
class PageInfo:
    has_next_page: bool
    end_cursor: str | None


@strawberry.type
class TransactionEdge:
    cursor: str
    node: Transaction


@strawberry.type
class TransactionTotals:
    count: BigInt
    credits: Decimal
    debits: Decimal
    net: Decimal


@strawberry.type
class TransactionConnection:
    edges: list[TransactionEdge]
    nodes: list[Transaction]
    page_info: PageInfo
    account_id: strawberry.Private[int]

    @strawberry.field
    async def total_count(self, info: Info) -> BigInt:
        rows = await _store(info).fetch("SELECT count(*) FROM transactions WHERE account_id = $1", self.account_id)
        return BigInt(rows[0][0])

    @strawberry.field
    async def totals(self, info: Info) -> TransactionTotals:
        rows = await _store(info).fetch(
            "SELECT count(*) AS count, sum(CASE WHEN amount_nanos > 0 THEN amount_nanos ELSE 0 END) AS credits,"
            " sum(CASE WHEN amount_nanos < 0 THEN amount_nanos ELSE 0 END) AS debits"
            " FROM transactions WHERE account_id = $1",
            self.account_id,
        )
        earned, spent = _money(rows[0]["credits"]), _money(rows[0]["debits"])
        return TransactionTotals(count=BigInt(rows[0]["count"]), credits=earned, debits=spent, net=earned + spent)


@strawberry.type
class UsageDay:
    day: date
    model: str
    category: UsageCategory
    origin: UsageOrigin
    calls: BigInt
    input_tokens: BigInt
    output_tokens: BigInt
    tokens: BigInt
    cost: Decimal

    @classmethod
    def of(cls, row: Any) -> UsageDay:
        return cls(
            day=_day(row["day"]),
            model=row["model"],
            category=UsageCategory(row["category"]),
            origin=UsageOrigin(row["origin"]),
            calls=BigInt(row["calls"]),
            input_tokens=BigInt(row["input_tokens"]),
            output_tokens=BigInt(row["output_tokens"]),
            tokens=BigInt(row["input_tokens"] + row["output_tokens"]),
            cost=_money(row["cost_nanos"]),
        )


@strawberry.type
class UsageDayEdge:
    cursor: str
    node: UsageDay


@strawberry.type
class UsageTotals:
    calls: BigInt
    input_tokens: BigInt
    output_tokens: BigInt
    tokens: BigInt
    cost: Decimal


@strawberry.type
class UsageDayConnection:
    edges: list[UsageDayEdge]
    nodes: list[UsageDay]
    page_info: PageInfo
    account_id: strawberry.Private[int]

    @strawberry.field
    async def total_count(self, info: Info) -> BigInt:
        rows = await _store(info).fetch("SELECT count(*) FROM usage_days WHERE account_id = $1", self.account_id)
        return BigInt(rows[0][0])

    @strawberry.field
    async def totals(self, info: Info) -> UsageTotals:
        rows = await _store(info).fetch(
            "SELECT sum(calls) AS calls, sum(input_tokens) AS inputs, sum(output_tokens) AS outputs,"
            " sum(cost_nanos) AS cost FROM usage_days WHERE account_id = $1",
            self.account_id,
        )
        row = rows[0]
        return UsageTotals(
            calls=BigInt(row["calls"]),
            input_tokens=BigInt(row["inputs"]),
            output_tokens=BigInt(row["outputs"]),
            tokens=BigInt(row["inputs"] + row["outputs"]),
            cost=_money(row["cost"]),
        )


@strawberry.input
class DateTimeRange:
    gte: datetime | None = None
    lt: datetime | None = None


@strawberry.input
class TransactionFilter:
    types: list[TransactionType] | None = None
    created_at: DateTimeRange | None = None


@strawberry.input
class UsageFilter:
    models: list[str] | None = None


class _Conditions:
    """A growing WHERE clause and its arguments."""

    def __init__(self, account_id: int) -> None:
        self.text = "account_id = $1"
        self.arguments: list[object] = [account_id]

    def add(self, condition: str, *values: object) -> None:
        first = len(self.arguments) + 1
        marks = (f"${number}" for number in range(first, first + len(values)))
        self.text += " AND " + condition.format(*marks)
        self.arguments += values


def _page_info(cursors: Sequence[str], has_next_page: bool) -> PageInfo:
    return PageInfo(has_next_page=has_next_page, end_cursor=cursors[-1] if cursors else None)


@strawberry.type
class Account:
    id: strawberry.ID
    name: str
    currency: str
    status: AccountStatus
    created_at: datetime
    balance: Decimal
    balance_cursor: str
    account_id: strawberry.Private[int]

    @strawberry.field
    async def monthly_summary(self, info: Info) -> MonthlySummary:
        (month,) = _months_until_now(1)
        rows = await _store(info).fetch(
            "SELECT * FROM monthly_figures WHERE account_id = $1 AND month = $2", self.account_id, month
        )
        return MonthlySummary.of(month, rows[0] if rows else None)

    @strawberry.field
    async def monthly_summaries(self, info: Info, last: int = 12) -> list[MonthlySummary]:
        months = _months_until_now(last)
        rows = await _store(info).fetch(
            "SELECT * FROM monthly_figures WHERE account_id = $1 AND month >= $2", self.account_id, months[0]
        )
        found = {row["month"]: row for row in rows}
        return [MonthlySummary.of(month, found.get(month)) for month in months]

    @strawberry.field
    async def transactions(
        self,
        info: Info,
        first: int = 50,
        after: str | None = None,
        filter: TransactionFilter | None = None,  # noqa: A002
    ) -> TransactionConnection:
        conditions = _Conditions(self.account_id)
        if after is not None:
            conditions.add("seq < {}", int(base64.b64decode(after).split(b":")[1]))
        if filter is not None and filter.types is not None:
            marks = ", ".join("{}" for _ in filter.types)
            conditions.add(f"type IN ({marks})", *(one.value for one in filter.types))
        if filter is not None and filter.created_at is not None:
            if filter.created_at.gte is not None:
                conditions.add("created_at >= {}", _stored(info, filter.created_at.gte))
            if filter.created_at.lt is not None:
                conditions.add("created_at < {}", _stored(info, filter.created_at.lt))
        rows = await _store(info).fetch(
            f"SELECT * FROM transactions WHERE {conditions.text} ORDER BY seq DESC LIMIT {first + 1}",
            *conditions.arguments,
        )
        nodes = [Transaction.of(row) for row in rows[:first]]
        edges = [TransactionEdge(cursor=cursor(node.account_id, node.seq), node=node) for node in nodes]
        return TransactionConnection(
            edges=edges,
            nodes=nodes,
            page_info=_page_info([edge.cursor for edge in edges], len(rows) > first),
            account_id=self.account_id,
        )

    @strawberry.field
    async def usage(
        self,
        info: Info,
        first: int = 50,
        after: str | None = None,
        filter: UsageFilter | None = None,  # noqa: A002
    ) -> UsageDayConnection:
        assert after is None, "this peer pages no further"
        assert filter is None, "nor does it filter usage"
        rows = await _store(info).fetch(
            "SELECT * FROM usage_days WHERE account_id = $1"
            f" ORDER BY day DESC, model DESC, category DESC, origin DESC LIMIT {first + 1}",
            self.account_id,
        )
        nodes = [UsageDay.of(row) for row in rows[:first]]
        edges = [
            UsageDayEdge(cursor=base64.b64encode(f"{node.day}:{node.model}".encode()).decode(), node=node)
            for node in nodes
        ]
        return UsageDayConnection(
            edges=edges,
            nodes=nodes,
            page_info=_page_info([edge.cursor for edge in edges], len(rows) > first),
            account_id=self.account_id,
        )


@strawberry.type
class Query:
    @strawberry.field
    async def account(self, info: Info, id: strawberry.ID | None = None) -> Account | None:  # noqa: A002
        assert id is not None, "this peer knows no keys"
        account_id = int(id.removeprefix("acct_"))
        rows = await _store(info).fetch("SELECT * FROM accounts WHERE id = $1", account_id)
        if not rows:
            return None
        row = rows[0]
        return Account(
            id=id,
            name=row["name"],
            currency=row["currency"],
            status=AccountStatus(row["status"]),
            created_at=_moment(row["created_at"]),
            balance=_money(row["balance_nanos"]),
            balance_cursor=cursor(account_id, row["head_seq"]),
            account_id=account_id,
        )

    @strawberry.field
    async def transaction(self, info: Info, id: strawberry.ID) -> Transaction | None:  # noqa: A002
        account_id, seq = map(int, id.removeprefix("txn_").split("_"))
        return await _transaction(info, account_id, seq)


SCHEMA = strawberry.Schema(
    query=Query,
    config=StrawberryConfig(scalar_map={BigInt: strawberry.scalar(name="BigInt", serialize=str, parse_value=int)}),
)


class View(GraphQLView[dict[str, Any], None]):
    def __init__(self, store: Store) -> None:
        super().__init__(schema=SCHEMA, graphql_ide=None)
        self._store = store

    async def get_context(self, request: web.Request, response: web.Response | web.WebSocketResponse) -> dict[str, Any]:
        return {"request": request, "response": response, "store": self._store}


async def build(url: str) -> web.Application:
    store = await open_store(url)

    async def opened(_app: web.Application) -> AsyncIterator[None]:
        yield
        await store.close()

    app = web.Application()
    app.cleanup_ctx.append(opened)
    app.router.add_route("*", "/graphql", View(store))
    return app


if __name__ == "__main__":
    main(build)
