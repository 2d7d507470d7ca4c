"""Whether the database can be read, and whether it can be written: looked at apart from all pools.

Nothing here waits for longer than `ANSWER_SECONDS`, and what is written is rolled back.
"""
