"""Tables, statements and transactions: the only place that holds SQL."""
