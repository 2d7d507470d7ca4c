"""Transactions: reads ledger rows as pages of an account, with counts and totals, and by id."""
