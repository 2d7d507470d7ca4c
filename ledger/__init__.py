"""Posting rules: what may be written to an account's ledger, and how."""
