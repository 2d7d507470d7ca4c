"""Authorizations and spend limits within posting: what is reserved, captured, released, limited and refused."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import insert, select

from db.database import Database
from db.limit_rows import SpendLimitEventRow, SpendLimitRow
from db.limit_tables import spend_limit_events, spend_limits
from ledger.attribution import NOBODY, Attribution
from ledger.authorizations import LONGEST_SECONDS, AuthorizationState, state_of
from ledger.commands import AuthorizeUsage, Capture, Command, Outcome, Posting, ReleaseAuthorization
from ledger.errors import BadUserInput, BillingError, Conflict, InsufficientBalance, LimitExceeded, NotFound
from ledger.kinds import UsageCategory, UsageOrigin
from ledger.metering import MeteredRequest, UsageBatch, usage_posting
from ledger.windows import SpendWindow, window_start
from tests.ledger.desk import DAY, GPU, INFERENCE, SERVICE, START, Desk, open_hold, renew, settle, usd

KEY = Attribution("key-1")


async def authorize(desk: Desk, account_id: int, amount: str, who: Attribution = NOBODY, seconds: int = 300) -> Outcome:
    return await send(desk, account_id, AuthorizeUsage(usd(amount), seconds), who)


async def send(desk: Desk, account_id: int, command: Command, who: Attribution = NOBODY) -> Outcome:
    posting = Posting(account_id, SERVICE, (command,), "test", attribution=who)
    (outcome,) = await desk.ledger.post(posting)
    return outcome


async def record(
    desk: Desk,
    account_id: int,
    name: str,
    cost: str,
    *,
    authorization: int | None = None,
    final: bool = True,
    key: str | None = None,
) -> Outcome:
    one = MeteredRequest(name, desk.now, "large", UsageCategory.CHAT, UsageOrigin.PLATFORM, 10, 2, usd(cost), key)
    capture = None if authorization is None else Capture(authorization, final)
    batch = UsageBatch([one], capture=capture)
    (outcome,) = await desk.ledger.post(usage_posting(account_id, SERVICE, name, batch, desk.now))
    return outcome


async def put_limit(
    database: Database,
    account_id: int,
    number: int,
    amount: str,
    who: Attribution = NOBODY,
    window: SpendWindow = SpendWindow.MONTH,
) -> None:
    row = SpendLimitRow(
        *(account_id, number, *who, window.value, usd(amount), "50,80,100", START, START, None),
        *(0, window_start(window, START), 0),
    )
    async with database.write() as connection:
        await connection.execute(insert(spend_limits), [row._asdict()])


async def limits(database: Database) -> list[SpendLimitRow]:
    async with database.snapshot() as snapshot:
        columns = [spend_limits.c[name] for name in SpendLimitRow._fields]
        return [SpendLimitRow._make(row) for row in await snapshot.rows(select(*columns).order_by(columns[1]))]


async def events(database: Database) -> list[SpendLimitEventRow]:
    async with database.snapshot() as snapshot:
        columns = [spend_limit_events.c[name] for name in SpendLimitEventRow._fields]
        return [SpendLimitEventRow._make(row) for row in await snapshot.rows(select(*columns).order_by(*columns))]


async def test_authorization_reserves_without_a_row(desk: Desk) -> None:
    account_id = await desk.account("10.00")
    outcome = await authorize(desk, account_id, "6.00", KEY, 60)
    row = outcome.authorization
    assert row is not None
    assert (outcome.transactions, outcome.balance_nanos, outcome.available_nanos) == ((), usd("10.00"), usd("4.00"))
    assert (row.number, row.amount_nanos, row.captured_nanos) == (1, usd("6.00"), 0)
    assert (row.created_at, row.expires_at, row.closed_at) == (desk.now, desk.now + timedelta(seconds=60), None)
    assert (row.api_key, row.project) == KEY
    second = (await authorize(desk, account_id, "4.00")).authorization
    assert second is not None
    assert second.number == 2


@pytest.mark.parametrize("command", [AuthorizeUsage(usd("4.01"), 60), open_hold(usd("4.01"))], ids=["usage", "hold"])
async def test_reserved_amounts_are_not_available(desk: Desk, command: Command) -> None:
    account_id = await desk.account("10.00")
    await authorize(desk, account_id, "6.00")
    with pytest.raises(InsufficientBalance, match=r"less the 6\.00 reserved by authorizations does not cover"):
        await send(desk, account_id, command)


@pytest.mark.parametrize("command", [AuthorizeUsage(1, 60), open_hold(1), ReleaseAuthorization(1)])
async def test_account_that_does_not_exist_is_not_found(desk: Desk, command: Command) -> None:
    with pytest.raises(NotFound, match="there is no account acct_999"):
        await send(desk, 999, command)


async def test_expired_authorization_reserves_nothing_though_nothing_ran(desk: Desk) -> None:
    account_id = await desk.account("10.00")
    first = (await authorize(desk, account_id, "10.00", seconds=60)).authorization
    assert first is not None
    desk.now += timedelta(seconds=60)
    assert (await authorize(desk, account_id, "10.00")).available_nanos == 0
    assert state_of(first, desk.now) is AuthorizationState.EXPIRED
    with pytest.raises(Conflict, match="already expired: record the usage without authorizationId"):
        await record(desk, account_id, "late", "1.00", authorization=1)
    # A release after the end frees nothing twice.
    assert (await send(desk, account_id, ReleaseAuthorization(1))).available_nanos == 0


async def test_capture_charges_and_gives_the_rest_back(desk: Desk) -> None:
    account_id = await desk.account("10.00")
    await authorize(desk, account_id, "6.00", KEY)
    outcome = await record(desk, account_id, "one", "2.50", authorization=1)
    row = outcome.authorization
    assert row is not None
    assert (row.state, row.captured_nanos, row.closed_at) == ("captured", usd("2.50"), desk.now)
    assert [(one.amount_nanos, one.api_key) for one in outcome.transactions] == [(-usd("2.50"), "key-1")]
    assert (await authorize(desk, account_id, "7.50")).available_nanos == 0
    with pytest.raises(Conflict, match="already captured"):
        await record(desk, account_id, "two", "1.00", authorization=1)
    again = await record(desk, account_id, "one", "2.50", authorization=1)
    assert (again.replayed, again.authorization) == (True, row)


async def test_lease_is_captured_bit_by_bit(desk: Desk) -> None:
    account_id = await desk.account("10.00")
    await authorize(desk, account_id, "6.00")
    await record(desk, account_id, "one", "2.00", authorization=1, final=False)
    outcome = await record(desk, account_id, "two", "3.00", authorization=1, final=False)
    assert outcome.authorization is not None
    assert (outcome.authorization.state, outcome.authorization.captured_nanos) == ("open", usd("5.00"))
    assert (await send(desk, account_id, ReleaseAuthorization(1))).available_nanos == usd("5.00")


async def test_capture_beyond_the_amount_is_owed(desk: Desk) -> None:
    account_id = await desk.account("10.00")
    await authorize(desk, account_id, "6.00")
    outcome = await record(desk, account_id, "one", "11.00", authorization=1, final=False)
    assert outcome.authorization is not None
    assert (outcome.authorization.state, outcome.authorization.captured_nanos) == ("captured", usd("11.00"))
    assert outcome.balance_nanos == -usd("1.00")


async def test_captured_usage_must_be_that_of_the_authorization(desk: Desk) -> None:
    account_id = await desk.account("10.00")
    await authorize(desk, account_id, "1.00", KEY)
    with pytest.raises(BadUserInput, match=r"^requests\[0\] must have the apiKeyId and project of auth_"):
        await record(desk, account_id, "one", "1.00", authorization=1, key="key-2")
    await record(desk, account_id, "one", "1.00", authorization=1, key="key-1")
    with pytest.raises(NotFound, match="there is no authorization"):
        await record(desk, account_id, "two", "1.00", authorization=2)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (AuthorizeUsage(0, 60), "the amount of an authorization must be positive"),
        (AuthorizeUsage(1, 0), f"ttlSeconds must be 1 to {LONGEST_SECONDS}, not 0"),
        (AuthorizeUsage(1, LONGEST_SECONDS + 1), f"ttlSeconds must be 1 to {LONGEST_SECONDS}, not 86401"),
        (AuthorizeUsage(1, 60, "x" * 201), "refId must have at most 200 characters, not 201"),
    ],
)
async def test_bad_authorizations_are_refused(desk: Desk, command: Command, message: str) -> None:
    account_id = await desk.account("10.00")
    with pytest.raises(BadUserInput, match=f"^{message}"):
        await send(desk, account_id, command)


async def test_replayed_authorization_is_the_first_one(desk: Desk) -> None:
    account_id = await desk.account("10.00")
    posting = Posting(account_id, SERVICE, (AuthorizeUsage(usd("6.00"), 60),), "authorizeUsage", "k")
    (first,) = await desk.ledger.post(posting)
    (again,) = await desk.ledger.post(posting)
    assert (again.replayed, again.authorization, again.available_nanos) == (True, first.authorization, usd("4.00"))


@pytest.mark.parametrize("who", [NOBODY, KEY], ids=["account", "key"])
async def test_limit_refuses_what_exceeds_it(desk: Desk, who: Attribution) -> None:
    account_id = await desk.account("100.00")
    await put_limit(desk.database, account_id, 1, "10.00", who)
    await authorize(desk, account_id, "4.00", KEY)
    await record(desk, account_id, "one", "5.00", key="key-1")
    with pytest.raises(LimitExceeded) as refusal:
        await authorize(desk, account_id, "1.01", KEY)
    limit_id = f"limit_{account_id}_1"
    assert str(refusal.value) == (
        f"the spend limit {limit_id} of 10.00 does not allow the authorization of 1.01: 1.00 remains"
    )
    assert (refusal.value.limit, refusal.value.remaining) == (limit_id, "1.00")
    assert refusal.value.resets_at == START.replace(month=12)
    assert (await authorize(desk, account_id, "1.00", KEY)).available_nanos == usd("90.00")


async def test_limit_of_a_key_leaves_others_alone(desk: Desk) -> None:
    account_id = await desk.account("100.00")
    await put_limit(desk.database, account_id, 1, "10.00", KEY)
    await record(desk, account_id, "one", "50.00", key="key-2")
    await authorize(desk, account_id, "20.00", Attribution("key-2"))
    await authorize(desk, account_id, "10.00", Attribution("key-1", "project"))
    assert [limit.spent_nanos for limit in await limits(desk.database)] == [0]


async def test_usage_without_authorization_exceeds_limits_and_says_so(desk: Desk) -> None:
    account_id = await desk.account("100.00")
    await put_limit(desk.database, account_id, 1, "10.00", KEY)
    await put_limit(desk.database, account_id, 2, "40.00")
    outcome = await record(desk, account_id, "one", "10.01", key="key-1")
    assert [limit.number for limit in outcome.exceeded] == [1]
    assert outcome.balance_nanos == usd("89.99")
    again = await record(desk, account_id, "one", "10.01", key="key-1")
    assert (again.replayed, again.exceeded) == (True, outcome.exceeded)


async def test_levels_are_noted_once_a_window(desk: Desk) -> None:
    account_id = await desk.account("100.00")
    await put_limit(desk.database, account_id, 1, "10.00", window=SpendWindow.DAY)
    await record(desk, account_id, "one", "4.99")
    assert await events(desk.database) == []
    await record(desk, account_id, "two", "3.01")
    await record(desk, account_id, "three", "0.50")
    first = [
        SpendLimitEventRow(account_id, 3, 1, 50, usd("10.00"), usd("8.00")),
        SpendLimitEventRow(account_id, 3, 1, 80, usd("10.00"), usd("8.00")),
    ]
    assert await events(desk.database) == first
    desk.now += DAY
    await record(desk, account_id, "four", "5.00")
    assert (await events(desk.database))[2:] == [SpendLimitEventRow(account_id, 5, 1, 50, usd("10.00"), usd("5.00"))]


async def test_returned_holds_lower_what_was_spent(desk: Desk) -> None:
    account_id = await desk.account("100.00")
    await put_limit(desk.database, account_id, 1, "10.00")
    await desk.post(account_id, open_hold(usd("10.00")))
    with pytest.raises(LimitExceeded):
        await authorize(desk, account_id, "0.01")
    await desk.post(account_id, settle(usd("4.00")))
    assert [limit.spent_nanos for limit in await limits(desk.database)] == [usd("4.00")]
    await authorize(desk, account_id, "6.00")


async def test_limit_stops_the_next_cycle(desk: Desk) -> None:
    account_id = await desk.account("100.00")
    await put_limit(desk.database, account_id, 1, "30.00")
    await desk.post(account_id, open_hold(usd("20.00"), INFERENCE))
    desk.now = START + DAY
    outcome = await desk.post(account_id, renew(usd("15.00"), usd("20.00"), 1))
    assert (outcome.to_stop, outcome.balance_nanos) == (True, usd("85.00"))


async def test_attribution_of_a_hold_is_that_of_its_charge_and_rows(desk: Desk) -> None:
    account_id = await desk.account("100.00")
    who = Attribution("key-1", "red")
    opened = await send(desk, account_id, open_hold(usd("10.00")), who)
    settled = await desk.post(account_id, settle(usd("4.00")))
    assert [(row.api_key, row.project) for row in (*opened.transactions, *settled.transactions)] == [who, who]
    charge = await desk.charge(account_id, GPU)
    assert (charge.api_key, charge.project) == who


async def test_batch_of_several_keys_names_none(desk: Desk) -> None:
    account_id = await desk.account("100.00")
    batch = UsageBatch(
        [
            MeteredRequest(key, desk.now, "m", UsageCategory.CHAT, UsageOrigin.PLATFORM, 1, 1, usd("1.00"), key, "red")
            for key in ("key-1", "key-2")
        ]
    )
    (outcome,) = await desk.ledger.post(usage_posting(account_id, SERVICE, "k", batch, desk.now))
    assert [(row.api_key, row.project) for row in outcome.transactions] == [(None, "red")]


@pytest.mark.parametrize("refused", ["capture", "authorization"])
async def test_refused_calls_leave_nothing_behind(desk: Desk, refused: str) -> None:
    account_id = await desk.account("10.00")
    await put_limit(desk.database, account_id, 1, "5.00")
    with pytest.raises(BillingError):
        if refused == "capture":
            await record(desk, account_id, "one", "1.00", authorization=7)
        else:
            await authorize(desk, account_id, "5.01")
    assert (await authorize(desk, account_id, "5.00")).available_nanos == usd("5.00")
    assert [limit.spent_nanos for limit in await limits(desk.database)] == [0]


async def test_clock_that_goes_back_does_not_revive_an_authorization(desk: Desk) -> None:
    account_id = await desk.account("10.00")
    await authorize(desk, account_id, "10.00", seconds=60)
    desk.now += timedelta(seconds=60)
    await authorize(desk, account_id, "10.00", seconds=60)
    # Another gateway, whose clock is behind, or this one after its clock was set.
    desk.now -= timedelta(seconds=30)
    with pytest.raises(Conflict, match="already expired"):
        await record(desk, account_id, "first", "10.00", authorization=1)
    outcome = await record(desk, account_id, "second", "10.00", authorization=2)
    assert outcome.balance_nanos == 0
    assert outcome.transactions[0].created_at == desk.now + timedelta(seconds=30)


async def test_capture_counts_in_the_window_that_it_was_authorized_for(desk: Desk, database: Database) -> None:
    account_id = await desk.account("100.00")
    await put_limit(database, account_id, 1, "10.00", window=SpendWindow.DAY)
    midnight = window_start(SpendWindow.DAY, desk.now) + DAY
    desk.now = midnight - timedelta(seconds=2)
    await record(desk, account_id, "today", "10.00")
    desk.now = midnight
    await authorize(desk, account_id, "10.00")
    desk.now = midnight - timedelta(seconds=1)
    outcome = await record(desk, account_id, "tomorrow", "10.00", authorization=1)
    assert (outcome.transactions[0].created_at, outcome.exceeded) == (midnight, ())
    assert [(one.spent_nanos, one.window_start) for one in await limits(database)] == [(usd("10.00"), midnight)]


async def test_refusal_names_the_limit_that_resets_last(desk: Desk, database: Database) -> None:
    account_id = await desk.account("100.00")
    for number, window in enumerate((SpendWindow.DAY, SpendWindow.TOTAL, SpendWindow.WEEK), 1):
        await put_limit(database, account_id, number, "5.00", window=window)
    with pytest.raises(LimitExceeded) as refusal:
        await authorize(desk, account_id, "5.01")
    assert (refusal.value.limit, refusal.value.resets_at) == (f"limit_{account_id}_2", None)


async def test_replayed_capture_has_the_limits_that_are_exceeded_now(desk: Desk, database: Database) -> None:
    account_id = await desk.account("100.00")
    await put_limit(database, account_id, 1, "5.00", KEY, SpendWindow.DAY)
    await put_limit(database, account_id, 2, "5.00", KEY, SpendWindow.TOTAL)
    await authorize(desk, account_id, "2.00", KEY)
    exceeded = []
    for days in (0, 0, 1):
        desk.now += days * DAY
        call = usage_posting(account_id, SERVICE, "one", _BATCH, desk.now)
        (outcome,) = await desk.ledger.post(call)
        exceeded.append([one.number for one in outcome.exceeded])
    assert exceeded == [[1, 2], [1, 2], [2]]


_BATCH = UsageBatch(
    [MeteredRequest("one", START, "large", UsageCategory.CHAT, UsageOrigin.PLATFORM, 10, 2, usd("6.00"))],
    capture=Capture(1, is_final=True),
)


async def test_spent_sum_beyond_the_range_is_refused(desk: Desk, database: Database) -> None:
    account_id = await desk.account("9000000000.00")
    await put_limit(database, account_id, 1, "9.00", window=SpendWindow.TOTAL)
    await record(desk, account_id, "one", "9000000000.00")
    desk.now += 32 * DAY
    with pytest.raises(BadUserInput, match=f"what was spent of limit_{account_id}_1 exceeds the range"):
        await record(desk, account_id, "two", "9000000000.00")
