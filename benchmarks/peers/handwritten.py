"""A hand-written endpoint for each operation: aiohttp, the plain driver, orjson, uvloop; no GraphQL, no SQLAlchemy.

Each answers with the very JSON that the gateway gives for the operation of that name. Rows are read by index, only
the columns that are printed; a request of several statements runs them on one connection in one REPEATABLE READ
transaction (a deferred one on SQLite).
Left out: everything that makes the operation a client's choice, limits, metrics, logs, request ids, error codes, and
paging in other directions than newest first. Keys are looked up as `benchmarks.peers.keys` says.
"""

from __future__ import annotations

import base64
import hashlib
import struct
import zlib
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import orjson
from aiohttp import web

from benchmarks.peers.keys import Accounts, check_account, read_keys
from benchmarks.peers.serving import main
from benchmarks.peers.stores import SqliteStore, Store, open_store

Json = dict[str, Any]
Rows = Sequence[Any]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_HEAD: Final = struct.Struct(">BBq8s")
_SEQ: Final = struct.Struct(">q")
_HASHED: Final = struct.Struct(">q6s")
_CRC: Final = struct.Struct(">I")
_LEDGER, _USAGE = 1, 2
_NO_FILTER: Final = bytes(8)
_NEVER: Final = 2**63 - 1


def money(nanos: int) -> str:
    sign, nanos = ("-", -nanos) if nanos < 0 else ("", nanos)
    cents, rest = divmod(nanos, 10_000_000)
    text = f"{sign}{cents // 100}.{cents % 100:02d}"
    return f"{text}{rest:07d}".rstrip("0") if rest else text


def moment(value: datetime | int) -> str:
    if isinstance(value, int):
        value = _EPOCH + timedelta(microseconds=value)
    return f"{value.isoformat(timespec='microseconds')[:-6]}Z"


def stored_moment(text: str, *, sqlite: bool) -> datetime | int:
    value = datetime.fromisoformat(text)
    return (value - _EPOCH) // timedelta(microseconds=1) if sqlite else value


def day(value: date | str) -> str:
    return value if isinstance(value, str) else value.isoformat()


def _encoded(body: bytes) -> str:
    return base64.urlsafe_b64encode(body + _CRC.pack(zlib.crc32(body))).rstrip(b"=").decode()


def cursor_head(kind: int, account_id: int, digest: bytes = _NO_FILTER) -> bytes:
    return _HEAD.pack(2 if kind == _LEDGER else 1, kind, account_id, digest)


def row_cursor(head: bytes, seq: int, row_hash: bytes | None) -> str:
    return _encoded(head + _HASHED.pack(seq, row_hash or b""))


def seq_of(cursor: str) -> int:
    raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    return int(_SEQ.unpack_from(raw, _HEAD.size)[0])


def _account_of(variables: Json, name: str = "account") -> int:
    return int(variables[name].removeprefix("acct_"))


def _this_month() -> str:
    return datetime.now(UTC).strftime("%Y-%m")


def _months_until(month: str, count: int) -> list[str]:
    last = int(month[:4]) * 12 + int(month[5:]) - 1
    return [f"{number // 12:04d}-{number % 12 + 1:02d}" for number in range(last - count + 1, last + 1)]


