"""Stripe: what its events mean to the ledger, and what is asked of its API."""
