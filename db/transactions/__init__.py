"""Reading ledger rows: pages of an account's rows, their counts and totals, and rows by their ids."""