_ACCOUNT: Final = (
    "SELECT id, name, currency, status, balance_nanos, head_seq, created_at, head_hash FROM accounts WHERE id = $1"
)
_MONTHS: Final = (
    "SELECT month, gross_nanos, refunded_nanos, open_holds_nanos, platform_calls, user_inference_calls, tokens"
    " FROM monthly_figures WHERE account_id = $1 AND month >= $2 AND month <= $3"
)
_ROW: Final = (
    "seq, created_at, type, amount_nanos, balance_after_nanos, description, source, ref_type, ref_id, hash"
    " FROM transactions WHERE account_id = $1"
)
_NEWEST: Final = f"SELECT {_ROW} ORDER BY seq DESC LIMIT $2"
_OLDER: Final = f"SELECT {_ROW} AND seq < $3 ORDER BY seq DESC LIMIT $2"
_OF_KIND: Final = f"SELECT {_ROW} AND type = $3 AND source = $4 ORDER BY seq DESC LIMIT $2"
_BOUND: Final = (
    "(SELECT seq FROM transactions WHERE account_id = $1 AND created_at >= {} ORDER BY created_at, seq LIMIT 1)"
)
_REFUND_RUN: Final = (
    f"SELECT * FROM (SELECT {_ROW} AND type = 'refund' AND source = '{{}}' AND seq >= {_BOUND.format('$3')}"
    f" AND seq < coalesce({_BOUND.format('$4')}, {_NEVER}) ORDER BY seq DESC LIMIT $2) AS {{}}"
)
# A type fixes its few possible sources: an index run for each, merged.
_REFUNDS_BETWEEN: Final = (
    f"{_REFUND_RUN.format('metering', 'unused')} UNION ALL {_REFUND_RUN.format('stripe_webhook', 'paid_back')}"
    " ORDER BY seq DESC LIMIT $2"
)
_ACCOUNTS: Final = "SELECT id, name, status, balance_nanos FROM accounts WHERE id = ANY($1::bigint[])"
_MONTH_OF_EACH: Final = (
    "SELECT account_id, month, gross_nanos, refunded_nanos, open_holds_nanos, platform_calls, user_inference_calls,"
    " tokens FROM monthly_figures WHERE account_id = ANY($1::bigint[]) AND month = $2"
)
_BRIEF_OF_EACH: Final = (
    "SELECT rows.* FROM unnest($1::bigint[]) AS asked (id), LATERAL ("
    "SELECT account_id, seq, created_at, type, amount_nanos, balance_after_nanos, description"
    " FROM transactions WHERE account_id = asked.id ORDER BY seq DESC LIMIT 10) AS rows"
)
_USAGE_PAGE: Final = (
    "SELECT day, model, category, origin, calls, input_tokens, output_tokens, cost_nanos FROM usage_days"
    " WHERE account_id = $1 ORDER BY day DESC, model DESC, category DESC, origin DESC LIMIT $2"
)
_USAGE_TOTALS: Final = (
    "SELECT coalesce(sum(calls), 0), coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0),"
    " coalesce(sum(cost_nanos), 0), count(*) FROM usage_days WHERE account_id = $1"
)
_TOTALS: Final = (
    "SELECT count(*), coalesce(sum(CASE WHEN amount_nanos > 0 THEN amount_nanos ELSE 0 END), 0),"
    " coalesce(sum(CASE WHEN amount_nanos < 0 THEN amount_nanos ELSE 0 END), 0)"
    " FROM transactions WHERE account_id = $1"
)
_DETAIL: Final = (
    "SELECT seq, created_at, type, amount_nanos, balance_after_nanos, description, source, ref_type, ref_id,"
    " period_start, period_end, corrects_seq FROM transactions WHERE account_id = $1 AND seq = $2"
)
_REFUNDS: Final = (("refund", "metering"), ("refund", "stripe_webhook"))


def _node(account_id: int, row: Any) -> Json:
    seq, created_at, kind, amount, after, description, source, ref_type, ref_id = row
    return {
        "id": f"txn_{account_id}_{seq}",
        "createdAt": moment(created_at),
        "type": kind.upper(),
        "amount": money(amount),
        "balanceAfter": money(after),
        "description": description,
        "source": source.upper(),
        "refType": None if ref_type is None else ref_type.upper(),
        "refId": ref_id,
    }


def _page(account_id: int, found: Rows, size: int, digest: bytes = _NO_FILTER) -> Json:
    """Of one row more than the page has."""
    head = cursor_head(_LEDGER, account_id, digest)
    edges = [{"cursor": row_cursor(head, row[0], row[9]), "node": _node(account_id, row[:9])} for row in found[:size]]
    end = edges[-1]["cursor"] if edges else None
    return {"edges": edges, "pageInfo": {"hasNextPage": len(found) > size, "endCursor": end}}


def _usage_cursor(head: bytes, row: Any) -> str:
    return _encoded(head + f"{day(row[0])}\x00{row[1]}\x00{row[2]}\x00{row[3]}".encode())


def _usage_node(row: Any, *, split: bool) -> Json:
    on, model, category, origin, calls, inputs, outputs, cost = row
    node = {
        "day": day(on),
        "model": model,
        "category": category.upper(),
        "origin": origin.upper(),
        "calls": str(calls),
    }
    if split:
        node["inputTokens"], node["outputTokens"] = str(inputs), str(outputs)
    node["tokens"], node["cost"] = str(inputs + outputs), money(cost)
    return node


def _usage_page(account_id: int, found: Rows, size: int, *, split: bool = False) -> Json:
    head = cursor_head(_USAGE, account_id)
    edges = [{"cursor": _usage_cursor(head, row), "node": _usage_node(row, split=split)} for row in found[:size]]
    end = edges[-1]["cursor"] if edges else None
    return {"edges": edges, "pageInfo": {"hasNextPage": len(found) > size, "endCursor": end}}


def _cards(month: str, row: Any | None) -> Json:
    _, gross, refunded, held, platform, inference, tokens = row or (month, 0, 0, 0, 0, 0, 0)
    return {
        "month": month,
        "totalCost": money(gross - refunded),
        "grossCost": money(gross),
        "refunded": money(refunded),
        "heldInOpenCharges": money(held),
        "apiCalls": str(platform + inference),
        "platformCalls": str(platform),
        "userInferenceCalls": str(inference),
        "totalTokens": str(tokens),
    }


