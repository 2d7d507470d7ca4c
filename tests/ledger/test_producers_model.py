"""All producers in random order, with crashes, repetitions and two processes at once, against `tests.ledger.model`.

After every step each account's rows, months, usage and charges are what the model says, and what a recount says.
"""

from __future__ import annotations

import asyncio
import copy
import os
import shutil
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from sqlalchemy import select

from db import tables
from gateway.commands.options import settings_of
from gateway.stripe_http import build_stripe_api
from ledger import grants
from ledger.accounts import NewAccount, change_status, create_account
from ledger.audit import COMMAND_LINE
from ledger.commands import Command, Entry, OpenHold, Outcome, Period, Posting, Ref, RenewHold, SettleHold, Writer
from ledger.errors import BillingError
from ledger.idempotent_calls import CallResult, IdempotentCall, run_once
from ledger.instances import InstanceRate, set_rate
from ledger.kinds import AccountStatus, RefType, TransactionType, UsageCategory, UsageOrigin
from ledger.metering import MeteredRequest, UsageBatch, usage_posting
from ledger.posting import LedgerTransaction
from ledger.recharges import RechargeSettings, put_settings
from ledger.stripe.api import StripeApi
from ledger.stripe.notices import RECHARGE
from ledger.volumes import VolumeRate, delete_volume, set_volume
from tests.ledger.desk import OPERATOR, SERVICE, usd
from tests.ledger.model import DAY, HOUR, Account, Answer, Model, Payment, Recharge, Request, Row
from tests.ledger.processes import PATIENCE_SECONDS, PowerCut, Process, Processes, cancelled_at
from tests.ledger.recompute import Stored, differences_of, read_tables
from tests.ledger.stories import ACTS
from tests.postgres import Postgres
from tests.stripe_objects import Object, body, charge, event, invoice, payment, refund, session
from tests.stripe_stand_in import Fault, StandIn, standing_in
from tests.stripe_stand_in import settings as stand_in_settings

START: Final = datetime(2026, 10, 29, 7, 30, tzinfo=UTC)
PRICE: Final = usd("0.031")
EXAMPLES: Final = int(os.environ.get("PRODUCERS_MODEL_EXAMPLES", "0"))
STORIES: Final = 1 if EXAMPLES else 2
STEPS: Final = 80
PHASES: Final = tuple(Phase) if EXAMPLES else (Phase.generate,)
"""A story that fails is told shorter only where somebody waits for it: that takes minutes."""
SEEDS: Final = st.integers(0, 2**64 - 1) if EXAMPLES else st.just(0)
"""The few stories of every run are drawn by their numbers. Hypothesis draws from the constants of all modules that are
loaded, even where it is told not to be random: so its stories are others when other tests run too."""

_stories: Final = count(1)
"""Stripe's stand-in goes through all of them: its objects are named after theirs."""

Work = Callable[[LedgerTransaction, int], Awaitable[Answer]]
Expect = Callable[[Model], Answer]
Events = list[tuple[Object, Callable[[Model, datetime], None]]]


@dataclass(frozen=True)
class Told:
    """A call of a service or an operator: how the ledger is asked, and what the model makes of it."""

    name: str
    work: Work
    expect: Expect


def ref_of(text: str) -> Ref:
    kind, _, name = text.partition(" ")
    return Ref(RefType(kind), name)


def answer_of(outcome: Outcome) -> Answer:
    rows = tuple((row.type, row.amount_nanos) for row in outcome.transactions)
    return Answer(rows, outcome.balance_nanos, outcome.to_stop, outcome.result)


