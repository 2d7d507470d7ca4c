"""Change feed: ledger rows as they are posted, in the order of their `seq`, none missed.

The ledger is the log. A signal (a post of this process, a notification, a poll) only says that there may be new rows:
the feed continues to read from its position. So a signal that is lost or repeated changes nothing.
"""
