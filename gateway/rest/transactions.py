from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import orjson
from aiohttp import hdrs, web
from multidict import MultiMapping

from db.csv_lines import Lines, transaction_lines
from db.filters import ALL_TRANSACTIONS, TransactionFilter, Window
from db.rows import AccountRow, TransactionRow
from execution.slices import breathe, in_slices
from gateway.compression import compressible
from gateway.requests import query_of
from gateway.rest.columns import AMOUNT, TIME, Column, nullable
from gateway.rest.exports import STEP_ROWS, Cells, Steps, csv_step, stream_csv
from gateway.rest.parameters import (
    ACCOUNT,
    Parameter,
    account_in,
    amount_parameter,
    check_range,
    id_parameter,
    integer_parameter,
    read_parameters,
    text_parameter,
    time_parameter,
    word_parameter,
)
from gateway.rest.reading import export_query, read_step, reading
from ledger.chain import canonical_columns
from ledger.errors import NotFound
from ledger.ids import account_id_text, parse_transaction_id, transaction_id_text
from ledger.kinds import RefType, TransactionSource, TransactionType
from ledger.texts import REF_ID
from resolvers.context import QueryContext
from resolvers.pager import Stretch
from resolvers.pages import DEFAULT_PAGE, MAX_PAGE
from resolvers.reads.accounts import MAX_SEARCH, MIN_SEARCH
from resolvers.reads.texts import SEARCH_RULE
from resolvers.reads.transactions import PAGER, transaction_filter
from schema.costs import EXPORT, REST_PAGE, REST_ROW, SEARCH

PATH: Final = "/billing/transactions"
EXPORT_PATH: Final = "/billing/transactions.csv"

SEARCHED_ROWS: Final = 20_000
"""A search looks at rows one by one: a step of an export looks at no more than these."""


def _words(words: type[TransactionType] | type[TransactionSource] | type[RefType]) -> Mapping[str, Any]:
    return {"type": "string", "enum": [word.value for word in words]}


_ROW_ID: Final = {"type": "string", "pattern": r"^txn_[1-9]\d*_[1-9]\d*$"}

COLUMNS: Final = (
    Column("id", "Id of the row. `txn_7_1042` is row 1042 of account 7.", _ROW_ID),
    Column("account", "Id of the account.", {"type": "string", "pattern": r"^acct_[1-9]\d*$"}),
    Column("seq", "Number of the row: 1, 2, 3 … in each account, without gaps.", {"type": "integer", "minimum": 1}),
    Column("created_at", "When the row was recorded, in UTC. Rows are in order of time.", TIME),
    Column("type", "The kind of money movement.", _words(TransactionType)),
    Column("amount", "Amount: positive if added to the balance, negative if deducted.", AMOUNT),
    Column("balance_after", "Balance after this row.", AMOUNT),
    Column("description", "What happened, for people to read.", {"type": "string"}, free_text=True),
    Column("source", "The kind of writer that recorded the row.", _words(TransactionSource)),
    Column(
        "ref_type",
        "The kind of object that `ref_id` identifies; null if nothing else caused the row.",
        nullable(_words(RefType)),
    ),
    Column("ref_id", "Id of the object that caused the row.", nullable({"type": "string"}), free_text=True),
    Column(
        "actor",
        "The writer of the row: the visible prefix of its key, or the worker.",
        {"type": "string"},
        free_text=True,
    ),
    Column("corrects", "The row that this correction or refund is for.", nullable(_ROW_ID)),
    Column("period_start", "Start of the time that a usage or storage charge covers.", nullable(TIME)),
    Column("period_end", "End of the time that a usage or storage charge covers (exclusive).", nullable(TIME)),
    Column(
        "hash",
        "SHA-256 of the previous row's hash and this row's canonical text, in hex.",
        {"type": "string", "pattern": "^[0-9a-f]{64}$"},
    ),
)
_NAMES: Final = tuple(column.name for column in COLUMNS)

_FILTERS: Final = (
    ACCOUNT,
    word_parameter("types", "Only rows of these types.", TransactionType, many=True),
    word_parameter("sources", "Only rows from these kinds of writers.", TransactionSource, many=True),
    time_parameter("created_at_gte", "Only rows recorded at this time or later."),
    time_parameter("created_at_lt", "Only rows recorded before this time."),
    amount_parameter("amount_gte", "Only rows of at least this amount; the sign counts."),
    amount_parameter("amount_lte", "Only rows of at most this amount; the sign counts."),
    word_parameter("ref_type", "Only rows caused by this kind of object.", RefType),
    text_parameter(
        "ref_id", "Only rows caused by exactly this object.", shortest=1, longest=REF_ID.longest, example="132"
    ),
    text_parameter(
        "search",
        f"Text to find in `description` or `ref_id`. {SEARCH_RULE} On a long ledger, narrow the search with"
        " `created_at_gte`.",
        shortest=MIN_SEARCH,
        longest=MAX_SEARCH,
        example="hold",
    ),
)
EXPORT_PARAMETERS: Final[tuple[Parameter, ...]] = _FILTERS
PARAMETERS: Final[tuple[Parameter, ...]] = (
    integer_parameter("limit", "Maximum number of rows on the page.", least=1, most=MAX_PAGE, default=DEFAULT_PAGE),
    id_parameter(
        "before",
        "Only rows older than this row. (In GraphQL, use `after`.)",
        pattern=_ROW_ID["pattern"],
        example="txn_7_1042",
    ),
    *_FILTERS,
)


