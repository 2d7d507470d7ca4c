"""Commands: what a caller may ask of the ledger. `ledger.posting` turns commands into rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, ClassVar

import orjson

from db.limit_rows import AuthorizationRow, SpendLimitRow
from db.rows import ChargeRow, TransactionRow
from ledger.attribution import NOBODY, Attribution, Share
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
    """Posts one row with exactly these values."""

    type: TransactionType
    amount_nanos: int
    description: str
    ref: Ref | None = None
    period: Period | None = None
    corrects_seq: int | None = None


@dataclass(frozen=True, slots=True)
class UsageEntry(Entry):
    """Posts one row whose amount several attributions have spent."""

    shares: Sequence[Share] = ()


@dataclass(frozen=True, slots=True)
class OpenHold:
    """Charges the price of the whole estimated time, or of an inference instance's first cycle, in advance."""

    ref: Ref
    amount_nanos: int
    """The amount to hold; positive."""
    description: str | None
    """If None, the description is generated. The same applies to the commands below."""
    period: Period


@dataclass(frozen=True, slots=True)
class RenewHold:
    """Settles an inference instance's cycle and holds the price of the next cycle, if the balance then covers it."""

    ref: Ref
    used_nanos: int
    """Cost of the cycle that ended."""
    settlement: str | None
    """Description of the refund or overage row of the cycle that ended."""
    amount_nanos: int
    description: str | None
    period: Period | None = None
    """Period of the next cycle. If None, the 24 hours after the cycle that ended."""


@dataclass(frozen=True, slots=True)
class SettleHold:
    """Refunds the unused part of the open hold, or charges the overage."""

    ref: Ref
    used_nanos: int
    description: str | None
    ended_at: datetime | None = None
    """When the instance stopped. If None, the time of posting."""


@dataclass(frozen=True, slots=True)
class ExpireHold:
    """Settles a hold whose owner vanished at exactly the held amount. Writes no row."""

    ref: Ref


@dataclass(frozen=True, slots=True)
class EndCharge:
    """Ends the charge of a resource that is billed without holds, such as a deleted volume. Writes no row."""

    ref: Ref


@dataclass(frozen=True, slots=True)
class AuthorizeUsage:
    """Reserves an amount of the balance. Writes no row."""

    amount_nanos: int
    ttl_seconds: int
    ref_id: str | None = None

    ref: ClassVar[Ref | None] = None


@dataclass(frozen=True, slots=True)
class ReleaseAuthorization:
    """Ends a reservation. Writes no row."""

    number: int

    ref: ClassVar[Ref | None] = None


@dataclass(frozen=True, slots=True)
class Capture:
    """Takes the cost of recorded usage from an authorization."""

    number: int
    is_final: bool
    """Whether the rest is given back."""


Command = Entry | OpenHold | RenewHold | SettleHold | ExpireHold | EndCharge | AuthorizeUsage | ReleaseAuthorization


def digest_of_payload(payload: Any) -> bytes:
    """Returns a digest that tells a repeated call from another call with the same idempotency key."""
    return hashlib.sha256(json.dumps(payload, default=datetime.isoformat, separators=(",", ":")).encode()).digest()


def _digest_of_commands(commands: Sequence[Command]) -> bytes:
    """Returns the digest of each command's type and fields.

    Stored digests never change. They were computed from the output of `json.dumps`. orjson is twenty times as fast and
    writes the same text, except for non-ASCII characters, DEL and numbers beyond 64 bits.
    """
    named = [(type(command).__name__, command) for command in commands]
    try:
        text = orjson.dumps(named, default=datetime.isoformat, option=orjson.OPT_PASSTHROUGH_DATETIME)
    except orjson.JSONEncodeError:
        text = b"\xff"
    if not text.isascii() or b"\x7f" in text:
        return digest_of_payload([[name, asdict(command)] for name, command in named])
    return hashlib.sha256(text).digest()


@dataclass(frozen=True, slots=True)
class Recording:
    """The requests that a call counts, and the charge for the new ones."""

    requests: Sequence[UsageRequest]
    charge: Callable[[Sequence[UsageRequest], Sequence[Verdict]], tuple[Sequence[Command], int]]
    """Returns the commands and the posting's result, given the requests and the verdicts on them. Raises
    BillingError."""
    capture: Capture | None = None
    """The authorization that pays for them."""


@dataclass(frozen=True, slots=True)
class Posting:
    """The commands of one call on one account."""

    account_id: int
    writer: Writer
    commands: Sequence[Command]
    operation: str
    idempotency_key: str | None = None
    payload: Any = None
    """The caller's input as JSON values. Set if the commands depend on it and on the state of the ledger."""
    result: int | None = None
    """A number that belongs to the operation. Replays return it too."""
    recording: Recording | None = None
    """The account's usage to record first. The commands and the result then come from its charge."""

    attribution: Attribution = NOBODY
    """The spender: attribution of the resource that is opened, or of the amount that is reserved."""

    def payload_digest(self) -> bytes:
        if self.payload:
            return digest_of_payload(self.payload)
        digest = _digest_of_commands(self.commands)
        # Digests of calls without attribution are those of earlier releases.
        return digest if self.attribution == NOBODY else digest_of_payload([digest.hex(), *self.attribution])


@dataclass(frozen=True, slots=True)
class Outcome:
    account_id: int
    transactions: tuple[TransactionRow, ...]
    """The rows in order of `seq`; empty if a hold was settled at exactly the held amount."""
    balance_nanos: int
    """The balance after the call."""
    replayed: bool
    """The idempotency key was known: this is the first call's outcome, and nothing was written."""
    to_stop: bool
    """The next cycle's hold could not be paid: the ended cycle is settled, and the instance must be stopped."""
    result: int | None = None
    """The posting's result, as the first call returned it."""
    charges: tuple[ChargeRow, ...] = ()
    """Charges of the posting's resources, after the posting; empty if the call is a replay."""
    authorization: AuthorizationRow | None = None
    """The authorization that the call created, captured or released, after the call."""
    available_nanos: int | None = None
    """The balance less what is reserved, after a call that creates or releases an authorization."""
    exceeded: tuple[SpendLimitRow, ...] = ()
    """Limits that apply to the recorded requests and are exceeded now."""
