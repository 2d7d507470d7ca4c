"""Random mutations: a function for each, which returns the input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final

from access.keys import ServiceOperation
from ledger.chain import format_time
from tests.gateway.differential.calls import Operation
from tests.gateway.differential.known import CATEGORIES, EXTREME_TIMES, ORIGINS, Known
from tests.gateway.mutations.office import MORE, PAYLOAD, document

Input = dict[str, Any]

_KEY: Final = (
    "prefix scope owner createdAt expiresAt revokedAt accountId accountIds operations allowedAddresses pointsPerSecond"
    " burst"
)
_EVENT: Final = "id type state reason createdAt receivedAt objectId tries nextTryAt account { id }"
SELECTIONS: Final[Mapping[str, str]] = {
    "createApiKey": f"apiKey {{ {_KEY} }} transactions {{ id }} balance replayed secret",
    "rotateApiKey": f"apiKey {{ {_KEY} }} transactions {{ id }} balance replayed secret replaced {{ {_KEY} }}",
    "revokeApiKey": f"apiKey {{ {_KEY} }} transactions {{ id }} balance replayed",
    "setApiKeyRate": f"apiKey {{ {_KEY} }} transactions {{ id }} balance replayed",
    "createSignInLink": "transactions { id } balance replayed expiresAt",
    "dismissStripeEvent": f"event {{ {_EVENT} }} transactions {{ id }} replayed",
}
"""Payloads that are not like the others."""


def _create_account(known: Known) -> Input:
    given: Input = {"name": known.text(200)}
    if known.often(0.6):
        given["externalId"] = known.text(200)
    if known.often(0.7):
        given["signupBonus"] = known.amount(500)
    return given


def _period(known: Known, kind: str) -> Input:
    start = known.now + timedelta(minutes=known.random.choice((0, 0, 0, -30, 10)))
    hours = 24 if kind == "INFERENCE_INSTANCE" else known.random.randint(1, 60)
    if known.often(0.03):
        hours = known.random.choice((0, -1, 30_000))
    return {"periodStart": format_time(start), "periodEnd": format_time(start + timedelta(hours=hours))}


def _described(known: Known, given: Input, *names: str) -> Input:
    return given | {name: known.text() for name in names if known.often(0.4)}


def _open_hold(known: Known) -> Input:
    kind = known.random.choice(("GPU_INSTANCE", "INFERENCE_INSTANCE", "INFERENCE_INSTANCE"))
    if known.often(0.03):
        kind = "VOLUME"
    given = {"accountId": known.account(), "refType": kind, "refId": known.ref_id(), "amount": known.amount()}
    return _described(known, given | _period(known, kind), "description")


def _settle_hold(known: Known) -> Input:
    account, kind, ref_id = known.ref("GPU_INSTANCE", "INFERENCE_INSTANCE")
    given = {"accountId": account, "refType": kind, "refId": ref_id, "used": known.amount()}
    if known.often(0.2):
        given["endedAt"] = known.time(6)
    return _described(known, given, "description")


def _renew_hold(known: Known) -> Input:
    account, _, ref_id = known.ref("INFERENCE_INSTANCE")
    given = {"accountId": account, "refId": ref_id, "used": known.amount(), "amount": known.amount()}
    return _described(known, given, "description", "settlementDescription")


def _count(known: Known) -> str:
    if known.often(0.03):
        return known.random.choice(("9223372036854775807", "9223372036854775808", "-1", "4611686018427387904", "٣"))
    return str(known.random.randint(0, 5_000))


def _usage_request(known: Known) -> Input:
    given: Input = {
        "id": known.text(255) if known.often(0.1) else f"r{known.random.randint(1, 60)}",
        "at": known.time(30) if known.often(0.5) else format_time(known.now),
        "model": model(known),
        "category": known.random.choice(CATEGORIES),
        "cost": known.amount(3),
        "inputTokens": _count(known),
        "outputTokens": _count(known),
    }
    if known.often(0.4):
        given["origin"] = known.random.choice(ORIGINS)
    given |= {name: known.attribution() for name in ("apiKeyId", "project", "endUser") if known.often(0.3)}
    given |= {name: _count(known) for name in ("cachedInputTokens", "reasoningTokens") if known.often(0.1)}
    return given


def model(known: Known) -> str:
    """One of few, so that days meet."""
    if known.often(0.15):
        return known.text(200)
    return known.random.choice(
        (
            "Node",
            "node",
            "Straße",
            "Strasse",
            "日本語モデル",
            "=1+1",
            'a"b',
            "a, b",
            "é",
            "e\u0301",
            "＝1",
            "\ue000",
            "𐐀",
        )
    )


def _record_usage(known: Known) -> Input:
    requests = [
        _usage_request(known)
        for _ in range(known.random.choice((0, 1, 2, 3, 5) if known.often(0.05) else (1, 2, 3, 5)))
    ]
    given: Input = {"accountId": known.account(), "requests": requests}
    if known.often(0.3):
        given["batchId"] = known.ref_id()
    return _described(known, given, "description")


def _grant_bonus(known: Known) -> Input:
    given = {"accountId": known.account(), "amount": known.amount(100), "promotion": known.ref_id()}
    return _described(known, given, "description")


def _correct_balance(known: Known) -> Input:
    sign = known.random.choice(("", "", "-"))
    given = {"accountId": known.account(), "amount": sign + known.amount(300), "description": known.text()}
    if known.often(0.3):
        given["corrects"] = f"txn_{given['accountId'].removeprefix('acct_')}_{known.random.randint(1, 20)}"
    return given


def _grant_contract(known: Known) -> Input:
    given = {"accountId": known.account(), "amount": known.amount(1000), "contract": known.ref_id()}
    if known.often(0.5):
        given["bonus"] = known.amount(100)
    return _described(known, given, "description")


def _status(known: Known) -> Input:
    return {"accountId": known.account(), "reason": known.text()}


def _since(known: Known, name: str) -> Input:
    return {name: known.time(40)} if known.often(0.5) else {}


def _set_volume(known: Known) -> Input:
    account, kind, ref_id = known.ref("VOLUME", "SHARED_FILESYSTEM")
    gib = known.random.choice((0, 1, 100, 500, 2**31 - 1) if known.often(0.1) else (1, 50, 500))
    given = {"accountId": account, "refType": kind, "refId": ref_id, "gib": gib, "pricePerGibDay": known.amount(0.1)}
    return given | _since(known, "since")


def _delete_volume(known: Known) -> Input:
    account, kind, ref_id = known.ref("VOLUME", "SHARED_FILESYSTEM")
    return {"accountId": account, "refType": kind, "refId": ref_id} | _since(known, "deletedAt")


def _set_instance_rate(known: Known) -> Input:
    account, _, ref_id = known.ref("INFERENCE_INSTANCE")
    given = {"accountId": account, "refId": ref_id, "gpus": known.random.choice((1, 1, 2, 8, 0, -1))}
    return given | {"pricePerGpuHour": known.amount(2)} | _since(known, "since")


def _mark_usage_complete(known: Known) -> Input:
    service = known.text(128) if known.often(0.1) else known.random.choice(("router", "Router", "ж"))
    return {"accountId": known.account(), "service": service, "until": known.time(40)}


_ADDRESSES: Final[tuple[list[str], ...]] = (["127.0.0.0/8", "::1"], ["0.0.0.0/0"], ["203.0.113.7"], ["127.0.0.1/8"], [])
"""The last two are refused."""


def _create_api_key(known: Known) -> Input:
    scope = known.random.choice(("READ", "MANAGE", "MANAGE", "SERVICE", "OPERATOR"))
    given: Input = {"scope": scope, "owner": known.text(200)}
    if scope in {"READ", "MANAGE"} or known.often(0.05):
        given["accountId"] = known.account()
    if scope == "SERVICE" and known.often(0.5):
        given["accountIds"] = [known.account() for _ in range(known.random.randint(0, 3))]
    if known.often(0.4):
        given["expiresAt"] = known.random.choice((*EXTREME_TIMES, known.time(90, ahead=True)))
    if known.often(0.3):
        given["allowedAddresses"] = known.random.choice(_ADDRESSES)
    return given


def _prefix(known: Known) -> Input:
    return {"prefix": known.one_of(known.prefixes, "eco_aaaaaaaa")}


def _rotate_api_key(known: Known) -> Input:
    return _prefix(known) | (
        {"graceSeconds": known.random.choice((0, 60, 604_800, 604_801))} if known.often(0.7) else {}
    )


def _set_api_key_rate(known: Known) -> Input:
    # Never so low that calls would be refused for it, as time passes differently for both gateways.
    rates: tuple[Input, ...] = (
        {},
        {"pointsPerSecond": 1_000_000},
        {"pointsPerSecond": 100_000_000, "burst": 1_000_000_000},
        {"burst": 1},
    )
    return _prefix(known) | known.random.choice(rates)


def _set_auto_recharge(known: Known) -> Input:
    given: Input = {"threshold": known.amount(60), "amount": "25.00", "dailyLimit": "60.00"}
    if known.often(0.2):
        given["amount"] = known.amount(60)
    if known.often(0.1):
        given["enabled"] = False
    return given


def _set_spend_limit(known: Known) -> Input:
    given: Input = {"accountId": known.account(), "amount": known.amount(100)}
    given["window"] = known.random.choice(("DAY", "WEEK", "MONTH", "TOTAL"))
    if known.often(0.4):
        given["apiKeyId"] = known.text(128) if known.often(0.1) else known.random.choice(("k-1", "k-2"))
    if known.often(0.3):
        given["project"] = known.text(128) if known.often(0.1) else known.random.choice(("p", "P"))
    if known.often(0.3):
        given["notifyAtPercent"] = known.random.choice(([], [1, 100], [90, 10], [50, 50], [0], list(range(1, 12))))
    return given


def _delete_spend_limit(known: Known) -> Input:
    number = known.random.choice((1, 1, 2, 3, 99))
    return {"limitId": f"limit_{known.account().removeprefix('acct_')}_{number}"}


def _create_sign_in_link(known: Known) -> Input:
    given: Input = {"accountId": known.account(), "scope": known.random.choice(("READ", "MANAGE", "SERVICE"))}
    if known.often(0.5):
        given["owner"] = known.text(200)
    if known.often(0.2):
        given["sessionSeconds"] = known.random.choice((299, 300, 86_400))
    return given


def _create_top_up(known: Known) -> Input:
    amount = f"{known.random.randint(5, 200)}.00" if known.often(0.8) else known.amount(100)
    return {
        "amount": amount,
        "successUrl": "https://example.com/ß?{CHECKOUT_SESSION_ID}",
        "cancelUrl": "http://[::1]/",
    }


def _link_customer(known: Known) -> Input:
    return {"accountId": known.account(), "customer": known.random.choice(known.customers)}


def _dismiss_event(known: Known) -> Input:
    return {"eventId": known.one_of(known.event_ids, "evt_none"), "reason": known.text()}


def _set_company_details(known: Known) -> Input:
    lines = [known.text(100) for _ in range(known.random.choice((0, 1, 2, 7)))]
    given: Input = {"accountId": known.account(), "name": known.text(200), "addressLines": lines}
    return given | ({"taxId": known.text(50)} if known.often(0.5) else {})


MUTATIONS: Final[Mapping[str, tuple[int, Callable[[Known], Input]]]] = {
    "createAccount": (3, _create_account),
    "openHold": (9, _open_hold),
    "settleHold": (5, _settle_hold),
    "renewHold": (3, _renew_hold),
    "recordUsage": (6, _record_usage),
    "grantBonus": (3, _grant_bonus),
    "correctBalance": (5, _correct_balance),
    "grantContract": (3, _grant_contract),
    "suspendAccount": (1, _status),
    "reactivateAccount": (2, _status),
    "setVolume": (4, _set_volume),
    "deleteVolume": (1, _delete_volume),
    "setInstanceRate": (3, _set_instance_rate),
    "markUsageComplete": (2, _mark_usage_complete),
    "createApiKey": (2, _create_api_key),
    "rotateApiKey": (1, _rotate_api_key),
    "revokeApiKey": (1, _prefix),
    "setApiKeyRate": (1, _set_api_key_rate),
    "setAutoRecharge": (4, _set_auto_recharge),
    "setSpendLimit": (4, _set_spend_limit),
    "deleteSpendLimit": (1, _delete_spend_limit),
    "setCompanyDetails": (2, _set_company_details),
    "createSignInLink": (1, _create_sign_in_link),
    "createTopUp": (3, _create_top_up),
    "createBillingPortalSession": (1, lambda known: {"returnUrl": f"https://example.com/{known.random.randint(1, 2)}"}),
    "linkStripeCustomer": (2, _link_customer),
    "dismissStripeEvent": (1, _dismiss_event),
}
"""How often each comes, and what draws its input."""

_OF_SERVICES: Final = frozenset(one.value for one in ServiceOperation) - {"createSignInLink"}
_OF_MANAGERS: Final = frozenset({"setAutoRecharge", "setCompanyDetails", "createTopUp", "createBillingPortalSession"})


def _key(known: Known, name: str, given: Input) -> str | None:
    if name in _OF_SERVICES:
        return known.right_key("service")
    if name in _OF_MANAGERS or (name.endswith(("ApiKey", "SpendLimit")) and known.often(0.3)):
        account, key = known.manager()
        if known.often(0.2):
            given["accountId"] = account
        return key if known.often(0.95) else known.right_key(f"READ {account}")
    return known.right_key("operator")


def any_mutation(known: Known) -> Operation:
    """A new one, or seldom one that was sent before, with the same input or another."""
    if known.calls and known.often(0.1):
        before = known.one_of(known.calls, known.calls[0])
        return before if known.often(0.6) else _changed(known, before)
    weights = [weight for weight, _ in MUTATIONS.values()]
    return mutation(known, known.random.choices(list(MUTATIONS), weights)[0])


def mutation(known: Known, name: str, /, **fixed: Any) -> Operation:
    given = MUTATIONS[name][1](known) | fixed
    idempotency_key = known.text(255) if known.often(0.1) and not fixed else f"call-{known.next_number()}"
    key = known.keys["operator"] if fixed else _key(known, name, given)
    call = Operation(_document(name), {"input": {"idempotencyKey": idempotency_key} | given}, key)
    known.calls.append(call)
    return call


def _document(name: str) -> str:
    return document(name, SELECTIONS.get(name) or f"{PAYLOAD} {MORE.get(name, '')}")


def _changed(known: Known, before: Operation) -> Operation:
    """The same key with another input, or with another account's."""
    name = name_of(before)
    given = MUTATIONS[name][1](known) | {"idempotencyKey": before.variables["input"]["idempotencyKey"]}
    if "accountId" in given and known.often(0.7):
        given["accountId"] = before.variables["input"].get("accountId", given["accountId"])
    return Operation(before.document, {"input": given}, before.key)


def name_of(call: Operation) -> str:
    return call.document.split("{")[1].split("(")[0].strip()
