"""Reads: take plain arguments and a QueryContext, return rows or a frozen page. No GraphQL types, no HTTP."""
