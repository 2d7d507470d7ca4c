"""Other ways to answer the same operations from the same tables, each a process of its own."""
