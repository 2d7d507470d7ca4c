"""What a story has met so far, from which its next calls are drawn."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from random import Random
from typing import Any, Final, TypeVar

from ledger.chain import format_time
from ledger.errors import BadCursor
from resolvers.cursors import CursorKind, CursorWriter, read_cursor
from tests.gateway.differential import texts
from tests.gateway.differential.calls import Operation

Choice = TypeVar("Choice")

REMEMBERED: Final = 300
AMOUNTS: Final = ("0.00", "0.01", "0.000000001", "1", "+2.50", "007.5", "9999999.99", "9223372036.854775807")
WRONG_AMOUNTS: Final = ("-1.00", "-0.000000001", "9223372036.854775808", "1e3", "0.0000000001", "", "１", "1.", "NaN")
EXTREME_TIMES: Final = (
    *("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.999999Z", "2026-11-31T00:00:00Z"),
    *("9999-12-31T23:59:59-14:00", "2026-11-01t12:00:00.5+14:00", "2026-11-01T24:00:00Z", "2026-11-01T00:00:00"),
)
EXTREME_IDS: Final = (
    *("acct_0", "acct_99", "acct_01", "acct_9223372036854775807", "acct_9223372036854775808", "", "ß", "acct_１"),
    *("txn_1_999", "txn_1_0", "txn_1_9223372036854775807", "txn_1_9223372036854775808", "chg_1_1", "txn_1_1"),
    *("chg_9223372036854775807_9223372036854775807", "chg_1_9223372036854775808", "acct_1\x00"),
)
REF_TYPES: Final = ("GPU_INSTANCE", "INFERENCE_INSTANCE", "VOLUME", "SHARED_FILESYSTEM")
ALL_REF_TYPES: Final = (
    *REF_TYPES,
    *("API_USAGE", "STRIPE_CHECKOUT_SESSION", "STRIPE_PAYMENT_INTENT", "STRIPE_REFUND"),
    *("STRIPE_INVOICE", "CONTRACT", "PROMOTION"),
)
CATEGORIES: Final = ("CHAT", "EMBEDDING", "IMAGE", "AUDIO", "VIDEO")
ORIGINS: Final = ("PLATFORM", "USER_INFERENCE")


@dataclass(frozen=True)
class Listing:
    """A list that was asked for, and how: its cursors page on in it."""

    name: str
    variables: str
    """Those that are no paging arguments, as JSON."""


@dataclass
class Known:
    random: Random
    now: datetime
    keys: dict[str, str]
    """Whole keys by what they are for: `service` and `operator` from the start, and those that the story makes."""
    words: list[str] = field(default_factory=list)
    accounts: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    """Of rows, charges and accounts."""
    refs: list[tuple[str, str, str]] = field(default_factory=list)
    """Account, type and id of instances and volumes."""
    rows: list[Mapping[str, Any]] = field(default_factory=list)
    """Of the ledger, as the gateway has answered them."""
    found: list[str] = field(default_factory=list)
    """Names, descriptions and the like, as the gateway has answered them."""
    texts: list[str] = field(default_factory=list)
    """That calls have given to the gateway: names, descriptions, models."""
    amounts: list[str] = field(default_factory=list)
    times: list[str] = field(default_factory=list)
    cursors: dict[Listing, list[str]] = field(default_factory=dict)
    all_cursors: list[str] = field(default_factory=list)
    calls: list[Operation] = field(default_factory=list)
    """Mutations: their idempotency keys are used again."""
    prefixes: list[str] = field(default_factory=list)
    customers: list[str] = field(default_factory=lambda: ["cus_a", "cus_b", "cus_Ü"])
    sessions: list[tuple[str, str]] = field(default_factory=list)
    """Sessions and customers."""
    payments: list[tuple[str, str | None, int]] = field(default_factory=list)
    """Payments with their customers and amounts in cents: of sessions, auto-recharge and invoices."""
    attempts: list[dict[str, Any]] = field(default_factory=list)
    """Payments of auto-recharge as the stand-in keeps them."""
    events: list[str] = field(default_factory=list)
    """Their texts."""
    event_ids: list[str] = field(default_factory=list)
    files: list[bytes] = field(default_factory=list)
    most: float = 1
    """By how much more is paid than usual: in some stories, sums leave 64 bits."""
    number: int = 0

    def often(self, share: float) -> bool:
        return self.random.random() < share

    def next_number(self) -> int:
        self.number += 1
        return self.number

    def one_of(self, choices: Sequence[Choice], default: Choice) -> Choice:
        """One that is known, the newer the likelier."""
        if not choices:
            return default
        low = self.random.choice((0, 0, max(len(choices) - 5, 0)))
        return choices[self.random.randrange(low, len(choices))]

    def account(self) -> str:
        if self.often(0.03):
            return self.random.choice(EXTREME_IDS)
        return self.one_of(self.accounts, "acct_1")

    def text(self, longest: int = 500) -> str:
        """A new text, remembered; or one that was used, in the same or another spelling."""
        if self.texts and self.often(0.2):
            given = texts.respelled(self.random, self.random.choice(self.texts))
        else:
            given = texts.any_text(self.random, self.words, longest)
        self.texts.append(given)
        return given

    def needle(self) -> str:
        """A part of a text that is there, mostly."""
        if not self.found or self.often(0.1):
            return texts.any_text(self.random, self.words, 200)
        return texts.needle(self.random, self.found)

    def amount(self, most: float = 50) -> str:
        roll = self.random.random()
        if roll < 0.03:
            return self.random.choice(WRONG_AMOUNTS)
        if roll < 0.1:
            return self.random.choice(AMOUNTS)
        if roll < 0.3:
            return f"{self.random.uniform(0, most * self.most):.9f}"
        return f"{self.random.uniform(0, most * self.most):.2f}"

    def attribution(self) -> str:
        """The name of a key, project or end user: one of few, so that rows share it."""
        if self.often(0.1):
            return self.text(128)
        return self.random.choice(("key-1", "key-2", "Key-1", "Straße", "=1+1", "\ue000", "𐐀"))

    def time(self, hours: float = 48, *, ahead: bool = False) -> str:
        """A time that was met, or about now."""
        if self.often(0.02):
            return self.random.choice(EXTREME_TIMES)
        if self.times and self.often(0.4) and not ahead:
            return self.moved(self.one_of(self.times, ""))
        low = 0 if ahead else -hours
        moment = self.now + timedelta(seconds=round(self.random.uniform(low, hours) * 3600))
        return format_time(moment)

    def moved(self, time: str) -> str:
        """The time, or one microsecond before or after it."""
        by = timedelta(microseconds=self.random.choice((0, 0, -1, 1)))
        return format_time(datetime.fromisoformat(time) + by)

    def day(self) -> str:
        if self.often(0.02):
            return self.random.choice(("0001-01-01", "1969-12-31", "1970-01-01", "9999-12-31", "2026-02-30"))
        return (self.now + timedelta(days=self.random.randint(-5, 1))).date().isoformat()

    def ref_id(self) -> str:
        given = (
            self.text(200)
            if self.often(0.3)
            else f"{self.random.choice(('i', 'I', 'v', 'ß'))}-{self.random.randint(1, 9)}"
        )
        self.texts.append(given)
        return given

    def ref(self, *kinds: str) -> tuple[str, str, str]:
        """Of something that was opened, mostly."""
        of_kind = [one for one in self.refs if one[1] in kinds]
        if of_kind and self.often(0.85):
            return self.one_of(of_kind, of_kind[0])
        return self.account(), self.random.choice(kinds), self.ref_id()

    def right_key(self, name: str, *others: str) -> str | None:
        """That one, or seldom another one or none."""
        if self.often(0.025):
            return self.random.choice((None, "eco_aaaaaaaa_no", "nonsense", *self.keys.values()))
        return self.keys.get(self.random.choice((name, *others)), self.keys["operator"])

    def manager(self) -> tuple[str, str]:
        """An account that has a manage key, and the key."""
        found = [(name.split()[1], key) for name, key in self.keys.items() if name.startswith("MANAGE ")]
        return self.one_of(found, ("acct_1", self.keys["operator"]))

    def learn(self, answer: Any) -> None:
        self._walk(answer)
        for remembered in (self.ids, self.amounts, self.times, self.all_cursors, self.texts, self.found, self.rows):
            del remembered[:-REMEMBERED]

    def _walk(self, answer: Any) -> None:
        if isinstance(answer, Mapping):
            if str(answer.get("id")).startswith("txn_") and "amount" in answer:
                self.rows.append(answer)
            for name, value in answer.items():
                self._note(name, value)
                self._walk(value)
        elif isinstance(answer, list | tuple):
            for value in answer:
                self._walk(value)

    def _note(self, name: str, value: Any) -> None:
        if not isinstance(value, str):
            return
        if name == "id":
            self.ids.append(value)
            if value.startswith("acct_") and value not in self.accounts:
                self.accounts.append(value)
        elif name in {"amount", "balanceAfter"}:
            self.amounts.append(value)
        elif name in {"description", "refId", "name", "externalId"}:
            self.found.append(value)
        elif name in {"createdAt", "at", "openedAt"}:
            self.times.append(value)
        elif name in {"cursor", "balanceCursor"}:
            self.all_cursors.append(value)
        elif name == "prefix" and value not in self.prefixes:
            self.prefixes.append(value)

    def remember_list(self, listing: Listing, connection: Any) -> None:
        cursors = self.cursors.setdefault(listing, [])
        cursors.extend(edge["cursor"] for edge in connection["edges"])
        del cursors[:-40]

    def listing(self, name: str, variables: Mapping[str, Any]) -> tuple[Listing, dict[str, Any]]:
        """A list that was read before, or a new one; and its variables."""
        before = [one for one in self.cursors if one.name == name]
        if before and self.often(0.4):
            chosen = self.one_of(before, before[0])
            return chosen, json.loads(chosen.variables)
        return Listing(name, json.dumps(variables)), dict(variables)

    def cursor(self, listing: Listing) -> str:
        """One of the list; seldom of another one, or spoiled."""
        if self.often(0.85):
            return self.random.choice(self.cursors[listing])
        if self.often(0.5):
            return self._forged(self.random.choice(self.cursors[listing]))
        found = self.one_of(self.all_cursors, "AQ")
        return self._spoiled(found) if self.often(0.5) else found

    def _spoiled(self, cursor: str) -> str:
        at = self.random.randrange(len(cursor))
        other = self.random.choice("Aaz9_-=ß")
        forged = self._forged(cursor)
        return self.random.choice(
            (cursor[:at], cursor + other, cursor[:at] + other + cursor[at + 1 :], forged, forged, forged)
        )

    def _forged(self, cursor: str) -> str:
        """A cursor of the same list with a position that no row has, as anybody could make one up."""
        try:
            found = read_cursor(cursor, "it")
        except BadCursor:
            return cursor
        writer = CursorWriter(found.kind, found.account_id, found.filter_digest)
        if found.kind == CursorKind.USAGE:
            day = self.random.choice((date.min, date.max, self.now.date()))
            position = (day, self.random.choice(self.words), "chat", self.random.choice("az\x01~"))
            return writer.of_usages([position])[0]
        return writer.of_seq(self.random.choice((-(2**63), -1, 0, 1, 2**62, 2**63 - 1)))
