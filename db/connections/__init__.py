"""Connections: URLs, connection pools, and snapshots that read in batches."""
