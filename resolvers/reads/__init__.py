"""Reads: plain arguments and a QueryContext in, rows or a frozen page out. No GraphQL types, no HTTP."""
