"""Stripe: what its events mean to the ledger, and the calls of its API."""
