"""What must become of an account, in as few words as possible and with none of the ledger's code.

Accounts go by their external id. Balances, months and charges are never kept, but added up from the model's rows and
holds whenever they are asked for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from fractions import Fraction
from typing import Final, NamedTuple

from ledger.errors import Conflict, IdempotencyConflict, InsufficientBalance, NotFound

DAY: Final = timedelta(days=1)
HOUR: Final = timedelta(hours=1)
MICROSECOND: Final = timedelta(microseconds=1)
GRACE: Final = DAY
"""After which a hold that nobody settles expires."""


class Row(NamedTuple):
    at: datetime
    type: str
    source: str
    nanos: int
    ref: str | None
    """Type and id."""


class Answer(NamedTuple):
    rows: tuple[tuple[str, int], ...] = ()
    balance: int = 0
    to_stop: bool = False
    result: int | None = None


class Request(NamedTuple):
    id: str
    at: datetime
    model: str
    category: str
    origin: str
    input_tokens: int
    output_tokens: int
    nanos: int


@dataclass
class Hold:
    cycle: int
    nanos: int
    start: datetime
    end: datetime
    month: str
    state: str = "open"
    used: int | None = None


@dataclass
class Rated:
    """A volume or an inference instance: a quantity and a price from each moment on."""

    created: datetime
    rates: dict[datetime, tuple[int, int]] = field(default_factory=dict)
    deleted: datetime | None = None
    next_day: date | None = None
    reported: datetime | None = None
    to_stop: bool = False

    def cost(self, start: datetime, end: datetime, unit: timedelta) -> int:
        moments = sorted(self.rates)
        exact = Fraction(0)
        for number, since in enumerate(moments):
            since_here = start if number == 0 else max(start, since)
            until = min([end, *moments[number + 1 : number + 2]])
            quantity, price = self.rates[since]
            exact += quantity * price * max(Fraction(0), Fraction((until - since_here) // MICROSECOND))
        return round(exact / Fraction(unit // MICROSECOND))

    def rate_at(self, moment: datetime) -> tuple[int, int]:
        return self.rates[max((one for one in self.rates if one <= moment), default=min(self.rates))]


@dataclass
class Recharge:
    threshold: int
    amount: int
    limit: int
    state: str = "active"
    declines: int = 0
    waits_until: datetime | None = None
    lacks_card: bool = False
    """That is what it waits for."""


def month_of(moment: datetime) -> str:
    return moment.isoformat()[:7]


def midnight(day: date, of: datetime) -> datetime:
    return datetime.combine(day, time(), of.tzinfo)


@dataclass
class Account:
    name: str
    status: str = "active"
    rows: list[Row] = field(default_factory=list)
    holds: dict[str, list[Hold]] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    """Volumes that were deleted and billed to the end."""
    volumes: dict[str, Rated] = field(default_factory=dict)
    instances: dict[str, Rated] = field(default_factory=dict)
    requests: dict[str, Request] = field(default_factory=dict)
    calls: dict[tuple[str, str], tuple[Hashable, Answer]] = field(default_factory=dict)
    recharge: Recharge | None = None
    in_flight: bool = False
    recharged: list[tuple[datetime, int]] = field(default_factory=list)
    is_linked: bool = False

    @property
    def balance(self) -> int:
        return sum(row.nanos for row in self.rows)

    def write(self, now: datetime, kind: str, source: str, nanos: int, ref: str | None = None) -> None:
        if nanos:
            self.rows.append(Row(now, kind, source, nanos, ref))

    # What the tables must say

    def months(self) -> dict[str, tuple[int, ...]]:
        """Gross, refunded, held open, calls of the platform, calls of the user's own inference, tokens."""
        sums: dict[str, list[int]] = defaultdict(lambda: [0] * 6)
        for row in self.rows:
            if row.type in ("gpu_usage", "storage_billing"):
                sums[month_of(row.at)][0] -= row.nanos
            if (row.type, row.source) == ("refund", "metering"):
                sums[month_of(row.at)][1] += row.nanos
        for hold in (one for holds in self.holds.values() for one in holds if one.state == "open"):
            sums[hold.month][2] += hold.nanos
        for request in self.requests.values():
            month = sums[month_of(request.at)]
            month[4 if request.origin == "user_inference" else 3] += 1
            if request.category in ("chat", "embedding"):
                month[5] += request.input_tokens + request.output_tokens
        return {month: tuple(figures) for month, figures in sums.items() if any(figures)}

    def usage(self) -> dict[tuple[date, str, str, str], tuple[int, ...]]:
        """Calls, input tokens, output tokens and cost."""
        sums: dict[tuple[date, str, str, str], list[int]] = defaultdict(lambda: [0] * 4)
        for one in self.requests.values():
            day = sums[one.at.date(), one.model, one.category, one.origin]
            for index, figure in enumerate((1, one.input_tokens, one.output_tokens, one.nanos)):
                day[index] += figure
        return {key: tuple(figures) for key, figures in sums.items()}

    def charges(self) -> dict[str, tuple[str, int, int, int, int, int]]:
        """State, held, refunded, overage, billed without a hold, cycles."""
        found = {}
        for ref, holds in self.holds.items():
            rests = [one.nanos - one.used for one in holds if one.state == "settled" and one.used is not None]
            refunded, overage = sum(max(one, 0) for one in rests), sum(max(-one, 0) for one in rests)
            found[ref] = holds[-1].state, sum(one.nanos for one in holds), refunded, overage, 0, len(holds)
        for ref in self.volumes:
            billed = -sum(row.nanos for row in self.rows if row.ref == ref)
            if billed:
                found[ref] = "settled" if ref in self.ended else "open", 0, 0, 0, billed, 0
        return found

    # Calls

    def once(self, operation: str, key: str, payload: Hashable, work: Callable[[], Answer | None]) -> Answer:
        if (operation, key) in self.calls:
            known, answer = self.calls[operation, key]
            if known != payload:
                raise IdempotencyConflict
            return answer
        before = len(self.rows)
        came = work() or Answer()
        rows = tuple((row.type, row.nanos) for row in self.rows[before:])
        answer = came._replace(rows=rows, balance=self.balance)
        self.calls[operation, key] = payload, answer
        return answer

    def open_hold(self, now: datetime, ref: str, nanos: int, end: datetime) -> None:
        if self.status == "suspended":
            raise InsufficientBalance
        if ref in self.holds:
            raise Conflict
        if self.balance < nanos:
            raise InsufficientBalance
        self.write(now, "gpu_usage", "metering", -nanos, ref)
        self.holds[ref] = [Hold(1, nanos, now, end, month_of(now))]

    def _unsettled(self, ref: str) -> Hold:
        if ref not in self.holds:
            raise NotFound
        hold = self.holds[ref][-1]
        if hold.state == "settled":
            raise Conflict
        return hold

    def settle(self, now: datetime, ref: str, used: int) -> None:
        hold = self._unsettled(ref)
        hold.state, hold.used = "settled", used
        rest = hold.nanos - used
        self.write(now, "refund" if rest > 0 else "gpu_usage", "metering", rest, ref)

    def renew(self, now: datetime, ref: str, used: int, nanos: int) -> Answer:
        hold = self._unsettled(ref)
        if hold.state == "expired":
            raise Conflict
        pays = self.status == "active" and self.balance + hold.nanos - used >= nanos
        if pays:
            self.write(now, "gpu_usage", "metering", -nanos, ref)
        self.settle(now, ref, used)
        if pays:
            self.holds[ref].append(Hold(hold.cycle + 1, nanos, hold.end, hold.end + DAY, month_of(now)))
        return Answer(to_stop=not pays)

    def record(self, now: datetime, ref: str, requests: Sequence[Request]) -> Answer:
        new = {one.id: one for one in reversed(requests) if one.id not in self.requests}
        self.requests |= new
        self.write(now, "gpu_usage", "metering", -sum(one.nanos for one in new.values()), ref)
        return Answer(result=len(new))

    # What services say, and what the workers make of it

    def set_rate(self, now: datetime, ref: str, gpus: int, price: int) -> None:
        if ref not in self.holds:
            raise NotFound
        instance = self.instances.get(ref) or Rated(now)
        if instance.to_stop:
            return
        # Renewed ahead of time, the cycle that now is in is settled.
        if self.holds[ref][-1].state != "open" or now < self.holds[ref][-1].start:
            raise Conflict
        self.instances[ref] = instance
        instance.reported = now
        if not instance.rates or instance.rate_at(now) != (gpus, price):
            instance.rates[now] = gpus, price

    def renews(self, ref: str) -> bool:
        """Whether the worker renews the instance: somebody spoke of it since its cycle began."""
        instance = self.instances.get(ref)
        return instance is not None and instance.reported is not None and instance.reported >= self.holds[ref][-1].start

    def end_cycles(self, now: datetime) -> None:
        while due := [
            ref
            for ref, holds in sorted(self.holds.items(), key=lambda item: item[1][-1].end)
            if holds[-1].state == "open" and holds[-1].end <= now and self.renews(ref)
        ]:
            for ref in due:
                hold, instance = self.holds[ref][-1], self.instances[ref]
                gpus, price = instance.rate_at(hold.end)
                used = instance.cost(hold.start, hold.end, HOUR)
                instance.to_stop = self.renew(now, ref, used, gpus * price * 24).to_stop

    def expire(self, now: datetime) -> None:
        for ref, holds in self.holds.items():
            if holds[-1].state == "open" and holds[-1].end + GRACE <= now and not self.renews(ref):
                holds[-1].state, holds[-1].used = "expired", holds[-1].nanos

    def set_volume(self, now: datetime, ref: str, gib: int, price: int, since: datetime) -> None:
        volume = self.volumes.get(ref)
        if volume is None:
            volume = self.volumes[ref] = Rated(since, next_day=since.date())
        elif volume.deleted or not volume.next_day or since.date() < volume.next_day or since < max(volume.rates):
            raise Conflict
        volume.rates[since] = gib, price

    def delete_volume(self, now: datetime, ref: str) -> None:
        if ref not in self.volumes:
            raise NotFound
        volume = self.volumes[ref]
        if volume.deleted is not None or volume.next_day is None or now.date() < volume.next_day:
            raise Conflict
        volume.deleted = now

    def bill_storage(self, now: datetime) -> None:
        for ref, volume in self.volumes.items():
            while volume.next_day is not None and volume.next_day < now.date():
                start = max(volume.created, midnight(volume.next_day, now))
                volume.next_day += DAY
                end = min(volume.deleted or now, midnight(volume.next_day, now))
                if start < end:
                    cost = volume.cost(start, end, DAY)
                    self.write(now, "storage_billing", "storage_worker", -cost, ref)
                if volume.deleted is not None and volume.deleted <= midnight(volume.next_day, now):
                    volume.next_day = None
                    self.ended.add(ref)

    def recharge_due(self, now: datetime, *, declined: bool) -> int | None:
        """What its card is charged now."""
        setting = self.recharge
        if setting is None or setting.state != "active" or self.in_flight or self.balance >= setting.threshold:
            return None
        if self.status == "suspended":
            return None
        if setting.waits_until is not None and setting.waits_until > now:
            return None
        today = sum(nanos for at, nanos in self.recharged if at.date() == now.date())
        if today + setting.amount > setting.limit:
            setting.waits_until, setting.lacks_card = midnight(now.date() + DAY, now), False
            return None
        if not self.is_linked:
            setting.waits_until, setting.lacks_card = now + HOUR, True
            return None
        setting.lacks_card = False
        if declined:
            setting.waits_until = now + HOUR * 2**setting.declines
            setting.declines += 1
            setting.state = "stopped" if setting.declines == 3 else "active"
        else:
            self.in_flight = True
            self.recharged.append((now, setting.amount))
        return setting.amount


