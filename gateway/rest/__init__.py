"""The ledger and the usage over plain HTTP: JSON pages, CSV exports, and their description."""

from __future__ import annotations

from aiohttp import web

from gateway.rest import export_links, openapi, statements, transactions, usage, usage_requests


def add_rest_routes(app: web.Application) -> None:
    app.router.add_get(transactions.PATH, transactions.page)
    app.router.add_get(transactions.EXPORT_PATH, transactions.export)
    app.router.add_get(statements.PATH, statements.by_accept)
    app.router.add_get(statements.EXPORT_PATH, statements.export)
    app.router.add_get(statements.PDF_PATH, statements.pdf)
    app.router.add_get(usage.EXPORT_PATH, usage.export)
    app.router.add_get(usage_requests.PATH, usage_requests.single)
    app.router.add_post(export_links.PATH, export_links.create)
    app.router.add_get(openapi.PATH, openapi.document)
