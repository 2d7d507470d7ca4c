"""Archive: copies of an account's oldest ledger rows in Parquet files, and reads of them by the ledger's statements."""
