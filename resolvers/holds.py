from __future__ import annotations

from ledger.keys import ServiceOperation
from ledger.moves import OpenHold, Outcome, RenewHold, SettleHold
from ledger.past import checked_past
from resolvers.writes import Writes


async def open_hold(writes: Writes, account_id: str, idempotency_key: str, move: OpenHold) -> Outcome:
    return await writes.post_as_service(ServiceOperation.OPEN_HOLD, account_id, idempotency_key, move)


async def renew_hold(writes: Writes, account_id: str, idempotency_key: str, move: RenewHold) -> Outcome:
    return await writes.post_as_service(ServiceOperation.RENEW_HOLD, account_id, idempotency_key, move)


async def settle_hold(writes: Writes, account_id: str, idempotency_key: str, move: SettleHold) -> Outcome:
    if move.ended_at is not None:
        checked_past(move.ended_at, writes.now, "endedAt")
    return await writes.post_as_service(ServiceOperation.SETTLE_HOLD, account_id, idempotency_key, move)