def _month_cost(month: str, row: Any | None) -> Json:
    return {"month": month, "totalCost": money(row[1] - row[2] if row else 0)}


async def billing_page(store: Store, variables: Json) -> Json:
    account_id, month = _account_of(variables), _this_month()
    months = _months_until(month, 12)
    async with store.snapshot() as fetch:
        account = (await fetch(_ACCOUNT, account_id))[0]
        figures = {row[0]: row for row in await fetch(_MONTHS, account_id, months[0], month)}
        rows = await fetch(_NEWEST, account_id, 51)
        usage = await fetch(_USAGE_PAGE, account_id, 151)
        calls, inputs, outputs, cost, _ = (await fetch(_USAGE_TOTALS, account_id))[0]
    page = _usage_page(account_id, usage, 150)
    page["totals"] = {"calls": str(calls), "tokens": str(inputs + outputs), "cost": money(int(cost))}
    return {
        "account": {
            "id": f"acct_{account_id}",
            "name": account[1],
            "currency": account[2],
            "status": account[3].upper(),
            "balance": money(account[4]),
            "balanceCursor": row_cursor(cursor_head(_LEDGER, account_id), account[5], account[7]),
            "thisMonth": _cards(month, figures.get(month)),
            "months": [_month_cost(one, figures.get(one)) for one in months],
            "transactions": _page(account_id, rows, 50),
            "usage": page,
        }
    }


async def more_transactions(store: Store, variables: Json) -> Json:
    account_id = _account_of(variables)
    rows = await store.fetch(_OLDER, account_id, 51, seq_of(variables["after"]))
    return {"account": {"id": f"acct_{account_id}", "transactions": _page(account_id, rows, 50)}}


def refunds_digest(gte: datetime, lt: datetime) -> bytes:
    """As the gateway tells lists apart, so that the answers can be compared to the letter."""
    given = [("kinds", _REFUNDS), ("created_gte", gte), ("created_lt", lt)]
    return hashlib.blake2b(repr(given).encode(), digest_size=8).digest()


async def filtered_transactions(store: Store, variables: Json) -> Json:
    account_id, between = _account_of(variables), variables["filter"]["createdAt"]
    assert variables["filter"]["types"] == ["REFUND"]
    sqlite = isinstance(store, SqliteStore)
    gte, lt = (stored_moment(between[name], sqlite=sqlite) for name in ("gte", "lt"))
    rows = await store.fetch(_REFUNDS_BETWEEN, account_id, 51, gte, lt)
    digest = refunds_digest(*(datetime.fromisoformat(between[name]).astimezone(UTC) for name in ("gte", "lt")))
    return {"account": {"id": f"acct_{account_id}", "transactions": _page(account_id, rows, 50, digest)}}


def _brief(account: Any, month: str, figures: Any | None, rows: Rows) -> Json:
    account_id = account[0]
    cards = _cards(month, figures)
    nodes = [
        {
            "id": f"txn_{account_id}_{seq}",
            "createdAt": moment(created_at),
            "type": kind.upper(),
            "amount": money(amount),
            "balanceAfter": money(after),
            "description": description,
        }
        for _, seq, created_at, kind, amount, after, description in rows
    ]
    return {
        "id": f"acct_{account_id}",
        "name": account[1],
        "status": account[2].upper(),
        "balance": money(account[3]),
        "thisMonth": {name: cards[name] for name in ("month", "grossCost", "refunded", "totalTokens")},
        "transactions": {"nodes": nodes},
    }


async def several_accounts(store: Store, variables: Json) -> Json:
    """On PostgreSQL alone: SQLite has neither arrays nor LATERAL."""
    month = _this_month()
    wanted = {name: _account_of(variables, name) for name in variables}
    ids = list(wanted.values())
    async with store.snapshot() as fetch:
        accounts = {row[0]: row for row in await fetch(_ACCOUNTS, ids)}
        figures = {row[0]: row[1:] for row in await fetch(_MONTH_OF_EACH, ids, month)}
        rows: dict[int, list[Any]] = {account_id: [] for account_id in ids}
        for row in await fetch(_BRIEF_OF_EACH, ids):
            rows[row[0]].append(row)
    return {name: _brief(accounts[one], month, figures.get(one), rows[one]) for name, one in wanted.items()}


def _statement_page(account_id: int, found: Rows, *, brief: bool) -> Json:
    rows = []
    for seq, created_at, kind, amount, _, description, _, ref_type, ref_id, _ in found[:20]:
        row = {
            "id": f"txn_{account_id}_{seq}",
            "at": moment(created_at),
            "kind": kind.upper(),
            "amount": money(amount),
        }
        if not brief:
            row["description"] = description
            row["refType"], row["refId"] = None if ref_type is None else ref_type.upper(), ref_id
        rows.append(row)
    return {"rows": rows, "pageInfo": {"more": len(found) > 20}}


