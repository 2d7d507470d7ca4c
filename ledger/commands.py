"""What a caller may ask of the ledger. `ledger.posting` turns commands into rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import orjson

from db.rows import ChargeRow, TransactionRow
from ledger.kinds import RefType, TransactionType, WriterKind
from ledger.usage import UsageRequest, Verdict


@dataclass(frozen=True, slots=True)
class Ref:
    type: RefType
    id: str


@dataclass(frozen=True, slots=True)
class Period:
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Writer:
    kind: WriterKind
    actor: str
    """The visible prefix of the key, or the worker's name."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One row, as it stands."""

    type: TransactionType
    amount_nanos: int
    description: str
    ref: Ref | None = None
    period: Period | None = None
    corrects_seq: int | None = None


@dataclass(frozen=True, slots=True)
class OpenHold:
    """Takes the price of the whole estimated time, or of an inference instance's first cycle, in advance."""

    ref: Ref
    amount_nanos: int
    """What is held; positive."""
    description: str | None
    """None has it composed, as in the commands below."""
    period: Period


@dataclass(frozen=True, slots=True)
class RenewHold:
    """Ends an inference instance's cycle and holds the price of the next one, if the balance then covers it."""

    ref: Ref
    used_nanos: int
    """What the cycle that ended came to."""
    settlement: str | None
    """Describes the refund or overage row of the cycle that ended."""
    amount_nanos: int
    description: str | None
    period: Period | None = None
    """That of the next cycle; the 24 hours after the one that ended if it is None."""


@dataclass(frozen=True, slots=True)
class SettleHold:
    """Returns what was not used of the open hold, or charges what was used beyond it."""

    ref: Ref
    used_nanos: int
    description: str | None
    ended_at: datetime | None = None
    """When the instance stopped; the time of posting if it is not known."""


@dataclass(frozen=True, slots=True)
class ExpireHold:
    """Settles a hold whose owner vanished at exactly what was held. It writes no row."""

    ref: Ref


@dataclass(frozen=True, slots=True)
class EndCharge:
    """Says that what was billed without holds, such as a volume, is gone. It writes no row."""

    ref: Ref


Command = Entry | OpenHold | RenewHold | SettleHold | ExpireHold | EndCharge


def digest_of_payload(payload: Any) -> bytes:
    """By which a call that is sent again is told from another one with its idempotency key."""
    return hashlib.sha256(json.dumps(payload, default=datetime.isoformat, separators=(",", ":")).encode()).digest()


def _digest_of_commands(commands: Sequence[Command]) -> bytes:
    """Digest of each command's type and fields. Digests are kept for ever, and were made of what `json.dumps` writes.
    orjson is twenty times as fast and writes the same, except for letters beyond ASCII and numbers beyond 64 bits."""
    named = [(type(command).__name__, command) for command in commands]
    try:
        text = orjson.dumps(named, default=datetime.isoformat, option=orjson.OPT_PASSTHROUGH_DATETIME)
    except orjson.JSONEncodeError:
        text = b"\xff"
    if not text.isascii():
        return digest_of_payload([[name, asdict(command)] for name, command in named])
    return hashlib.sha256(text).digest()


@dataclass(frozen=True, slots=True)
class Recording:
    """Requests that a call counts, and what it charges for those that are new."""

    requests: Sequence[UsageRequest]
    charge: Callable[[Sequence[Verdict]], tuple[Sequence[Command], int]]
    """The commands, and the posting's result, by the requests' verdicts. Raises BillingError."""


@dataclass(frozen=True, slots=True)
class Posting:
    """The commands of one call on one account."""

    account_id: int
    writer: Writer
    commands: Sequence[Command]
    operation: str
    idempotency_key: str | None = None
    payload: Any = None
    """What the caller gave, as JSON would have it, where the commands were made of it and of what the ledger knows."""
    result: int | None = None
    """A number of the operation's own, which replays have too."""
    recording: Recording | None = None
    """Usage of the account, which is recorded first. The commands and the result are then those of its charge."""

    def payload_digest(self) -> bytes:
        return digest_of_payload(self.payload) if self.payload else _digest_of_commands(self.commands)


@dataclass(frozen=True, slots=True)
class Outcome:
    account_id: int
    transactions: tuple[TransactionRow, ...]
    """In the order of their `seq`; empty where a hold came out even."""
    balance_nanos: int
    """After the call."""
    replayed: bool
    """The idempotency key was known: this is the first call's outcome and nothing was written."""
    to_stop: bool
    """The next cycle's hold could not be paid: the ended cycle is settled, the instance is to be stopped."""
    result: int | None = None
    """The posting's result, as the first call had it."""
    charges: tuple[ChargeRow, ...] = ()
    """Charges of the resources that the posting names, as they are after it; empty if it is replayed."""
