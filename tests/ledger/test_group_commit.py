"""Calls that are kept together share a commit, and nothing else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from functools import partial
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import text

from db.errors import NumberOutOfRange
from ledger.batches import Batch
from ledger.commands import Command, Entry, Posting, Ref, digest_of_payload
from ledger.errors import BadUserInput, InsufficientBalance, NotFound
from ledger.group_commit import GroupCommit, _Waiting
from ledger.kinds import RefType, TransactionType
from ledger.money import MAX_NANOS, MIN_NANOS
from ledger.posting import utc_now
from tests.ledger.desk import GPU, SERVICE, Desk, api_usage, correction, open_hold, posting, renew, settle, usd
from tests.ledger.recompute import differences


@pytest.fixture
def backend() -> str:
    return "postgresql"


async def _commits(desk: Desk) -> int:
    """How many transactions wrote the rows that services wrote."""
    statement = "SELECT count(DISTINCT xmin::text) FROM transactions WHERE type <> 'admin_correction'"
    return int((await desk.database.read(text(statement)))[0][0])


async def _at_once(desk: Desk, *postings: Posting) -> list[object]:
    return await asyncio.gather(*(desk.ledger.post(one) for one in postings), return_exceptions=True)


async def test_refused_call_does_not_affect_its_group(desk: Desk) -> None:
    first, second = await desk.account("10.00"), await desk.account("10.00")
    inference = Ref(RefType.INFERENCE_INSTANCE, "i-1")
    answers = await _at_once(
        desk,
        posting(first, open_hold(usd("9.00")), key="a"),
        # Has done most of its work when it is refused, and left a key, a charge and a hold behind in memory.
        posting(
            first, api_usage(1), open_hold(1, inference), renew(1, 1, 1, inference), settle(-1, inference), key="b"
        ),
        posting(second, open_hold(usd("10.01")), key="c"),
        posting(second + 1, api_usage(1), key="d"),
        posting(first, open_hold(usd("1.00"), inference), key="b"),
        posting(first, open_hold(1, Ref(RefType.GPU_INSTANCE, "133")), key="e"),
        posting(first, settle(usd("2.00")), key="f"),
        posting(second, api_usage(1), key="c"),
    )
    kept = [[row.seq for row in one[0].transactions] if isinstance(one, list) else type(one) for one in answers]
    assert kept == [[2], BadUserInput, InsufficientBalance, NotFound, [3], InsufficientBalance, [4], [2]]
    assert await _commits(desk) == 1
    assert await differences(desk.database) == []
    assert (await desk.charge(first, inference)).held_nanos == usd("1.00")
    assert (await desk.charge(first, GPU)).refunded_nanos == usd("7.00")


async def test_call_sent_twice_at_once_is_carried_out_once(desk: Desk) -> None:
    account_id, other = await desk.account("10.00"), await desk.account("10.00")
    same = posting(account_id, api_usage(5), key="k")
    answers = await asyncio.gather(*(desk.ledger.post(one) for one in (same, posting(other, api_usage(1)), same, same)))
    assert sorted(one.replayed for (one,) in answers) == [False, False, True, True]
    assert [row.amount_nanos for row in (await desk.rows(account_id))[1:]] == [-5]


async def test_database_error_of_one_call_does_not_fail_others(desk: Desk) -> None:
    full, other = await desk.account(), await desk.account("1.00")
    there, back = Entry(TransactionType.GPU_USAGE, MIN_NANOS, "There"), Entry(TransactionType.BONUS, MAX_NANOS, "Back")
    await desk.post(full, there, back)
    answers = await _at_once(
        desk, posting(other, api_usage(1)), posting(full, api_usage(1)), posting(other, api_usage(2))
    )
    assert [type(one) for one in answers] == [list, NumberOutOfRange, list]
    assert [row.amount_nanos for row in (await desk.rows(other))[1:]] == [-1, -2]
    assert await differences(desk.database) == []


async def test_locked_account_does_not_delay_other_accounts(desk: Desk) -> None:
    locked, free = await desk.account("1.00"), await desk.account("1.00")
    async with desk.database.write() as connection:
        await connection.execute(text(f"SELECT 1 FROM accounts WHERE id = {locked} FOR UPDATE"))
        waiting, *others = [
            asyncio.create_task(desk.ledger.post(posting(account_id, api_usage(1))))
            for account_id in (locked, free, free)
        ]
        await asyncio.gather(*others)
        assert not waiting.done()
    ((outcome,),) = await asyncio.gather(waiting)
    assert outcome.balance_nanos == usd("1.00") - 1
    assert await differences(desk.database) == []


async def test_cancelled_caller_does_not_affect_others(desk: Desk) -> None:
    account_ids = [await desk.account("1.00") for _ in range(20)]
    tasks = [asyncio.create_task(desk.ledger.post(posting(account_id, api_usage(1)))) for account_id in account_ids]
    await asyncio.sleep(0)
    tasks[0].cancel()
    tasks[7].cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [number for number, one in enumerate(answers) if not isinstance(one, list)] == [0, 7]
    assert await differences(desk.database) == []


async def test_many_small_and_large_calls_on_one_account(desk: Desk) -> None:
    """More than one group takes, and calls that go alone: over two accounts, and of many rows."""
    account_id, other = await desk.account("10.00"), await desk.account("10.00")
    small = [[posting(account_id, api_usage(number), key=f"{number}")] for number in range(1, 201)]
    small[50] = [posting(account_id, api_usage(1)), posting(other, api_usage(1))]
    small[100] = [posting(account_id, *[api_usage(2)] * 300)]
    answers = await asyncio.gather(*(desk.ledger.post(*one) for one in small))
    assert [len(outcome.transactions) for outcomes in answers for outcome in outcomes] == [
        *[1] * 52,
        *[1] * 49,
        300,
        *[1] * 99,
    ]
    rows = await desk.rows(account_id)
    assert [row.seq for row in rows] == list(range(1, 501))
    assert await differences(desk.database) == []


class _Groups:
    """Group commit whose groups end when they are let go."""

    def __init__(self, desk: Desk, monkeypatch: pytest.MonkeyPatch, *, slow_seconds: float, slots: int = 2) -> None:
        self.begun: list[int] = []
        self.let_go = asyncio.Event()
        self._commit = GroupCommit(desk.database, slots)
        monkeypatch.setattr("ledger.group_commit._SLOW_SECONDS", slow_seconds)
        monkeypatch.setattr(self._commit, "_post", partial(self._post, self._commit._post))

    async def have_begun(self, number: int) -> None:
        async with asyncio.timeout(20):
            while len(self.begun) < number:  # noqa: ASYNC110  an event for each number would be more
                await asyncio.sleep(0.01)

    async def _post(self, post: Callable[..., Awaitable[None]], group: Sequence[object], account_ids: set[int]) -> None:
        self.begun.append(len(group))
        await self.let_go.wait()
        await post(group, account_ids)

    def join(self, other: _Groups) -> None:
        """Makes this one's shard and the other's those of a set."""
        self._commit.join([self._commit, other._commit])

    def call(self, account_id: int, commands: int = 1) -> asyncio.Task[object]:
        batch = Batch([posting(account_id, *[api_usage(1)] * commands)], utc_now)
        return asyncio.ensure_future(self._commit.post(batch))


async def test_calls_wait_for_the_group_in_progress(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    groups = _Groups(desk, monkeypatch, slow_seconds=60)
    calls = [groups.call(await desk.account("1.00")) for _ in range(4)]
    groups.let_go.set()
    assert None not in await asyncio.gather(*calls)
    assert groups.begun == [1, 3]


async def _arriving(groups: _Groups, account_ids: Sequence[int]) -> list[asyncio.Task[object]]:
    """Calls that come in turns of the event loop, as they are read from their connections."""
    calls = []
    for account_id in account_ids:
        calls.append(groups.call(account_id))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    return calls


async def test_a_group_gathers_calls_while_another_shard_s_is_in_progress(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.group_commit._GATHER_SECONDS", 10)
    groups, others = (_Groups(desk, monkeypatch, slow_seconds=60) for _ in range(2))
    groups.join(others)
    accounts = [await desk.account("1.00") for _ in range(9)]
    groups.let_go.set()
    # No group is in progress on the other shard.
    calls = await _arriving(groups, accounts[:4])
    assert None not in await asyncio.gather(*calls)
    assert groups.begun[0] == 1

    groups.begun.clear()
    slow = others.call(accounts[8])
    await others.have_begun(1)
    calls = await _arriving(groups, accounts[:8])
    assert None not in await asyncio.gather(*calls)
    assert groups.begun == [8]
    # The other one's end is not waited for.
    assert not slow.done()
    others.let_go.set()
    assert await slow is not None


async def test_a_group_gathers_calls_for_a_limited_time(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    groups, others = (_Groups(desk, monkeypatch, slow_seconds=60) for _ in range(2))
    groups.join(others)
    accounts = [await desk.account("1.00") for _ in range(40)]
    slow = others.call(accounts[0])
    await others.have_begun(1)
    calls = []
    for account_id in accounts[1:]:
        calls.append(groups.call(account_id))
        # Reading a call takes the process's time.
        time.sleep(0.002)  # noqa: ASYNC251
        await asyncio.sleep(0)
    assert groups.begun
    assert groups.begun[0] < len(accounts) - 1
    for one in (groups, others):
        one.let_go.set()
    assert None not in await asyncio.gather(slow, *calls)


async def test_a_group_begins_beside_a_slow_one(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    groups = _Groups(desk, monkeypatch, slow_seconds=0.01)
    accounts = [await desk.account("1.00") for _ in range(4)]
    calls = [groups.call(accounts[0])]
    await groups.have_begun(1)
    for account_id in accounts[1:]:
        await asyncio.sleep(0.1)
        calls.append(groups.call(account_id))
    await groups.have_begun(2)
    await asyncio.sleep(0.1)
    # Two at once: no more than there are connections.
    assert groups.begun == [1, 1]
    groups.let_go.set()
    assert None not in await asyncio.gather(*calls)
    assert groups.begun == [1, 1, 2]


async def test_groups_begin_beside_several_slow_ones(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls that came at once, of which the first two are too large for one group: no further call comes."""
    groups = _Groups(desk, monkeypatch, slow_seconds=0.01, slots=3)
    calls = [groups.call(await desk.account("1.00"), commands) for commands in (257, 257, 1)]
    await groups.have_begun(3)
    assert groups.begun == [1, 1, 1]
    groups.let_go.set()
    assert None not in await asyncio.gather(*calls)


