"""Authorizations: reserve an amount of the balance, capture usage from it, and release the rest.

An authorization writes no row. It ends by its last capture, by its release, or at the time that it expires.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from db.limit_rows import AuthorizationRow
from ledger.account_state import AccountState
from ledger.attribution import Attribution
from ledger.commands import AuthorizeUsage, Capture
from ledger.errors import BadUserInput, Conflict, InsufficientBalance, LimitExceeded, NotFound
from ledger.ids import account_id_text, authorization_id_text, spend_limit_id_text
from ledger.kinds import AccountStatus
from ledger.money import format_nanos, in_range
from ledger.spending import Standing, scope_of
from ledger.texts import REF_ID
from ledger.usage import UsageRequest

LONGEST_SECONDS: Final = 86_400
DEFAULT_SECONDS: Final = 300


class AuthorizationState(StrEnum):
    OPEN = "open"
    CAPTURED = "captured"
    RELEASED = "released"
    EXPIRED = "expired"
    """Never stored: an open authorization whose time is over."""


def state_of(row: AuthorizationRow, moment: datetime) -> AuthorizationState:
    state = AuthorizationState(row.state)
    is_over = state is AuthorizationState.OPEN and row.expires_at <= moment
    return AuthorizationState.EXPIRED if is_over else state


def check_active(state: AccountState, what: str) -> None:
    """Raises InsufficientBalance for a suspended account."""
    if state.account.status == AccountStatus.SUSPENDED:
        msg = f"{account_id_text(state.account.id)} is suspended: it cannot open {what}s"
        raise InsufficientBalance(msg)


def check_affordable(state: AccountState, amount_nanos: int, what: str) -> None:
    """Checks the amount against balance and limits. Raises InsufficientBalance and LimitExceeded."""
    reserved = state.spending.reserved_nanos
    if state.balance_nanos - reserved < amount_nanos:
        less = f" less the {format_nanos(reserved)} reserved by authorizations" if reserved else ""
        msg = (
            f"the balance of {format_nanos(state.balance_nanos)}{less} does not cover"
            f" the {what} of {format_nanos(amount_nanos)}"
        )
        raise InsufficientBalance(msg)
    exceeded = limit_exceeded(state, state.attribution, amount_nanos, what)
    if exceeded is not None:
        raise exceeded


def limit_exceeded(state: AccountState, attribution: Attribution, amount_nanos: int, what: str) -> LimitExceeded | None:
    """Returns the refusal by the limit that allows least, or None if all allow the amount.

    Of limits that allow the same, the one that resets last: no call passes before it does.
    """
    standings = list(state.spending.standings(attribution, state.now))
    least = min(standings, key=_allowance, default=None)
    if least is None or least.remaining_nanos >= amount_nanos:
        return None
    limit_id = spend_limit_id_text(state.account.id, least.limit.number)
    msg = (
        f"the spend limit {limit_id} of {format_nanos(least.limit.amount_nanos)} does not allow"
        f" the {what} of {format_nanos(amount_nanos)}: {format_nanos(least.remaining_nanos)} remains"
    )
    return LimitExceeded(msg, limit_id, format_nanos(least.remaining_nanos), least.resets_at)


def _allowance(one: Standing) -> tuple[int, bool, float, int]:
    reset = one.resets_at
    return one.remaining_nanos, reset is not None, -reset.timestamp() if reset else 0, one.limit.number


def authorize(state: AccountState, command: AuthorizeUsage) -> AuthorizationRow:
    """Reserves the amount. Raises BadUserInput, InsufficientBalance and LimitExceeded."""
    if command.amount_nanos <= 0:
        raise BadUserInput("the amount of an authorization must be positive")
    in_range(command.amount_nanos, "the amount")
    if not 1 <= command.ttl_seconds <= LONGEST_SECONDS:
        msg = f"ttlSeconds must be 1 to {LONGEST_SECONDS}, not {command.ttl_seconds}"
        raise BadUserInput(msg)
    if command.ref_id is not None:
        REF_ID.checked(command.ref_id, "refId")
    check_active(state, "authorization")
    check_affordable(state, command.amount_nanos, "authorization")
    row = AuthorizationRow(
        account_id=state.account.id,
        number=0,
        state=AuthorizationState.OPEN.value,
        amount_nanos=command.amount_nanos,
        captured_nanos=0,
        created_at=state.now,
        expires_at=state.now + timedelta(seconds=command.ttl_seconds),
        closed_at=None,
        api_key=state.attribution.api_key,
        project=state.attribution.project,
        ref_id=command.ref_id,
    )
    return state.spending.reserve(row)


def release(state: AccountState, number: int) -> AuthorizationRow:
    """Gives back what is still reserved. Raises NotFound and Conflict."""
    row = _known(state, number)
    if row.state != AuthorizationState.OPEN:
        msg = f"{authorization_id_text(*row[:2])} is already {row.state}"
        raise Conflict(msg)
    released = row._replace(state=AuthorizationState.RELEASED.value, closed_at=state.now)
    state.spending.replace(released, state.now)
    return released


def _known(state: AccountState, number: int) -> AuthorizationRow:
    row = state.spending.authorizations.get(number)
    if row is None:
        msg = f"there is no authorization {authorization_id_text(state.account.id, number)}"
        raise NotFound(msg)
    return row


def attributed(state: AccountState, capture: Capture, requests: Iterable[UsageRequest]) -> list[UsageRequest]:
    """Returns the requests with the attribution of the authorization where they name none.

    Raises NotFound, Conflict if the authorization has ended, and BadUserInput if a request names another attribution.
    """
    row = _known(state, capture.number)
    found = state_of(row, state.now)
    if found is not AuthorizationState.OPEN:
        msg = (
            f"{authorization_id_text(*row[:2])} is already {found}:"
            " record the usage without authorizationId, which charges it all the same"
        )
        raise Conflict(msg)
    return with_attribution(row, requests)


def with_attribution(row: AuthorizationRow, requests: Iterable[UsageRequest]) -> list[UsageRequest]:
    return [_attributed(row, number, request) for number, request in enumerate(requests)]


def _attributed(row: AuthorizationRow, number: int, request: UsageRequest) -> UsageRequest:
    api_key, project = request.api_key or row.api_key, request.project or row.project
    if not scope_of(row).covers(Attribution(api_key, project)):
        msg = f"requests[{number}] must have the apiKeyId and project of {authorization_id_text(*row[:2])}, or none"
        raise BadUserInput(msg)
    return request._replace(api_key=api_key, project=project)


def capture(state: AccountState, command: Capture, cost_nanos: int) -> AuthorizationRow:
    """Takes the cost from the authorization. It may exceed what is reserved: the excess is owed all the same."""
    row = _known(state, command.number)
    captured = in_range(row.captured_nanos + cost_nanos, "what was captured")
    changed = row._replace(captured_nanos=captured)
    if command.is_final or captured >= row.amount_nanos:
        changed = changed._replace(state=AuthorizationState.CAPTURED.value, closed_at=state.now)
    state.spending.replace(changed, state.now)
    return changed
