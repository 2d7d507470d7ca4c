"""How the databases are reached: URLs, pools of connections, and snapshots that read in batches."""
