"""Recounts what the database holds of an account from its rows, and names what does not fit."""
