"""The calls of a story, each drawn from its `Random` and from what the story has met so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from random import Random
from typing import Any, Final, NamedTuple

from ledger.stripe.notices import RECHARGE
from tests.gateway.differential.calls import Call, Operation, Side, Wait, Work
from tests.gateway.differential.downloads import download, linked
from tests.gateway.differential.free_operations import free_operation
from tests.gateway.differential.imports import usage_import
from tests.gateway.differential.known import Known, Listing
from tests.gateway.differential.mutations import any_mutation, mutation, name_of
from tests.gateway.differential.queries import list_query, single_query
from tests.gateway.differential.texts import some_words, welcome
from tests.gateway.differential.webhooks import at_stripe, webhook

FIRST_ACCOUNTS: Final = 2
HUGE: Final = 5e7
"""Times as much: a few such amounts make 9.2 billion."""
SESSIONS: Final = "/v1/checkout/sessions"


class Drawn(NamedTuple):
    call: Call
    listing: Listing | None = None
    """The list that the call reads a page of."""


def _wait(known: Known) -> Wait:
    hours = known.random.choice((0.01, 1, 1, 6, 13, 24, 75))
    return Wait(timedelta(seconds=round(hours * 3600 * known.random.random(), 6)))


def _work(known: Known) -> Work:
    jobs = ("storage", "cycles", "expiry", "stripe-events", "saved-cards", "auto-recharge", "tokens")
    return Work(known.random.choices(jobs, (4, 4, 2, 4, 3, 5, 1))[0])


CALLS: Final[Mapping[str, tuple[int, Callable[[Known], Drawn]]]] = {
    "mutation": (40, lambda known: Drawn(any_mutation(known))),
    "operation": (8, lambda known: Drawn(free_operation(known))),
    "list": (40, lambda known: Drawn(*list_query(known))),
    "query": (8, lambda known: Drawn(single_query(known))),
    "link": (2, lambda known: Drawn(linked(known))),
    "download": (12, lambda known: Drawn(download(known))),
    "webhook": (12, lambda known: Drawn(webhook(known))),
    "import": (6, lambda known: Drawn(usage_import(known))),
    "work": (12, lambda known: Drawn(_work(known))),
    "wait": (7, lambda known: Drawn(_wait(known))),
    "stripe": (4, lambda known: Drawn(at_stripe(known))),
}
"""How often each comes, and what draws it."""


class Story:
    def __init__(self, seed: int, side: Side) -> None:
        """`side` is the one whose answers the story goes by: the other's must be the same."""
        self._side = side
        random = Random(seed)
        self.known = Known(random, side.office.now, dict(side.office.keys), some_words(random))
        self._first_accounts = 11 if seed % 4 == 3 else FIRST_ACCOUNTS
        self.known.most = HUGE if seed % 8 == 0 else 1

    def draw(self) -> Drawn:
        """The first calls open accounts, and a manage key for some, as little can be done without."""
        known = self.known
        if len(known.accounts) < self._first_accounts:
            return Drawn(
                mutation(
                    known,
                    "createAccount",
                    name=welcome(known.random, known.words),
                    externalId=f"ß{known.number}",
                    signupBonus="50.00",
                )
            )
        for account in known.accounts[:FIRST_ACCOUNTS]:
            if f"MANAGE {account}" not in known.keys:
                return Drawn(mutation(known, "createApiKey", scope="MANAGE", owner="ß", accountId=account))
        kinds = list(CALLS)
        (kind,) = known.random.choices(kinds, [CALLS[one][0] for one in kinds])
        return CALLS[kind][1](known)

    def learn(self, drawn: Drawn, answer: Any) -> None:
        known = self.known
        known.now = self._side.office.now
        if isinstance(drawn.call, Operation) and drawn.call.is_learned_from:
            known.learn(answer[1])
            self._learn_of_operation(drawn, answer[1].get("data") or {})
        stripe = self._side.stand_in
        known.customers += [one for one in stripe.customers if one not in known.customers]
        known.attempts = [one for one in stripe.payments.values() if RECHARGE in one["metadata"]]

    def _learn_of_operation(self, drawn: Drawn, data: Mapping[str, Any]) -> None:
        assert isinstance(drawn.call, Operation)
        if drawn.listing is not None:
            connection = (data.get("account") or data).get(drawn.listing.name)
            if connection is not None:
                self.known.remember_list(drawn.listing, connection)
        if "input" in drawn.call.variables and data:
            self._learn_of_mutation(name_of(drawn.call), drawn.call.variables["input"], data)

    def _learn_of_mutation(self, name: str, given: Mapping[str, Any], data: Mapping[str, Any]) -> None:
        payload = data[name]
        if name in {"openHold", "setVolume"}:
            self.known.refs.append((given["accountId"], given["refType"], given["refId"]))
        if name == "createTopUp":
            self.known.sessions.append(
                (payload["sessionId"], self._side.stand_in.asked_for(SESSIONS)[-1].form["customer"])
            )
        if secret := payload.get("secret"):
            key = payload["apiKey"]
            self.known.keys[f"{key['scope']} {key['accountId']}"] = secret
