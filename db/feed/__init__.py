"""The change feed: rows of the ledger as they are posted, in the order of their `seq`, none missed.

The ledger is the log. Whatever wakes the feed (a post of this process, a notification, a poll) says only that there
may be more to read: it reads on from where it stands, so a signal that is lost or comes twice changes nothing.
"""
