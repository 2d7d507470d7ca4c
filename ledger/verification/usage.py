"""Usage days against the requests that were counted, as far as these are known.

A request is kept as a digest, without its day and figures. So only sums can be compared: days that are fed by requests
have no more calls than requests were counted; fewer where a rollup has replaced some of these days. Where services
recorded all of an account's requests, and no rollup replaced any, the cost of these days is what the rows charged.
"""

from __future__ import annotations

from db.recount import Read
from db.recount.usage import fed_by_requests, request_count
from ledger.money import format_nanos
from ledger.verification.calls import LiveUsage, check_calls
from ledger.verification.faults import FaultKind, Faults


async def check_usage(read: Read, account_id: int, faults: Faults, *, postgresql: bool) -> None:
    """Checks usage. Includes stored calls, which tell what was recorded live. From one moment if `read` is."""
    # Requests come last: they only grow in number, so that those of a later moment give no false alarm by themselves.
    live = await check_calls(read, account_id, faults)
    days = await fed_by_requests(read, account_id, postgresql=postgresql)
    requests = await request_count(read, account_id)
    if message := _problem(live, days.calls, days.cost_nanos, requests):
        faults.add(FaultKind.USAGE, "usage_days", message)


def _problem(live: LiveUsage, calls: int, cost_nanos: int, requests: int) -> str:
    if calls > requests:
        return f"the days that are fed by requests have {calls} calls, but {requests} requests were counted"
    if live.calls > requests:
        return f"recordUsage counted {live.calls} requests, but {requests} are known"
    is_all_live = live.is_known and live.calls == calls == requests
    if is_all_live and live.cost_nanos != cost_nanos:
        days, rows = format_nanos(cost_nanos), format_nanos(live.cost_nanos)
        return f"the days that are fed by requests cost {days}, but the rows of recordUsage charged {rows}"
    return ""