class Producers(RuleBasedStateMachine):
    def __init__(self, number: int, runner: asyncio.Runner, url: str, api: StripeApi, stand_in: StandIn) -> None:
        super().__init__()
        self.number, self.runner, self.stand_in = number, runner, stand_in
        self.now = START
        self.model = Model()
        self.numbers = count(1)
        self.places = count()
        self.story: list[str] = []
        self.calls: list[Told] = []
        self.events: Events = []
        self.seen_payments = set(stand_in.payments)
        self.processes = Processes(url, lambda: self.now, api)
        self.prefix = f"s{next(_stories)}"

    def teardown(self) -> None:
        self.runner.run(self.processes.close())

    @rule(seed=SEEDS)
    def step(self, seed: int) -> None:
        # The place too, since Hypothesis draws small numbers again and again.
        random = Random(f"{self.number}/{seed}/{next(self.places)}")
        (name,) = random.choices(list(ACTS), [weight for weight, _ in ACTS.values()])
        given = {argument: draw(random) for argument, draw in ACTS[name][1].items()}
        self.story.append(f"{self.now}: {name} {given}")
        getattr(self, name)(**given)

    # What is asked of the ledger

    @initialize()
    def open_accounts(self) -> None:
        for name, bonus in (("a", usd("150.00")), ("b", usd("20.00"))):
            self._create("once", name, bonus)

    def _create(self, how: Any, name: str, bonus: int | None) -> None:
        async def work(transaction: LedgerTransaction, _: int) -> Answer:
            async def created() -> CallResult:
                row = await create_account(transaction, NewAccount(name, name, bonus), COMMAND_LINE)
                return CallResult(row.id, row.balance_nanos)

            came = await run_once(transaction, IdempotentCall("createAccount", name, [name, bonus]), created)
            return Answer(balance=came.balance_nanos or 0)

        now = self.now
        self._call(how, Told(name, work, lambda model: model.create(now, name, bonus)))

    def create_account(self, how: Any, bonus: int | None) -> None:
        self._create(how, f"c{next(self.numbers)}", bonus)

    def _post(
        self,
        how: Any,
        name: str,
        operation: str,
        key: str | None,
        command: Command | list[Entry],
        expect: Callable[[Account, datetime, str], Answer | None],
        writer: Writer = SERVICE,
    ) -> None:
        key = key or f"own {next(self.numbers)}"
        commands: list[Any] = command if isinstance(command, list) else [command]

        async def work(transaction: LedgerTransaction, account_id: int) -> Answer:
            (outcome,) = await transaction.post(Posting(account_id, writer, commands, operation, key))
            return answer_of(outcome)

        self._keyed(how, name, operation, key, repr(commands), work, expect)

    def _keyed(
        self,
        how: Any,
        name: str,
        operation: str,
        key: str,
        payload: Hashable,
        work: Work,
        expect: Callable[[Account, datetime, str], Answer | None],
    ) -> None:
        now = self.now

        def expected(model: Model) -> Answer:
            account = model.accounts[name]
            return account.once(operation, key, payload, lambda: expect(account, now, key))

        self._call(how, Told(name, work, expected))

    def open_hold(self, how: Any, name: str, key: str | None, kind: str, nanos: int, hours: int) -> None:
        ref = f"{kind}_instance {next(self.numbers) if nanos % 6 else 1}"
        end = self.now + (DAY if kind == "inference" else hours * HOUR)
        command = OpenHold(ref_of(ref), nanos, None, Period(self.now, end))
        self._post(how, name, "openHold", key, command, lambda account, now, _: account.open_hold(now, ref, nanos, end))

    def _held(self, name: str, number: int, kind: str = "") -> str:
        """Mostly one that is open; now and then one that was settled, or never held."""
        held = [ref for ref in self.model.accounts[name].holds if ref.startswith(kind)]
        is_open = [ref for ref in held if self.model.accounts[name].holds[ref][-1].state == "open"]
        known = is_open if is_open and number % 4 else held[-5:]
        return known[number % len(known)] if known and number % 10 else "inference_instance 0"

    def settle_hold(self, how: Any, name: str, key: str | None, number: int, used: int | None) -> None:
        ref = self._held(name, number)
        held = self.model.accounts[name].holds.get(ref)
        came_to = used if used is not None else held[-1].nanos if held else 1
        command = SettleHold(ref_of(ref), came_to, None)
        self._post(how, name, "settleHold", key, command, lambda account, now, _: account.settle(now, ref, came_to))

    def renew_hold(self, how: Any, name: str, key: str | None, number: int, used: int, nanos: int) -> None:
        ref = self._held(name, number, "inference")
        command = RenewHold(ref_of(ref), used, None, nanos, None)
        self._post(how, name, "renewHold", key, command, lambda account, now, _: account.renew(now, ref, used, nanos))

    def record_usage(self, how: Any, name: str, key: str | None, drawn: list[Any]) -> None:
        key = key or f"own {next(self.numbers)}"
        requests = tuple(Request(one[0], self.now - one[1] * HOUR, *one[2:]) for one in drawn)
        batch = UsageBatch(
            [MeteredRequest(*one[:3], UsageCategory(one[3]), UsageOrigin(one[4]), *one[5:]) for one in requests]
        )

        async def work(transaction: LedgerTransaction, account_id: int) -> Answer:
            (outcome,) = await transaction.post(usage_posting(account_id, SERVICE, key, batch, transaction.clock()))
            return answer_of(outcome)

        def expect(account: Account, now: datetime, key: str) -> Answer:
            return account.record(now, f"api_usage {key}", requests)

        self._keyed(how, name, "recordUsage", key, requests, work, expect)

    def grant_bonus(self, how: Any, name: str, key: str | None, nanos: int) -> None:
        def expect(account: Account, now: datetime, _: str) -> None:
            account.write(now, "bonus", "promotion", nanos, "promotion spring")

        self._post(how, name, "grantBonus", key, [grants.bonus(nanos, "spring")], expect)

    def correct_balance(self, how: Any, name: str, key: str | None, nanos: int, sign: int) -> None:
        def expect(account: Account, now: datetime, _: str) -> None:
            account.write(now, "admin_correction", "admin_correction", sign * nanos)

        seq = len(self.model.accounts[name].rows) or None
        entry = Entry(TransactionType.ADMIN_CORRECTION, sign * nanos, "A mistake", corrects_seq=seq)
        self._post(how, name, "correctBalance", key, [entry], expect, OPERATOR)

    def grant_contract(self, how: Any, name: str, key: str | None, cash: int, bonus: int | None) -> None:
        def expect(account: Account, now: datetime, _: str) -> None:
            account.write(now, "contract_grant", "contract", cash, "contract C-1")
            account.write(now, "bonus_grant", "contract", bonus or 0, "contract C-1")

        self._post(how, name, "grantContract", key, grants.contract("C-1", cash, bonus), expect, OPERATOR)

    def _act(
        self,
        how: Any,
        name: str,
        operation: str,
        act: Callable[[LedgerTransaction, int], Awaitable[Any]],
        expect: Callable[[Account, datetime, str], None],
    ) -> None:
        key = f"own {next(self.numbers)}"

        async def work(transaction: LedgerTransaction, account_id: int) -> Answer:
            async def done() -> CallResult:
                await act(transaction, account_id)
                return CallResult(account_id, None)

            await run_once(transaction, IdempotentCall(operation, key, None, account_id), done)
            return Answer()

        now = self.now

        def expected(model: Model) -> Answer:
            account = model.accounts[name]
            account.once(operation, key, None, lambda: expect(account, now, key))
            return Answer()

        self._call(how, Told(name, work, expected))

    def change_status(self, how: Any, name: str) -> None:
        status = "active" if self.model.accounts[name].status == "suspended" else "suspended"

        async def act(transaction: LedgerTransaction, account_id: int) -> None:
            await change_status(transaction, account_id, AccountStatus(status), "A reason", COMMAND_LINE)

        self._act(how, name, "changeStatus", act, lambda account, _now, _key: setattr(account, "status", status))

    def set_rate(self, how: Any, name: str, number: int, gpus: int) -> None:
        account = self.model.accounts[name]
        rated = [one for one in account.instances if account.holds[one][-1].state == "open"]
        # One at a time: of two, whose next cycle is paid first would depend on the worker.
        ref = rated[0] if rated else self._held(name, number, "inference")
        rate = InstanceRate(ref_of(ref).id, gpus, PRICE)
        now = self.now

        async def act(transaction: LedgerTransaction, account_id: int) -> None:
            await set_rate(transaction.connection, account_id, rate, now)

        self._act(how, name, "setRate", act, lambda account, now, _: account.set_rate(now, ref, gpus, PRICE))

    def set_volume(self, how: Any, name: str, ref: str, gib: int, back: int) -> None:
        since, now = self.now - back * HOUR, self.now

        async def act(transaction: LedgerTransaction, account_id: int) -> None:
            await set_volume(transaction.connection, account_id, VolumeRate(ref_of(ref), gib, PRICE, since), now)

        self._act(how, name, "setVolume", act, lambda one, now, _: one.set_volume(now, ref, gib, PRICE, since))

    def delete_volume(self, how: Any, name: str, ref: str) -> None:
        now = self.now

        async def act(transaction: LedgerTransaction, account_id: int) -> None:
            await delete_volume(transaction.connection, account_id, ref_of(ref), None, now)

        self._act(how, name, "deleteVolume", act, lambda account, now, _: account.delete_volume(now, ref))

    def set_recharge(self, how: Any, name: str, threshold: int, limit: int) -> None:
        given = RechargeSettings(threshold * usd("1.00"), usd("25.00"), limit * usd("1.00"))
        now = self.now

        async def act(transaction: LedgerTransaction, account_id: int) -> None:
            await put_settings(transaction.connection, account_id, given, now)

        def expect(account: Account, _now: datetime, _key: str) -> None:
            account.recharge = Recharge(given.threshold_nanos, given.amount_nanos, given.daily_limit_nanos)

        self._act(how, name, "setAutoRecharge", act, expect)

    def call_once_more(self, how: Any, number: int) -> None:
        """Much later, with its key."""
        if not self.calls:
            return
        self._call(how, self.calls[number % len(self.calls)])

    # What happens at Stripe, and what is told of it

    def pay(self, name: str, cents: int, bonus: int | None, late: bool) -> None:
        """A checkout, or where there is a bonus the invoice of a contract."""
        number = f"{self.prefix}_{next(self.numbers)}"
        nanos, intent, customer = cents * 10_000_000, f"pi_{number}", self._customer(name)
        if bonus is None:
            name_of, ref_type, rows = f"cs_{number}", "stripe_checkout_session", [("topup", nanos)]
            of = session(name_of, customer=customer, subtotal=cents, tax=cents // 10, payment_intent=intent)
            if late:
                unpaid = of | {"payment_status": "unpaid"}
                self.events.append((event("checkout.session.completed", unpaid), lambda _model, _now: None))
            kind = "checkout.session.async_payment_succeeded" if late else "checkout.session.completed"
            again = payment(intent, customer=customer, amount=cents)
            self.events.append((event("payment_intent.succeeded", again), lambda _model, _now: None))
        else:
            name_of, ref_type, kind = f"in_{number}", "stripe_invoice", "invoice.paid"
            rows = [("contract_grant", nanos), ("bonus_grant", bonus * 10_000_000)]
            metadata = {"contract": number} | ({"bonus": f"{bonus // 100}.00"} if bonus else {})
            of = invoice(name_of, customer=customer, subtotal=cents, metadata=metadata, payment_intent=intent)
        self.model.payments[name_of] = Payment(name_of, name, tuple(rows), ref_type)
        self._pay_by_card(name_of, intent, customer)
        for _ in range(2):
            # Two events of one payment: each with an id of its own.
            self.events.append((event(kind, of), lambda model, now: model.paid(now, name_of)))

    def _pay_by_card(self, name_of: str, intent: str, customer: str) -> None:
        charge_id = f"ch_{name_of}"
        self.stand_in.charges[charge_id] = {
            "id": charge_id,
            "object": "charge",
            "customer": customer,
            "payment_intent": intent,
        }

    def _customer(self, name: str) -> str:
        return f"cus_{self.prefix}_{name}"

    def give_back(self, number: int, cents: int, lists: bool) -> None:
        """A part of some payment: three events announce it, and not all say which refund it is."""
        if not self.model.payments:
            return
        of = list(self.model.payments.values())[number % len(self.model.payments)]
        charge_id, refund_id = f"ch_{of.id}", f"re_{self.prefix}_{next(self.numbers)}"
        paid = self.stand_in.charges[charge_id]
        of.refunds[refund_id] = cents * 10_000_000
        one = refund(refund_id, amount=cents, charge=charge_id, payment_intent=paid["payment_intent"])
        self.stand_in.refunds.append(one)
        given = [each for each in self.stand_in.refunds if each["charge"] == charge_id]
        total = sum(each["amount"] for each in given)
        told = charge(
            charge_id,
            customer=paid["customer"],
            amount=10**6,
            refunded=total,
            payment_intent=paid["payment_intent"],
            refunds=given if lists else None,
        )
        pending = one | {"status": "pending"}
        everything = tuple(of.refunds)
        self.events += [
            (event("refund.created", pending), lambda _model, _now: None),
            (event("refund.updated", one), lambda model, now: model.refunded(now, of.id, (refund_id,), named=True)),
            (event("charge.refunded", told), lambda model, now: model.refunded(now, of.id, everything, named=lists)),
        ]

    def tell(self, how: Any, number: int) -> None:
        """One of the newest events, whether it was told before or not."""
        if not self.events:
            return
        of, tell = self.events[-1 - number % min(len(self.events), 12)]
        self._work(how, lambda process: process.events.receive(body(of)), lambda model: tell(model, self.now))

    def tell_at_once(self, numbers: list[int]) -> None:
        if not self.events:
            return
        several = [self.events[-1 - number % min(len(self.events), 12)] for number in numbers]

        async def deliver(process: Process) -> None:
            await asyncio.gather(*(process.events.receive(body(of)) for of, _ in several))

        def expect(model: Model) -> None:
            # What a refund waits for may come beside it: then it is tried again later.
            for _, tell in sorted(several, key=lambda one: "refund" in one[0]["type"], reverse=True):
                tell(model, self.now)

        self._work("at once", deliver, expect)

    def link(self, how: Any, name: str) -> None:
        async def work(process: Process) -> None:
            stored = await read_tables(process.database)
            (account_id,) = [one.id for one in stored.accounts if one.external_id == name]
            await process.events.link(account_id, self._customer(name))

        self.stand_in.customers[self._customer(name)] = {
            "id": self._customer(name),
            "object": "customer",
            "invoice_settings": {},
        }
        self.stand_in.cards[self._customer(name)] = ["pm_1"]
        self._work(how, work, lambda model: model.link(self.now, name))

    def retry_events(self, how: Any) -> None:
        """When all of them are due."""
        self.now += 7 * HOUR

        def expect(model: Model) -> None:
            for one in model.may_be_credited():
                model.credit_refund(self.now, one)

        self._work(how, lambda process: process.retries.run(), expect)

    # Workers

    def work(self, how: Any, job: str, hours: int) -> None:
        self.now += hours * HOUR

        def expect(model: Model) -> None:
            for account in model.accounts.values():
                expected = {"storage": account.bill_storage, "cycles": account.end_cycles, "expiry": account.expire}
                expected[job](self.now)

        self._work(how, lambda process: process.jobs[job].run(), expect)

    def recharge(self, two: bool, fault: Any) -> None:
        due = [self._recharge_due(declined=fault == "declined")]
        self.stand_in.declines_all = fault == "declined"
        broken: list[Fault] = [] if fault in ("none", "declined") else [fault]
        if broken:
            # Asking for the customer and the cards goes well.
            self.stand_in.faults = ["none", "none", *broken]
        both = [self.processes.first, self.processes.second][: 1 + two]
        self._run(*(process.payments.run() for process in both))
        self.stand_in.faults, self.stand_in.declines_all = [], False
        if broken:
            self.now += timedelta(minutes=16)
            due.append(self._recharge_due(declined=False))
            self._run(*(process.payments.run() for process in both))
        made = {name: one for name, one in self.stand_in.payments.items() if name not in self.seen_payments}
        self.seen_payments.update(made)
        charged = Counter((one["customer"], one["amount"] * 10_000_000) for one in made.values())
        assert charged == sum(due, Counter()), "\n".join(self.story)
        for intent, one in made.items():
            self._charged(intent, {**one})
        self._check()

    def _recharge_due(self, *, declined: bool) -> Counter[tuple[str, int]]:
        found = {name: one.recharge_due(self.now, declined=declined) for name, one in self.model.accounts.items()}
        return Counter((self._customer(name), nanos) for name, nanos in found.items() if nanos)

    def _charged(self, intent: str, one: Object) -> None:
        name = one["customer"].rpartition("_")[2]
        if one["status"] != "succeeded":
            self.events.append((event("payment_intent.payment_failed", one), lambda _model, _now: None))
            return
        assert one["metadata"][RECHARGE]
        rows = (("auto_recharge", one["amount"] * 10_000_000),)
        self.model.payments[intent] = Payment(intent, name, rows, "stripe_payment_intent", is_recharge=True)
        self._pay_by_card(intent, intent, one["customer"])
        for _ in range(2):
            self.events.append(
                (event("payment_intent.succeeded", one), lambda model, now: model.paid(now, intent)),
            )

    # How it is done

    def _call(self, how: Any, told: Told) -> None:
        after = copy.deepcopy(self.model)
        expected: Answer | type[BillingError]
        try:
            expected = told.expect(after)
        except BillingError as refusal:
            after, expected = self.model, type(refusal)

        async def call(process: Process) -> Answer | type[BillingError]:
            account_id = await self._account_id(process, told.name)
            try:
                return await process.ledger.within(lambda transaction: told.work(transaction, account_id))
            except BillingError as refusal:
                return type(refusal)

        answers = self._happen(how, call, after)
        assert answers == [expected] * len(answers), "\n".join(self.story)
        if not isinstance(expected, type):
            self.calls.append(told)
        self.model = after
        self._check()

    async def _account_id(self, process: Process, name: str) -> int:
        found = await process.database.read(select(tables.accounts.c.id).where(tables.accounts.c.external_id == name))
        return found[0][0] if found else 0

    def _work(
        self, how: Any, run: Callable[[Process], Coroutine[Any, Any, Any]], expect: Callable[[Model], None]
    ) -> None:
        after = copy.deepcopy(self.model)
        expect(after)
        self._happen(how, run, after, is_whole=False)
        self.model = after
        self._check()

    def _happen(
        self, how: Any, run: Callable[[Process], Coroutine[Any, Any, Any]], after: Model, *, is_whole: bool = True
    ) -> list[Any]:
        """What came of it, each time that it was done to its end."""
        first, second = self.processes.first, self.processes.second
        match how:
            case "once":
                return self._run(run(first))
            case "again":
                return self._run(run(first)) + self._run(run(second))
            case "at once":
                return self._run(run(first), run(second))
            case "undone":
                first.ledger.transactions_left = 0
                try:
                    self._run(run(first))
                except PowerCut:
                    assert self._differs_from(self.model) == []
                first.ledger.transactions_left = None
                return self._run(run(first))
            case (_, int(waits)):
                self.runner.run(cancelled_at(run(first), waits))
                self.runner.run(self.processes.restart())
                if is_whole:
                    assert [] in (self._differs_from(self.model), self._differs_from(after))
                return self._run(run(self.processes.first))
        raise AssertionError(how)

    def _run(self, *works: Coroutine[Any, Any, Any]) -> list[Any]:
        async def gathered() -> list[Any]:
            return list(await asyncio.gather(*works))

        return self.runner.run(gathered())

    # What must hold

    def _check(self) -> None:
        stored = self.runner.run(read_tables(self.processes.first.database))
        assert differences_of(stored) == []
        refunds = {row.ref_id for row in stored.transactions if row.ref_type == "stripe_refund"}
        for one in self.model.may_be_credited():
            if one in refunds:
                self.model.credit_refund(self.now, one)
        assert self._differs_from(self.model, stored) == [], "\n".join(self.story)
        self.now += timedelta(seconds=1)

    def _differs_from(self, model: Model, stored: Stored | None = None) -> list[Any]:
        stored = stored or self.runner.run(read_tables(self.processes.first.database))
        usage = self.runner.run(_usage(self.processes.first))
        found = []
        names = {one.id: one.external_id for one in stored.accounts}
        for what, of_stored, of_model in (
            ("accounts", [(one.external_id, one.balance_nanos, one.status) for one in stored.accounts], _heads(model)),
            ("rows", _rows(stored, names), _model_rows(model)),
            ("months", ((names[one[0]], *one[1:]) for one in stored.months if any(one[2:])), _months(model)),
            ("usage", ((names[one[0]], *one[1:]) for one in usage), _model_usage(model)),
            ("charges", (_charge(names[one.account_id], one) for one in stored.charges), _charges(model)),
        ):
            seen, wanted = Counter(of_stored), Counter(of_model)
            if seen != wanted:
                found.append((what, {"only stored": list(seen - wanted), "only in the model": list(wanted - seen)}))
        return found


async def _usage(process: Process) -> list[tuple[Any, ...]]:
    table = tables.usage_days
    names = ("account_id", "day", "model", "category", "origin", "calls", "input_tokens", "output_tokens", "cost_nanos")
    return [tuple(row) for row in await process.database.read(select(*(table.c[name] for name in names)))]


def _heads(model: Model) -> list[tuple[str, int, str]]:
    return [(name, one.balance, one.status) for name, one in model.accounts.items()]


def _rows(stored: Stored, names: dict[int, str | None]) -> Iterator[tuple[str | None, Row]]:
    for row in stored.transactions:
        ref = row.ref_type and f"{row.ref_type} {row.ref_id}"
        yield names[row.account_id], Row(row.created_at, row.type, row.source, row.amount_nanos, ref)


def _model_rows(model: Model) -> Iterator[tuple[str | None, Row]]:
    for name, account in model.accounts.items():
        yield from ((name, row) for row in account.rows)


def _months(model: Model) -> set[tuple[Any, ...]]:
    return {(name, month, *sums) for name, one in model.accounts.items() for month, sums in one.months().items()}


def _model_usage(model: Model) -> set[tuple[Any, ...]]:
    return {(name, *key, *sums) for name, one in model.accounts.items() for key, sums in one.usage().items()}


def _charge(name: str | None, row: Any) -> tuple[Any, ...]:
    figures = row.state, row.held_nanos, row.refunded_nanos, row.overage_nanos, row.billed_nanos, row.cycles
    return name, f"{row.ref_type} {row.ref_id}", *figures


def _charges(model: Model) -> set[tuple[Any, ...]]:
    return {(name, ref, *sums) for name, one in model.accounts.items() for ref, sums in one.charges().items()}


@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
def test_all_producers_match_the_model(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    numbers = count()
    template = request.getfixturevalue("postgres_template" if backend == "postgresql" else "sqlite_template")

    def new_url() -> str:
        if backend == "postgresql":
            server: Postgres = request.getfixturevalue("postgres_server")
            return server.url(runner.run(server.new_database(template)))
        path = tmp_path / f"{next(numbers)}.db"
        shutil.copy(template, path)
        return f"sqlite+aiosqlite:///{path}"

    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        around = AsyncExitStack()

        async def at_stripe() -> tuple[StandIn, StripeApi]:
            stand_in = await around.enter_async_context(standing_in())
            api = build_stripe_api(settings_of(stand_in_settings(stand_in, stripe_timeout_seconds=PATIENCE_SECONDS)))
            assert api is not None
            around.push_async_callback(api.close)
            return stand_in, api

        stand_in, api = runner.run(at_stripe())
        try:
            for number in range(STORIES):
                run_state_machine_as_test(
                    # Any callable will do, whatever its annotation says.
                    lambda number=number: Producers(number, runner, new_url(), api, stand_in),  # type: ignore[arg-type]
                    settings=settings(
                        max_examples=EXAMPLES or 1,
                        stateful_step_count=STEPS,
                        deadline=None,
                        derandomize=not EXAMPLES,
                        phases=PHASES,
                        suppress_health_check=list(HealthCheck),
                    ),
                    # Otherwise most stories would end before much has happened.
                    _min_steps=STEPS - 1,
                )
        finally:
            runner.run(around.aclose())