def _row_filter(given: Mapping[str, Any]) -> TransactionFilter:
    check_range(given, "created_at_gte", "created_at_lt")
    check_range(given, "amount_gte", "amount_lte")
    return transaction_filter(
        types=given.get("types"),
        sources=given.get("sources"),
        created_gte=given.get("created_at_gte"),
        created_lt=given.get("created_at_lt"),
        amount_gte=given.get("amount_gte"),
        amount_lte=given.get("amount_lte"),
        ref_type=given.get("ref_type"),
        ref_id=given.get("ref_id"),
        search=given.get("search"),
    )


def _cells(row: TransactionRow) -> Cells:
    """In the order of COLUMNS."""
    return [*canonical_columns(row), row.hash.hex()]


def _named(row: TransactionRow) -> dict[str, object]:
    breathe()
    return dict(zip(_NAMES, _cells(row), strict=True))


def _position(before: str | None, account: AccountRow) -> int | None:
    """The `seq` that the page lies before. Rows have no gaps: one exists if it is not above the newest."""
    if before is None:
        return None
    account_id, seq = parse_transaction_id(before) or (0, 0)
    if account_id != account.id or seq > account.head_seq:
        raise NotFound("before: there is no such transaction")
    return seq


def _next_link(request: web.Request, limit: int, oldest: TransactionRow) -> str:
    """Without host and scheme, which proxies change."""
    before = transaction_id_text(oldest.account_id, oldest.seq)
    return f'<{request.rel_url.update_query(limit=str(limit), before=before)}>; rel="next"'


def _points(request: web.Request) -> float:
    """The cost of a page. Parameters that are not valid are refused later."""
    limit = request.query.get("limit", "")
    rows = min(int(limit), MAX_PAGE) if limit.isdecimal() and len(limit) < 10 else DEFAULT_PAGE
    return REST_PAGE + rows * REST_ROW + (SEARCH if "search" in request.query else 0)


async def page(request: web.Request) -> web.Response:
    async with reading(request, _points(request)) as context:
        given = read_parameters(query_of(request), PARAMETERS)
        row_filter = _row_filter(given)
        limit = given.get("limit", DEFAULT_PAGE)
        account = await account_in(context, given)
        # One row more than was asked for, which tells whether there are older ones.
        window = Window(limit=limit + 1, after=_position(given.get("before"), account))
        found = await PAGER.page_in(context, account.id, row_filter, Stretch(window))
    rows = await in_slices(lambda: list(map(_named, found.rows)))
    headers: dict[str, str] = {hdrs.CACHE_CONTROL: "no-store"}
    if found.has_next and found.rows:
        headers[hdrs.LINK] = _next_link(request, limit, found.rows[-1])
    return compressible(web.Response(body=orjson.dumps(rows), content_type="application/json", headers=headers))


async def _lines(context: QueryContext, account_id: int, row_filter: TransactionFilter, window: Window) -> Lines:
    rows = await context.loaders.transaction_page.load((account_id, (row_filter, window)))
    return Lines(await csv_step(COLUMNS, map(_cells, rows)), len(rows), rows[-1].seq if rows else None)


async def _step(request: web.Request, account_id: int, row_filter: TransactionFilter, window: Window) -> Lines:
    """Serialized by the database, or here: archived rows are not in the database."""
    lines = await read_step(
        request, lambda context: transaction_lines(context.snapshot_of(account_id), account_id, row_filter, window)
    )
    if lines is not None:
        return lines
    return await read_step(request, lambda context: _lines(context, account_id, row_filter, window))


async def steps(
    request: web.Request, account_id: int, row_filter: TransactionFilter, *, after: int = 0, head: int
) -> Steps:
    """The rows after a position up to the head as it was at the start, oldest first."""
    position = after
    # `seq` has no gaps: if all rows are wanted, the end of a step is known before the step is read.
    all_rows = row_filter == ALL_TRANSACTIONS
    stretch = STEP_ROWS if all_rows else head if row_filter.search is None else SEARCHED_ROWS
    while position < head:
        newest = min(position + stretch, head)
        window = Window(limit=STEP_ROWS, after=newest + 1, before=position, oldest=True)
        step = asyncio.create_task(_step(request, account_id, row_filter, window))
        yield step
        position = newest
        if not all_rows and (lines := await step).row_count == STEP_ROWS:
            position = lines.last


async def asked(context: QueryContext, query: MultiMapping[str]) -> tuple[AccountRow, TransactionFilter]:
    """Returns the account and the filter of an export with these parameters."""
    given = read_parameters(query, EXPORT_PARAMETERS)
    row_filter = _row_filter(given)
    return await account_in(context, given), row_filter


async def export(request: web.Request) -> web.StreamResponse:
    query = await export_query(request)
    async with reading(request, EXPORT, brief=True) as context:
        account, row_filter = await asked(context, query)
    filename = f"transactions-{account_id_text(account.id)}.csv"
    return await stream_csv(request, filename, COLUMNS, steps(request, account.id, row_filter, head=account.head_seq))
