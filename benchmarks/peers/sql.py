"""One SQL statement for each operation, which has PostgreSQL build the JSON; the process only hands it on.

The very JSON that the gateway gives, cursors and their checksums included. Needs PostgreSQL 18 for `crc32`.
Left out: what `benchmarks.peers.handwritten` leaves out.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from aiohttp import web

from benchmarks.peers.handwritten import accounts_of, refunds_digest, seq_of
from benchmarks.peers.keys import Accounts, check_account, read_keys
from benchmarks.peers.serving import main
from benchmarks.peers.stores import PostgresStore

Json = dict[str, Any]
Arguments = Callable[[Json], tuple[object, ...]]

_LEDGER, _USAGE = 1, 2
_NO_FILTER: Final = r"'\x0000000000000000'::bytea"


def money(nanos: str) -> str:
    """Exact, with at least two fraction digits."""
    return f"(trim_scale(({nanos}) * 0.000000001) + 0.00)::text"


def moment(value: str) -> str:
    return f"""to_char({value} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""


def _head(kind: int, digest: str) -> str:
    return rf"'\x{2 if kind == _LEDGER else 1:02x}{kind:02x}'::bytea || int8send($1::bigint) || {digest}"


def cursor(kind: int, position: str, digest: str = _NO_FILTER) -> str:
    """URL-safe base64 without padding and line ends, of the body and its CRC-32."""
    return (
        "(SELECT translate(encode(body || substr(int8send(crc32(body)), 5), 'base64'), E'+/=\\n', '-_')"
        f" FROM (SELECT {_head(kind, digest)} || {position} AS body))"
    )


_ROW_POSITION: Final = "int8send(seq) || substr(hash, 1, 6)"
_ROW_CURSOR: Final = cursor(_LEDGER, _ROW_POSITION)
_USAGE_CURSOR: Final = cursor(
    _USAGE,
    r"convert_to(day::text, 'UTF8') || '\x00' || convert_to(model, 'UTF8') || '\x00'"
    r" || convert_to(category, 'UTF8') || '\x00' || convert_to(origin, 'UTF8')",
)


def _object(**fields: str) -> str:
    return "json_build_object(" + ", ".join(f"'{name}', {value}" for name, value in fields.items()) + ")"


_ID: Final = "'txn_' || account_id || '_' || seq"
_NODE: Final = _object(
    id=_ID,
    createdAt=moment("created_at"),
    type="upper(type)",
    amount=money("amount_nanos"),
    balanceAfter=money("balance_after_nanos"),
    description="description",
    source="upper(source)",
    refType="upper(ref_type)",
    refId="ref_id",
)
_USAGE_NODE: Final = _object(
    day="day",
    model="model",
    category="upper(category)",
    origin="upper(origin)",
    calls="calls::text",
    tokens="(input_tokens + output_tokens)::text",
    cost=money("cost_nanos"),
)
_USAGE_NODE_SPLIT: Final = _object(
    day="day",
    model="model",
    category="upper(category)",
    origin="upper(origin)",
    calls="calls::text",
    inputTokens="input_tokens::text",
    outputTokens="output_tokens::text",
    tokens="(input_tokens + output_tokens)::text",
    cost=money("cost_nanos"),
)


def _connection(rows: str, cursor: str, node: str, size: int, **more: str) -> str:
    """Of a statement that gives one row more than the page has, in its order."""
    answer = _object(
        edges=f"coalesce(json_agg({_object(cursor='cursor', node=node)}) FILTER (WHERE nth <= {size}), '[]')",
        pageInfo=_object(hasNextPage=f"count(*) > {size}", endCursor=f"(array_agg(cursor))[{size}]"),
        **more,
    )
    return f"""(
        SELECT {answer}
        FROM (SELECT *, row_number() OVER () AS nth, {cursor} AS cursor FROM ({rows}) AS found) AS numbered
    )"""


def _list(rows: str, node: str) -> str:
    return f"(SELECT coalesce(json_agg({node}), '[]') FROM ({rows}) AS found)"


def _newest(limit: int, where: str = "", account: str = "$1") -> str:
    return f"SELECT * FROM transactions WHERE account_id = {account} {where} ORDER BY seq DESC LIMIT {limit}"


def _usage(limit: int) -> str:
    return (
        "SELECT * FROM usage_days WHERE account_id = $1"
        f" ORDER BY day DESC, model DESC, category DESC, origin DESC LIMIT {limit}"
    )


_TOTAL_COST: Final = money("coalesce(gross_nanos - refunded_nanos, 0)")
_CARDS: Final = _object(
    month="month",
    totalCost=_TOTAL_COST,
    grossCost=money("coalesce(gross_nanos, 0)"),
    refunded=money("coalesce(refunded_nanos, 0)"),
    heldInOpenCharges=money("coalesce(open_holds_nanos, 0)"),
    apiCalls="coalesce(platform_calls + user_inference_calls, 0)::text",
    platformCalls="coalesce(platform_calls, 0)::text",
    userInferenceCalls="coalesce(user_inference_calls, 0)::text",
    totalTokens="coalesce(tokens, 0)::text",
)
_SUMS: Final = (
    "coalesce(sum(calls), 0) AS calls, coalesce(sum(input_tokens), 0) AS inputs,"
    " coalesce(sum(output_tokens), 0) AS outputs, coalesce(sum(cost_nanos), 0) AS cost, count(*) AS rows"
)


def _usage_totals(**fields: str) -> str:
    return f"(SELECT {_object(**fields)} FROM (SELECT {_SUMS} FROM usage_days WHERE account_id = $1) AS sums)"


def _data(name: str, value: str) -> str:
    return f"SELECT json_build_object('data', json_build_object('{name}', {value}))::text"


_THIS_MONTH: Final = f"""(
    SELECT {_CARDS} FROM (SELECT to_char($2::date, 'YYYY-MM') COLLATE "C" AS month) AS this
    LEFT JOIN (SELECT * FROM monthly_figures WHERE account_id = $1) AS figures USING (month)
)"""
_MONTHS: Final = f"""(
    SELECT json_agg({_object(month="one.month", totalCost=_TOTAL_COST)} ORDER BY one.month)
    FROM (SELECT to_char($2::date - number * interval '1 month', 'YYYY-MM') COLLATE "C" AS month
          FROM generate_series(0, 11) AS number) AS one
    LEFT JOIN monthly_figures ON account_id = $1 AND monthly_figures.month = one.month
)"""
_PAGE_OF_ACCOUNT: Final = _object(
    id="'acct_' || id",
    name="name",
    currency="currency",
    status="upper(status)",
    balance=money("balance_nanos"),
    balanceCursor=cursor(_LEDGER, r"int8send(head_seq) || coalesce(substr(head_hash, 1, 6), '\x000000000000'::bytea)"),
    thisMonth=_THIS_MONTH,
    months=_MONTHS,
    transactions=_connection(_newest(51), _ROW_CURSOR, _NODE, 50),
    usage=_connection(
        _usage(151),
        _USAGE_CURSOR,
        _USAGE_NODE,
        150,
        totals=_usage_totals(calls="calls::text", tokens="(inputs + outputs)::text", cost=money("cost")),
    ),
)
# $1 the account, $2 the first of this month.
_BILLING_PAGE: Final = f"{_data('account', _PAGE_OF_ACCOUNT)} FROM accounts WHERE id = $1"


def _of_account(**fields: str) -> str:
    return _data("account", _object(id="'acct_' || $1::bigint", **fields))


_MORE_TRANSACTIONS: Final = _of_account(
    transactions=_connection(_newest(51, "AND seq < $2::bigint"), _ROW_CURSOR, _NODE, 50)
)


def _refunds(source: str) -> str:
    within = f"AND type = 'refund' AND source = '{source}' AND seq >= since.seq AND seq < until.seq"
    return f"({_newest(51, within)})"


def _bound(parameter: str) -> str:
    """The first row since then, or beyond the last."""
    return (
        f"(SELECT coalesce((SELECT seq FROM transactions WHERE account_id = $1 AND created_at >= {parameter}"
        " ORDER BY created_at, seq LIMIT 1), 9223372036854775807) AS seq)"
    )


_REFUNDS: Final = f"""
SELECT refunds.* FROM {_bound("$2::timestamptz")} AS since, {_bound("$3::timestamptz")} AS until, LATERAL (
    {_refunds("metering")} UNION ALL {_refunds("stripe_webhook")} ORDER BY seq DESC LIMIT 51
) AS refunds
"""
# $2 and $3 the stretch of time, $4 the digest of the filter, as cursors hold it.
_FILTERED_TRANSACTIONS: Final = _of_account(
    transactions=_connection(_REFUNDS, cursor(_LEDGER, _ROW_POSITION, "$4::bytea"), _NODE, 50)
)

_BRIEF_ROW: Final = _object(
    id=_ID,
    createdAt=moment("created_at"),
    type="upper(type)",
    amount=money("amount_nanos"),
    balanceAfter=money("balance_after_nanos"),
    description="description",
)
_BRIEF: Final = _object(
    id="'acct_' || id",
    name="name",
    status="upper(status)",
    balance=money("balance_nanos"),
    thisMonth=_object(
        month="$2::text",
        grossCost=money("coalesce(gross_nanos, 0)"),
        refunded=money("coalesce(refunded_nanos, 0)"),
        totalTokens="coalesce(tokens, 0)::text",
    ),
    transactions=_object(nodes=_list(_newest(10, account="accounts.id"), _BRIEF_ROW)),
)
# $1 the accounts, $3 what the answer names them; $2 the month.
_SEVERAL_ACCOUNTS: Final = f"""
SELECT json_build_object('data', json_object_agg(asked.name, brief ORDER BY asked.name))::text
FROM unnest($1::bigint[], $3::text[]) AS asked (id, name)
JOIN LATERAL (
    SELECT {_BRIEF} AS brief FROM accounts
    LEFT JOIN monthly_figures ON account_id = accounts.id AND month = $2
    WHERE accounts.id = asked.id
) AS one ON true
"""


def _statement(*, brief: bool, with_usage: bool) -> str:
    row = {"id": _ID, "at": moment("created_at"), "kind": "upper(type)", "amount": money("amount_nanos")}
    if not brief:
        row |= {"description": "description", "refType": "upper(ref_type)", "refId": "ref_id"}

    def page(where: str = "") -> str:
        return f"""(
            SELECT json_build_object('rows', coalesce(json_agg({_object(**row)}) FILTER (WHERE nth <= 20), '[]'),
                                     'pageInfo', json_build_object('more', count(*) > 20))
            FROM (SELECT *, row_number() OVER () AS nth FROM ({_newest(21, where)}) AS found) AS numbered
        )"""

    fields = {
        "id": "'acct_' || id",
        "title": "name",
        "status": "upper(status)",
        "currency": "currency",
        "balance": money("balance_nanos"),
    }
    if not brief:
        fields["opened"] = moment("created_at")
    fields["newest"] = page()
    fields["topUps"] = page("AND type = 'topup' AND source = 'stripe_webhook'")
    if with_usage:
        node = _object(day="day", model="model", calls="calls::text", price=money("cost_nanos"))
        fields["usage"] = _object(nodes=_list(_usage(50), node))
    return f"{_data('account', _object(**fields))} FROM accounts WHERE id = $1"


_STATEMENTS: Final = {
    (brief, with_usage): _statement(brief=brief, with_usage=with_usage)
    for brief in (False, True)
    for with_usage in (False, True)
}

_TRANSACTION_TOTALS: Final = (
    _of_account(
        transactions=_object(
            totalCount="rows::text",
            totals=_object(
                count="rows::text",
                credits=money("credits"),
                debits=money("debits"),
                net=money("credits + debits"),
            ),
        )
    )
    + """
FROM (SELECT count(*) AS rows, coalesce(sum(amount_nanos) FILTER (WHERE amount_nanos > 0), 0) AS credits,
             coalesce(sum(amount_nanos) FILTER (WHERE amount_nanos < 0), 0) AS debits
      FROM transactions WHERE account_id = $1) AS sums
"""
)

_USAGE_BY_DAY: Final = _of_account(
    usage=_connection(
        _usage(151),
        _USAGE_CURSOR,
        _USAGE_NODE_SPLIT,
        150,
        totalCount="(SELECT count(*)::text FROM usage_days WHERE account_id = $1)",
        totals=_usage_totals(
            calls="calls::text",
            inputTokens="inputs::text",
            outputTokens="outputs::text",
            tokens="(inputs + outputs)::text",
            cost=money("cost"),
        ),
    )
)

_ANSWERED: Final = _object(
    id=_ID,
    createdAt=moment("created_at"),
    type="upper(type)",
    amount=money("amount_nanos"),
    description="description",
)
_DETAIL: Final = _object(
    id=_ID,
    createdAt=moment("created_at"),
    type="upper(type)",
    amount=money("amount_nanos"),
    balanceBefore=money("balance_after_nanos - amount_nanos"),
    balanceAfter=money("balance_after_nanos"),
    description="description",
    source="upper(source)",
    refType="upper(ref_type)",
    refId="ref_id",
    periodStart=moment("period_start"),
    periodEnd=moment("period_end"),
    corrects=f"(SELECT {_ANSWERED} FROM transactions WHERE account_id = asked.account_id AND seq = asked.corrects_seq)",
)
_TRANSACTION: Final = f"{_data('transaction', _DETAIL)} FROM transactions AS asked WHERE account_id = $1 AND seq = $2"


def _account(variables: Json) -> int:
    return int(variables["account"][5:])


def _month(variables: Json) -> tuple[object, ...]:
    return _account(variables), datetime.now(UTC).date().replace(day=1)


def _between(variables: Json) -> tuple[object, ...]:
    between = variables["filter"]["createdAt"]
    gte, lt = (datetime.fromisoformat(between[name]).astimezone(UTC) for name in ("gte", "lt"))
    return _account(variables), gte, lt, refunds_digest(gte, lt)


Plan = tuple[Callable[[Json], str], Arguments]
"""From a request's variables to its statement and arguments."""


def _always(statement: str) -> Callable[[Json], str]:
    return lambda _: statement


PLANS: Final[dict[str, Plan]] = {
    "billing_page": (_always(_BILLING_PAGE), _month),
    "more_transactions": (_always(_MORE_TRANSACTIONS), lambda asked: (_account(asked), seq_of(asked["after"]))),
    "filtered_transactions": (_always(_FILTERED_TRANSACTIONS), _between),
    "several_accounts": (
        _always(_SEVERAL_ACCOUNTS),
        lambda asked: (accounts_of(asked), datetime.now(UTC).strftime("%Y-%m"), list(asked)),
    ),
    "statement": (lambda asked: _STATEMENTS[asked["brief"], asked["withUsage"]], lambda asked: (_account(asked),)),
    "transaction_totals": (_always(_TRANSACTION_TOTALS), lambda asked: (_account(asked),)),
    "usage_by_day": (_always(_USAGE_BY_DAY), lambda asked: (_account(asked),)),
    "transaction": (_always(_TRANSACTION), lambda asked: tuple(map(int, asked["id"][4:].split("_")))),
}


def _handler(store: PostgresStore, keys: Accounts, plan: Plan) -> Callable[[web.Request], Awaitable[web.Response]]:
    statement_of, arguments_of = plan

    async def handle(request: web.Request) -> web.Response:
        variables = orjson.loads(await request.read())
        check_account(keys, request, *accounts_of(variables))
        rows = await store.fetch(statement_of(variables), *arguments_of(variables))
        return web.Response(body=rows[0][0].encode(), content_type="application/json")

    return handle


async def build(url: str) -> web.Application:
    store = await PostgresStore.open(url)
    keys = await read_keys(store)
    app = web.Application()
    for name, plan in PLANS.items():
        app.router.add_post(f"/{name}", _handler(store, keys, plan))

    async def close(_app: web.Application) -> None:
        await store.close()

    app.on_cleanup.append(close)
    return app


if __name__ == "__main__":
    main(build)
