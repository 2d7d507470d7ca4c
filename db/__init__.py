"""Database: tables, statements and transactions. The only place that contains SQL."""
