"""Batches of postings, carried out in memory on the states of their accounts."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from datetime import datetime
from typing import Final, NamedTuple

from db import writes
from db.clocks import Clock as Clock
from db.database import WriteConnection
from db.limit_rows import AuthorizationRow, SpendLimitRow
from db.limits import read_authorizations
from db.posting.state import ChangeSet, PostingKeys, StoredState
from db.rows import IdempotencyRow
from ledger import authorizations
from ledger.account_state import AccountMark, AccountState, check_ref, sum_by_hour, sum_by_month
from ledger.attribution import Attribution
from ledger.commands import AuthorizeUsage, OpenHold, Outcome, Posting, ReleaseAuthorization, RenewHold
from ledger.errors import BadUserInput, IdempotencyConflict, NotFound
from ledger.ids import account_id_text
from ledger.kinds import RESOURCES
from ledger.rules import apply
from ledger.texts import IDEMPOTENCY_KEY
from ledger.usage import Recorder, UsageRequest, request_key

CallKey = tuple[int, str, str]

MAX_COMMANDS: Final = 10_000


def _call_key(posting: Posting) -> CallKey | None:
    if posting.idempotency_key is None:
        return None
    IDEMPOTENCY_KEY.checked(posting.idempotency_key, "idempotencyKey")
    return posting.account_id, posting.operation, posting.idempotency_key


def _requests(posting: Posting) -> int:
    return len(posting.recording.requests) if posting.recording else 0


def _check_size(postings: Sequence[Posting]) -> int:
    """Returns the number of commands plus the number of requests to record."""
    commands = sum(len(posting.commands) + _requests(posting) for posting in postings)
    if commands > MAX_COMMANDS or not (commands or any(posting.payload for posting in postings)):
        msg = f"a call must have 1 to {MAX_COMMANDS} commands, not {commands}"
        raise BadUserInput(msg)
    return commands


def _carry_out(state: AccountState, posting: Posting, recorder: Recorder, moment: datetime) -> Outcome:
    state.begin(moment, posting.attribution)
    before, recorded = len(state.rows), recorder.mark()
    commands, result, to_stop = posting.commands, posting.result, False
    requests = _attributed_requests(state, posting)
    if posting.recording is not None:
        commands, result = posting.recording.charge(requests, recorder.record(requests))
    for command in commands:
        to_stop |= apply(state, posting.writer, command)
    rows = tuple(state.rows[before:])
    if rows and posting.recording is not None:
        recorder.charged(recorded, rows[0].seq)
    number = _authorization_number(state, posting, -sum(row.amount_nanos for row in rows))
    keys = dict.fromkeys(state.key(command.ref) for command in commands if command.ref is not None)
    charges = tuple(state.charges[key] for key in keys if key in state.charges)
    return Outcome(
        posting.account_id,
        rows,
        state.balance_nanos,
        replayed=False,
        to_stop=to_stop,
        result=number if posting.recording is None and number is not None else result,
        charges=charges,
        authorization=None if number is None else state.spending.authorizations[number],
        available_nanos=_available(state, posting),
        exceeded=_exceeded(state, requests),
    )


def _attributed_requests(state: AccountState, posting: Posting) -> Sequence[UsageRequest]:
    if posting.recording is None:
        return ()
    requests, capture = posting.recording.requests, posting.recording.capture
    return requests if capture is None else authorizations.attributed(state, capture, requests)


def _authorization_number(state: AccountState, posting: Posting, cost_nanos: int) -> int | None:
    """Returns the number of the authorization that the posting created, released or captures now; None without one."""
    if posting.recording is not None and posting.recording.capture is not None:
        return authorizations.capture(state, posting.recording.capture, cost_nanos).number
    for command in posting.commands:
        if isinstance(command, ReleaseAuthorization):
            return command.number
        if isinstance(command, AuthorizeUsage):
            return max(state.spending.authorizations)
    return None


def _available(state: AccountState, posting: Posting) -> int | None:
    """Returns the balance less what is reserved, for calls that create or release an authorization."""
    if not any(isinstance(command, AuthorizeUsage | ReleaseAuthorization) for command in posting.commands):
        return None
    return state.balance_nanos - state.spending.reserved_nanos


def _exceeded(state: AccountState, requests: Sequence[UsageRequest]) -> tuple[SpendLimitRow, ...]:
    """Returns the limits that apply to the requests and are exceeded."""
    if not state.spending.limits:
        return ()
    spenders = {Attribution(one.api_key, one.project) for one in requests}
    standings = (one for who in spenders for one in state.spending.standings(who, state.now))
    found = {one.limit.number: one.limit for one in standings if one.spent_nanos > one.limit.amount_nanos}
    return tuple(found[number] for number in sorted(found))


def _remembered(key: CallKey, posting: Posting, outcome: Outcome, state: AccountState) -> IdempotencyRow:
    return IdempotencyRow(
        *key,
        payload_digest=posting.payload_digest(),
        first_seq=state.head_seq - len(outcome.transactions) + 1,
        last_seq=state.head_seq,
        balance_nanos=outcome.balance_nanos,
        to_stop=outcome.to_stop,
        created_at=state.now,
        result=outcome.result,
    )


async def _replayed(
    connection: WriteConnection | None, posting: Posting, call: IdempotencyRow, state: AccountState
) -> Outcome:
    if call.payload_digest != posting.payload_digest():
        msg = f"the idempotency key was used for another {posting.operation} call with another payload"
        raise IdempotencyConflict(msg)
    rows = [row for row in state.rows if call.first_seq <= row.seq <= call.last_seq]
    if not rows and call.first_seq <= call.last_seq:
        assert connection is not None
        rows = await writes.rows_between(connection, posting.account_id, call.first_seq, call.last_seq)
    authorization = await _replayed_authorization(connection, posting, call, state)
    requests = posting.recording.requests if posting.recording else ()
    return Outcome(
        posting.account_id,
        tuple(rows),
        call.balance_nanos,
        replayed=True,
        to_stop=call.to_stop,
        result=call.result,
        authorization=authorization,
        available_nanos=_available(state, posting),
        exceeded=_exceeded(
            state, requests if authorization is None else authorizations.with_attribution(authorization, requests)
        ),
    )


async def _replayed_authorization(
    connection: WriteConnection | None, posting: Posting, call: IdempotencyRow, state: AccountState
) -> AuthorizationRow | None:
    """Returns the current state of the authorization that the first call created, released or captured."""
    number = next((named[1] for named in _named_authorizations(posting)), None)
    if any(isinstance(command, AuthorizeUsage) for command in posting.commands):
        number = call.result
    if number is None:
        return None
    known = state.spending.authorizations.get(number)
    if known is None and connection is not None:
        known = next(iter(await read_authorizations(connection, [(posting.account_id, number)])), None)
    return known


class Mark(NamedTuple):
    """A saved point of all account states, for `AccountStates.undo`."""

    states: list[tuple[AccountState, AccountMark]]
    calls: int
    recorded: int


class AccountStates:
    """The states of the opened accounts, and the known calls on them."""

    def __init__(self, stored: StoredState) -> None:
        self.of_accounts = {account.id: AccountState(account) for account in stored.accounts.values()}
        for key, charge in stored.charges.items():
            self.of_accounts[key[0]].charges[key] = charge
        for key, hold in stored.holds.items():
            self.of_accounts[key[0]].holds[key] = hold
        for limit in stored.limits:
            self.of_accounts[limit.account_id].spending.limits[limit.number] = limit
        for row in stored.authorizations:
            self.of_accounts[row.account_id].spending.authorizations[row.number] = row
        # A posting may name an account that does not exist.
        for account_id in self.of_accounts.keys() & stored.reserved.keys():
            self.of_accounts[account_id].spending.open(stored.reserved[account_id])
        for newest in stored.newest.values():
            self.of_accounts[newest.account_id].spending.follow(newest)
        self.calls = dict(stored.calls)
        self.recorder = Recorder(stored.requests, stored.days)
        self._new_calls: list[IdempotencyRow] = []

    def of(self, posting: Posting) -> AccountState:
        """Returns the state of the posting's account. Raises NotFound."""
        state = self.of_accounts.get(posting.account_id)
        if state is None:
            msg = f"there is no account {account_id_text(posting.account_id)}"
            raise NotFound(msg)
        return state

    def remember(self, call: IdempotencyRow) -> None:
        self.calls[call[:3]] = call
        self._new_calls.append(call)

    def mark(self, account_ids: Collection[int]) -> Mark:
        found = (self.of_accounts.get(account_id) for account_id in account_ids)
        states = [(state, state.mark()) for state in found if state is not None]
        return Mark(states, len(self._new_calls), self.recorder.mark())

    def undo(self, mark: Mark) -> None:
        """Undoes all changes since the mark, for a batch that was refused."""
        for state, state_mark in mark.states:
            state.undo(state_mark)
        for call in self._new_calls[mark.calls :]:
            del self.calls[call[:3]]
        del self._new_calls[mark.calls :]
        self.recorder.undo(mark.recorded)

    def changes(self) -> ChangeSet:
        """Returns all changes to write. Raises NumberOutOfRange."""
        states = list(self.of_accounts.values())
        recorded = self.recorder.recorded()
        called = {call.account_id for call in self._new_calls} | {key[0] for key in recorded.requests}
        increments = [*recorded.months, *(one for state in states for one in state.increments)]
        return ChangeSet(
            heads=[state.head() for state in states if state.has_changed or state.account.id in called],
            rows=[row for state in states for row in state.rows],
            charges=[state.charges[key] for state in states for key in sorted(state.changed_charges)],
            holds=[hold for state in states for _, hold in sorted(state.changed_holds.items())],
            months=sorted(sum_by_month(increments)),
            calls=self._new_calls,
            requests=recorded.requests,
            days=recorded.days,
            costs=sum_by_hour(one for state in states for one in state.costs),
            hours=recorded.hours,
            prices=recorded.prices,
            details=recorded.details,
            authorizations=[
                state.spending.authorizations[number]
                for state in states
                for number in sorted(state.spending.changed_authorizations)
            ],
            limits=[
                state.spending.limits[number] for state in states for number in sorted(state.spending.changed_limits)
            ],
            limit_events=[event for state in states for event in state.spending.events],
        )


