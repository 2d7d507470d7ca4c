"""Statements of a period: figures as JSON, rows as CSV, and both as PDF."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

import orjson
from aiohttp import hdrs, web
from multidict import MultiMapping

from db.company_details import CompanyDetailsRow
from db.filters import ALL_TRANSACTIONS, Window
from db.period_figures import PeriodEnds
from db.rows import AccountRow, TransactionRow
from gateway.errors import RequestError
from gateway.media_types import JSON, accepted, weight_of
from gateway.requests import accept_of, query_of
from gateway.rest import transactions
from gateway.rest.columns import AMOUNT, COUNT, Column, nullable
from gateway.rest.exports import stream_csv
from gateway.rest.parameters import ACCOUNT, Parameter, account_in, day_parameter, read_parameters, word_parameter
from gateway.rest.reading import export_query, read_step, reading
from gateway.services import SERVICES
from gateway.typesetting.languages import Language, Texts, filled, texts_of
from gateway.typesetting.process import Typesetter
from gateway.vary import add_vary
from ledger.errors import BadUserInput, QueryTooComplex
from ledger.ids import account_id_text
from ledger.money import format_nanos
from resolvers.context import QueryContext
from resolvers.reads import statements
from resolvers.reads.company_details import company_details
from resolvers.reads.statements import MAX_DAYS, Movement, MovementKind, Statement
from schema.costs import EXPORT, PDF, STATEMENT

PATH: Final = statements.JSON_PATH
EXPORT_PATH: Final = statements.CSV_PATH
PDF_PATH: Final = statements.PDF_PATH

MAX_PDF_ROWS: Final = 100_000
PART_ROWS: Final = 500
"""Rows that are read, and typeset, at once."""

CSV: Final = "text/csv"
PDF_TYPE: Final = "application/pdf"

PARAMETERS: Final[tuple[Parameter, ...]] = (
    ACCOUNT,
    day_parameter("from", "First UTC day of the period."),
    day_parameter("to", f"The UTC day after the period, at most {MAX_DAYS} days after `from`."),
)
LANGUAGE: Final = word_parameter(
    "lang",
    "Language of a PDF file, and of its numbers and days. The default is the language that `Accept-Language` prefers,"
    " or else English. `UNAVAILABLE` if the server has no fonts for the language that is asked for.",
    Language,
)
PDF_PARAMETERS: Final = (*PARAMETERS, LANGUAGE)

_TEXT: Final = {"type": "string"}
_DAY: Final = {"type": "string", "format": "date"}
MOVEMENT_COLUMNS: Final = (
    Column("kind", "The kind of rows.", {"type": "string", "enum": [kind.value for kind in MovementKind]}),
    Column("gross", "Sum of the rows, without amounts returned from holds; negative if deducted.", AMOUNT),
    Column("refunded", "Sum returned from holds.", AMOUNT),
    Column("net", "Change of the balance: gross plus refunded.", AMOUNT),
)
COLUMNS: Final = (
    Column("account", "Id of the account.", {"type": "string", "pattern": r"^acct_[1-9]\d*$"}),
    Column("name", "Name of the company or person; the account's name if none was set.", _TEXT),
    Column("address_lines", "Lines of the postal address.", {"type": "array", "items": _TEXT}),
    Column("tax_id", "Tax id, as the customer wrote it.", nullable(_TEXT)),
    Column("from", "First UTC day of the period.", _DAY),
    Column("to", "The UTC day after the period.", _DAY),
    Column("currency", "ISO 4217 code of the currency.", _TEXT),
    Column("opening", "Balance before the period.", AMOUNT),
    Column(
        "movements",
        "What moved the balance, by kind: opening plus all `net` is closing.",
        {"type": "array", "items": {"$ref": "#/components/schemas/StatementMovement"}},
    ),
    Column("closing", "Balance at the end of the period, or now if the period has not ended.", AMOUNT),
    Column("rows", "Number of rows in the period.", COUNT),
    Column("is_final", "Whether the statement can no longer change.", {"type": "boolean"}),
)
_NAMES: Final = tuple(column.name for column in COLUMNS)


@dataclass(frozen=True, slots=True)
class _Figures:
    statement: Statement
    ends: PeriodEnds
    movements: list[Movement]
    company: CompanyDetailsRow | None

    @property
    def account(self) -> AccountRow:
        return self.statement.account

    @property
    def rows(self) -> int:
        return self.ends.closing_seq - self.ends.opening_seq

    @property
    def name(self) -> str:
        return self.account.name if self.company is None else self.company.name

    @property
    def address_lines(self) -> list[str]:
        return [] if self.company is None else self.company.address_lines

    @property
    def tax_id(self) -> str | None:
        return None if self.company is None else self.company.tax_id

    @property
    def filename(self) -> str:
        period = f"{self.statement.from_day}-{self.statement.to_day - timedelta(1)}"
        return f"statement-{account_id_text(self.account.id)}-{period}"


async def asked(
    context: QueryContext, query: MultiMapping[str], parameters: Sequence[Parameter] = PARAMETERS
) -> Statement:
    """Returns the statement with these parameters, whose figures are not read yet."""
    given = read_parameters(query, parameters)
    for name in ("from", "to"):
        if name not in given:
            msg = f"{name} is required"
            raise BadUserInput(msg)
    from_day: date = given["from"]
    period = statements.period_of(from_day, given["to"])
    return Statement(await account_in(context, given), period)


async def asked_as_pdf(context: QueryContext, query: MultiMapping[str]) -> Statement:
    return await asked(context, query, PDF_PARAMETERS)


async def check_fonts(typesetter: Typesetter, query: MultiMapping[str]) -> None:
    """Raises RequestError if the language that is asked for cannot be typeset here."""
    language = Language(query.get(LANGUAGE.name, Language.EN))
    if not await typesetter.has_fonts_for(language):
        msg = f"{LANGUAGE.name}: this server has no fonts for {language}: ask for another language, or see docs/rest.md"
        raise RequestError("UNAVAILABLE", msg)


def _preferred(accept_language: str) -> Iterator[Language]:
    """The languages that a client accepts, the most wanted first."""
    weights = accepted(accept_language)
    for tag in sorted(weights, key=lambda tag: -weights[tag]):
        if weights[tag] > 0 and (word := tag.partition("-")[0]) in list(Language):
            yield Language(word)


async def _language(request: web.Request, query: MultiMapping[str]) -> Language:
    """Returns the language that is asked for, or else the first accepted one for which there are fonts."""
    typesetter = request.app[SERVICES].typesetter
    if LANGUAGE.name in query:
        await check_fonts(typesetter, query)
        return Language(query[LANGUAGE.name])
    for language in _preferred(request.headers.get(hdrs.ACCEPT_LANGUAGE, "")):
        if await typesetter.has_fonts_for(language):
            return language
    return Language.EN


async def _figures(context: QueryContext, statement: Statement) -> _Figures:
    statements.prefetch_ends(context, statement.key)
    statements.prefetch_movements(context, statement.key)
    company = await company_details(context, statement.account.id)
    ends, movements = await statements.ends(context, statement), await statements.movements(context, statement)
    return _Figures(statement, ends, movements, company)


def _amounts(movement: Movement) -> list[str]:
    return [format_nanos(nanos) for nanos in (movement.gross_nanos, movement.refunded_nanos, movement.net_nanos)]


def _body(found: _Figures, *, is_final: bool) -> bytes:
    names = [column.name for column in MOVEMENT_COLUMNS]
    moved = [dict(zip(names, [one.kind, *_amounts(one)], strict=True)) for one in found.movements]
    cells = [
        account_id_text(found.account.id),
        found.name,
        found.address_lines,
        found.tax_id,
        found.statement.from_day,
        found.statement.to_day,
        found.account.currency,
        format_nanos(found.ends.opening_nanos),
        moved,
        format_nanos(found.ends.closing_nanos),
        found.rows,
        is_final,
    ]
    return orjson.dumps(dict(zip(_NAMES, cells, strict=True)))


async def _answer(request: web.Request) -> web.StreamResponse:
    async with reading(request, STATEMENT) as context:
        found = await _figures(context, await asked_as_pdf(context, query_of(request)))
        is_final = statements.is_final(context, found.statement)
    headers: dict[str, str] = {hdrs.CACHE_CONTROL: "no-store"}
    return web.Response(body=_body(found, is_final=is_final), content_type=JSON, headers=headers)


async def by_accept(request: web.Request) -> web.StreamResponse:
    """Answers in the type that the client likes best; JSON if it does not say."""
    weights = accepted(accept_of(request))
    weight, _, answer = max(
        (weight_of(media_type, weights), -order, answer)
        for order, (media_type, answer) in enumerate(((JSON, _answer), (CSV, export), (PDF_TYPE, pdf)))
    )
    response = await (answer(request) if weight > 0 else _answer(request))
    if not response.prepared:
        add_vary(response, hdrs.ACCEPT)
    return response


async def export(request: web.Request) -> web.StreamResponse:
    """The rows of the period as CSV, oldest first."""
    query = await export_query(request)
    parameters = PARAMETERS if request.path == EXPORT_PATH else PDF_PARAMETERS
    async with reading(request, EXPORT) as context:
        statement = await asked(context, query, parameters)
        ends = await statements.ends(context, statement)
        found = _Figures(statement, ends, [], None)
    steps = transactions.steps(
        request, statement.account.id, ALL_TRANSACTIONS, after=ends.opening_seq, head=ends.closing_seq
    )
    return await stream_csv(request, f"{found.filename}.csv", transactions.COLUMNS, steps)


async def _read(request: web.Request, account_id: int, first: int, last: int) -> list[TransactionRow]:
    """The rows from `first` to `last`, oldest first."""
    window = Window(limit=last - first + 1, after=last + 1, before=first - 1, oldest=True)
    return await read_step(
        request, lambda context: context.loaders.transaction_page.load((account_id, (ALL_TRANSACTIONS, window)))
    )


def _cells(row: TransactionRow, texts: Texts) -> list[str]:
    return [
        texts.moment(row.created_at),
        texts.row(row.type, row.ref_type),
        row.description,
        texts.amount(format_nanos(row.amount_nanos)),
        texts.amount(format_nanos(row.balance_after_nanos)),
    ]


def _facts(found: _Figures, texts: Texts) -> list[str]:
    paper, last_day = texts.paper, found.statement.to_day - timedelta(1)
    return [
        filled(paper.account, id=account_id_text(found.account.id)),
        filled(paper.period, first=texts.day(found.statement.from_day), last=texts.day(last_day)),
        filled(paper.currency, code=found.account.currency),
        filled(paper.rows, count=texts.amount(str(found.rows))),
    ]


def _head(found: _Figures, texts: Texts, *, is_final: bool) -> dict[str, Any]:
    paper, ends = texts.paper, found.ends
    tax = [] if found.tax_id is None else [filled(paper.tax_id, id=found.tax_id)]
    return {
        "title": paper.title,
        "name": found.name,
        "address_lines": [*found.address_lines, *tax],
        "facts": _facts(found, texts),
        "columns": [texts.balance, texts.gross, texts.returned, texts.net],
        "opening": [texts.opening, texts.amount(format_nanos(ends.opening_nanos))],
        "movements": [[texts.movement(one.kind), *map(texts.amount, _amounts(one))] for one in found.movements],
        "closing": [texts.closing, texts.amount(format_nanos(ends.closing_nanos))],
        "note": paper.note if is_final else f"{paper.not_final} {paper.note}",
    }


async def _parts(
    request: web.Request, found: _Figures, language: Language, *, is_final: bool
) -> AsyncGenerator[bytes, None]:
    """Yields the lines for the typesetter: the head with the first rows, then the other rows."""
    _, end = found.statement.period.times
    now, texts = request.app[SERVICES].clock(), texts_of(language)
    part: dict[str, Any] = {
        "lang": language,
        "title": filled(texts.paper.name, id=account_id_text(found.account.id)),
        "page": texts.paper.page,
        "columns": texts.paper.columns,
        # The same file each time that a final statement is asked for.
        "timestamp": int((end if is_final else now).timestamp()),
        "head": _head(found, texts, is_final=is_final),
    }
    last = found.ends.opening_seq
    while "head" in part or last < found.ends.closing_seq:
        first, last = last + 1, min(last + PART_ROWS, found.ends.closing_seq)
        rows = await _read(request, found.account.id, first, last) if first <= last else []
        yield orjson.dumps(part | {"rows": [_cells(row, texts) for row in rows]})
        part.pop("head", None)


def _check_size(found: _Figures) -> None:
    if found.rows > MAX_PDF_ROWS:
        msg = (
            f"the period has {found.rows} rows, and a PDF at most {MAX_PDF_ROWS}: ask for a shorter period, or for CSV"
        )
        raise QueryTooComplex(msg)


async def pdf(request: web.Request) -> web.StreamResponse:
    query, services = await export_query(request), request.app[SERVICES]
    async with reading(request, PDF) as context:
        found = await _figures(context, await asked_as_pdf(context, query))
        is_final = statements.is_final(context, found.statement)
        principal = context.principal
    _check_size(found)
    language = await _language(request, query)
    response = web.Response(
        headers={
            hdrs.CONTENT_TYPE: PDF_TYPE,
            hdrs.CONTENT_DISPOSITION: f'attachment; filename="{found.filename}.pdf"',
            hdrs.CONTENT_LANGUAGE: language,
            hdrs.CACHE_CONTROL: "no-store",
        }
    )
    add_vary(response, hdrs.ACCEPT_LANGUAGE)
    if request.method != hdrs.METH_HEAD:
        parts: AsyncIterator[bytes] = _parts(request, found, language, is_final=is_final)
        response.body = await services.typesetter.typeset(principal, parts)
    return response