@pytest.mark.parametrize(
    ("slots", "callers", "slow_seconds"), [(1, 1, 0.02), (1, 5, 0.02), (3, 5, 0.02), (3, 5, 0.003), (3, 5, 0)]
)
async def test_every_call_is_answered_under_random_cancellation(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, slots: int, callers: int, slow_seconds: float
) -> None:
    """A call is also answered if it arrives at the moment when a slot ends."""
    monkeypatch.setattr("ledger.group_commit._SLOW_SECONDS", slow_seconds)
    random = Random(5)
    account_ids = [await desk.account("1.00") for _ in range(4)]
    group_commit = GroupCommit(desk.database, slots)

    async def caller() -> None:
        for _ in range(60):
            for _ in range(random.randint(0, 6)):
                await asyncio.sleep(0)
            outcomes = await group_commit.post(Batch([posting(random.choice(account_ids), api_usage(1))], utc_now))
            assert outcomes is not None

    async with asyncio.timeout(120):
        await asyncio.gather(*(caller() for _ in range(callers)))
    assert await differences(desk.database) == []


@pytest.mark.parametrize(
    "words", ["NULL", "null", '"', "\\", '\\"', "{a,b}", "a,b", " x ", "é 日本 \U0001f600", "\\x00"]
)
async def test_texts_are_stored_unchanged(desk: Desk, words: str) -> None:
    account_id = await desk.account("1.00")
    ref = Ref(RefType.API_USAGE, words)
    entry = Entry(TransactionType.GPU_USAGE, -1, words, ref=ref)
    await asyncio.gather(*(desk.post(account_id, entry, key=f"{words}{number}") for number in range(2)))
    kept = [(row.description, row.ref_id) for row in await desk.rows(account_id)]
    assert kept[1:] == [(words, words)] * 2
    assert sorted(one.key for one in (await desk.tables()).calls) == [f"{words}0", f"{words}1"]


