"""Execution: turns the text of a document into a result. Knows nothing of billing."""