def _needs_reserved(posting: Posting) -> bool:
    """Returns whether the posting depends on what is reserved: it commits part of the balance, or reports the rest."""
    return any(
        isinstance(command, OpenHold | RenewHold | AuthorizeUsage | ReleaseAuthorization)
        for command in posting.commands
    )


def _named_authorizations(posting: Posting) -> Iterator[tuple[int, int]]:
    for command in posting.commands:
        if isinstance(command, ReleaseAuthorization):
            yield posting.account_id, command.number
    if posting.recording is not None and posting.recording.capture is not None:
        yield posting.account_id, posting.recording.capture.number


class Batch:
    """The postings of one call. Either all of them are carried out, or none."""

    def __init__(self, postings: Sequence[Posting], clock: Clock) -> None:
        """Raises BadUserInput."""
        self.size = _check_size(postings)
        self._postings = [(posting, _call_key(posting)) for posting in postings]
        self._clock = clock
        account_ids = {posting.account_id for posting in postings}
        recorded = [one for posting in postings if posting.recording for one in posting.recording.requests]
        assert account_ids.issuperset(one.account_id for one in recorded)
        refs = [
            (posting.account_id, command.ref)
            for posting in postings
            for command in posting.commands
            if command.ref is not None
        ]
        for ref in {ref for _, ref in refs}:
            check_ref(ref)
        self.keys = PostingKeys(
            accounts=account_ids,
            calls={key for _, key in self._postings if key},
            charges={(account_id, str(ref.type), ref.id) for account_id, ref in refs if ref.type in RESOURCES},
            requests=set(map(request_key, recorded)),
            days={one[:5] for one in recorded},
            authorizations={key for posting in postings for key in _named_authorizations(posting)},
            reserved={posting.account_id for posting in postings if _needs_reserved(posting)},
        )

    @property
    def account_ids(self) -> Set[int]:
        return self.keys.accounts

    def now(self) -> datetime:
        return self._clock()

    def has_known_call(self, calls: Mapping[CallKey, IdempotencyRow]) -> bool:
        return not self.keys.calls.isdisjoint(calls)

    async def carry_out(self, states: AccountStates, connection: WriteConnection | None = None) -> list[Outcome]:
        """Carries out the postings and returns their outcomes. An error leaves the changes made before it in the
        states.

        The connection is needed to read the rows of calls that are replayed.
        """
        for posting, _ in self._postings:
            states.of(posting)
        outcomes: list[Outcome] = []
        for posting, key in self._postings:
            state = states.of(posting)
            if key and key in states.calls:
                # The limits that are exceeded are those of now, not of the first call.
                state.begin(self._clock())
                outcomes.append(await _replayed(connection, posting, states.calls[key], state))
                continue
            outcome = _carry_out(state, posting, states.recorder, self._clock())
            outcomes.append(outcome)
            if key:
                states.remember(_remembered(key, posting, outcome, state))
        return outcomes