def _moves() -> st.SearchStrategy[Command]:
    texts, numbers = st.text(max_size=8), st.integers(-(2**65), 2**65)
    kinds = st.sampled_from(TransactionType)
    refs = st.none() | st.builds(Ref, st.sampled_from(RefType), texts)
    entries = st.builds(Entry, kinds, numbers, texts, refs, st.none(), st.none() | st.integers(1, 9))
    return entries | st.builds(open_hold, numbers) | st.builds(settle, numbers, ended_at=st.none() | st.datetimes())


@given(st.lists(_moves(), min_size=1, max_size=3))
@example([Entry(TransactionType.TOPUP, 0, "\x7f")])
def test_payload_digest_is_unchanged(commands: list[Command]) -> None:
    was = digest_of_payload([[type(command).__name__, asdict(command)] for command in commands])
    assert Posting(1, SERVICE, commands, "post").payload_digest() == was


def test_command_digest_is_unchanged_since_its_release() -> None:
    released = "864b0f05179cf00f60cf68587457c1123d30b55a4f420919642558ddabe748ed"
    commands: list[Command] = [correction(5), open_hold(usd("1.00"))]
    assert Posting(1, SERVICE, commands, "post").payload_digest().hex() == released


async def test_call_without_rows_on_an_empty_account_is_stored(desk: Desk) -> None:
    account_id = await desk.account()
    call = Posting(account_id, SERVICE, (), "count", "k", payload=["free"], result=3)
    assert [(await desk.ledger.post(call))[0].replayed for _ in range(2)] == [False, True]
    assert await differences(desk.database) == []


async def test_stopping_process_answers_no_call(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    account_id = await desk.account("1.00")
    group_commit = GroupCommit(desk.database)
    waiting = _Waiting(Batch([posting(account_id, api_usage(1))], utc_now))

    async def stop(*_arguments: object) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(group_commit, "_changes", stop)
    with pytest.raises(asyncio.CancelledError):
        await group_commit._post([waiting], {account_id})
    assert waiting.answer.cancelled()