async def statement(store: Store, variables: Json) -> Json:
    account_id, brief, with_usage = _account_of(variables), variables["brief"], variables["withUsage"]
    async with store.snapshot() as fetch:
        account = (await fetch(_ACCOUNT, account_id))[0]
        newest = await fetch(_NEWEST, account_id, 21)
        top_ups = await fetch(_OF_KIND, account_id, 21, "topup", "stripe_webhook")
        usage = await fetch(_USAGE_PAGE, account_id, 50) if with_usage else ()
    answer = {
        "id": f"acct_{account_id}",
        "title": account[1],
        "status": account[3].upper(),
        "currency": account[2],
        "balance": money(account[4]),
    }
    if not brief:
        answer["opened"] = moment(account[6])
    answer["newest"] = _statement_page(account_id, newest, brief=brief)
    answer["topUps"] = _statement_page(account_id, top_ups, brief=brief)
    if with_usage:
        nodes = [{"day": day(row[0]), "model": row[1], "calls": str(row[4]), "price": money(row[7])} for row in usage]
        answer["usage"] = {"nodes": nodes}
    return {"account": answer}


async def transaction_totals(store: Store, variables: Json) -> Json:
    account_id = _account_of(variables)
    count, credits_nanos, debits_nanos = (await store.fetch(_TOTALS, account_id))[0]
    credits_nanos, debits_nanos = int(credits_nanos), int(debits_nanos)
    totals = {
        "count": str(count),
        "credits": money(credits_nanos),
        "debits": money(debits_nanos),
        "net": money(credits_nanos + debits_nanos),
    }
    return {"account": {"id": f"acct_{account_id}", "transactions": {"totalCount": str(count), "totals": totals}}}


async def usage_by_day(store: Store, variables: Json) -> Json:
    account_id = _account_of(variables)
    async with store.snapshot() as fetch:
        usage = await fetch(_USAGE_PAGE, account_id, 151)
        calls, inputs, outputs, cost, count = (await fetch(_USAGE_TOTALS, account_id))[0]
    page = _usage_page(account_id, usage, 150, split=True)
    page["totalCount"] = str(count)
    page["totals"] = {
        "calls": str(calls),
        "inputTokens": str(inputs),
        "outputTokens": str(outputs),
        "tokens": str(inputs + outputs),
        "cost": money(int(cost)),
    }
    return {"account": {"id": f"acct_{account_id}", "usage": page}}


async def transaction(store: Store, variables: Json) -> Json:
    account_id, seq = map(int, variables["id"].removeprefix("txn_").split("_"))
    async with store.snapshot() as fetch:
        row = (await fetch(_DETAIL, account_id, seq))[0]
        answered = await fetch(_DETAIL, account_id, row[11]) if row[11] else ()
    corrects = None
    if answered:
        node = _node(account_id, tuple(answered[0])[:9])
        corrects = {name: node[name] for name in ("id", "createdAt", "type", "amount", "description")}
    node = _node(account_id, tuple(row)[:9])
    node["balanceBefore"] = money(row[4] - row[3])
    node["periodStart"] = None if row[9] is None else moment(row[9])
    node["periodEnd"] = None if row[10] is None else moment(row[10])
    return {"transaction": {**node, "corrects": corrects}}


Endpoint = Callable[[Store, Json], Awaitable[Json]]

ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    billing_page,
    more_transactions,
    filtered_transactions,
    several_accounts,
    statement,
    transaction_totals,
    usage_by_day,
    transaction,
)


def accounts_of(variables: Json) -> list[int]:
    """The accounts that a request is about."""
    if "id" in variables:
        return [int(variables["id"].split("_")[1])]
    return [int(value[5:]) for value in variables.values() if isinstance(value, str) and value.startswith("acct_")]


def _handler(store: Store, keys: Accounts, endpoint: Endpoint) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        variables = orjson.loads(await request.read())
        check_account(keys, request, *accounts_of(variables))
        body = orjson.dumps({"data": await endpoint(store, variables)})
        return web.Response(body=body, content_type="application/json")

    return handle


async def build(url: str) -> web.Application:
    store = await open_store(url)
    keys = await read_keys(store)
    app = web.Application()
    for endpoint in ENDPOINTS:
        app.router.add_post(f"/{endpoint.__name__}", _handler(store, keys, endpoint))

    async def close(_app: web.Application) -> None:
        await store.close()

    app.on_cleanup.append(close)
    return app


if __name__ == "__main__":
    main(build)
