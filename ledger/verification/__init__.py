"""Verification: recounts the stored data of an account from its rows, and reports faults."""