@dataclass
class Payment:
    """Something that was paid at Stripe, and what is returned of it."""

    id: str
    account: str
    rows: tuple[tuple[str, int], ...]
    """(type, amount) of what it comes to."""
    ref_type: str
    is_recharge: bool = False
    is_credited: bool = False
    is_told: bool = False
    refunds: dict[str, int] = field(default_factory=dict)


@dataclass
class Model:
    accounts: dict[str, Account] = field(default_factory=dict)
    payments: dict[str, Payment] = field(default_factory=dict)
    told_refunds: dict[str, str] = field(default_factory=dict)
    """The payment of each refund that an event told of, and that isn't credited."""
    credited_refunds: set[str] = field(default_factory=set)

    def create(self, now: datetime, name: str, bonus: int | None) -> Answer:
        if name not in self.accounts:
            account = self.accounts[name] = Account(name)
            account.write(now, "bonus", "promotion", bonus or 0, "promotion signup-bonus")
        return Answer(balance=bonus or 0)

    def paid(self, now: datetime, payment_id: str) -> None:
        """An event told of the payment."""
        payment = self.payments[payment_id]
        payment.is_told = True
        account = self.accounts[payment.account]
        if payment.is_credited or not (account.is_linked or payment.is_recharge):
            return
        payment.is_credited = True
        for kind, nanos in payment.rows:
            account.write(now, kind, "stripe_webhook", nanos, f"{payment.ref_type} {payment.id}")
        if payment.is_recharge:
            account.in_flight = False
            if account.recharge is not None:
                account.recharge.declines, account.recharge.waits_until = 0, None
        elif payment.ref_type == "stripe_checkout_session" and account.recharge and account.recharge.lacks_card:
            account.recharge.waits_until = None

    def refunded(self, now: datetime, payment_id: str, refunds: Sequence[str], *, named: bool) -> None:
        """An event told of refunds, or that there are some: then Stripe has to be asked which."""
        self.told_refunds |= {one: payment_id for one in refunds if one not in self.credited_refunds}
        if named and self.payments[payment_id].is_credited:
            for one in refunds:
                self.credit_refund(now, one)

    def credit_refund(self, now: datetime, refund_id: str) -> None:
        payment_id = self.told_refunds.pop(refund_id, None)
        if payment_id is not None:
            payment = self.payments[payment_id]
            self.credited_refunds.add(refund_id)
            nanos, ref = payment.refunds[refund_id], f"stripe_refund {refund_id}"
            self.accounts[payment.account].write(now, "refund", "stripe_webhook", nanos, ref)

    def may_be_credited(self) -> list[str]:
        """Refunds that wait to be tried again: whoever comes first may do it."""
        return [
            one
            for one, payment_id in self.told_refunds.items()
            if self.payments[payment_id].is_credited or self.accounts[self.payments[payment_id].account].is_linked
        ]

    def link(self, now: datetime, name: str) -> None:
        self.accounts[name].is_linked = True
        for payment in self.payments.values():
            if payment.account == name and payment.is_told:
                self.paid(now, payment.id)
