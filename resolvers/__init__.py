"""Reads: plain arguments and a context in, rows or a frozen page out. No GraphQL types, no HTTP."""
