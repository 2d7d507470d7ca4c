"""Random queries: lists with every filter and paging argument, single objects, and figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from tests.gateway.differential import texts
from tests.gateway.differential.calls import Operation
from tests.gateway.differential.known import ALL_REF_TYPES, CATEGORIES, EXTREME_IDS, ORIGINS, Known, Listing
from tests.gateway.differential.mutations import model
from tests.gateway.mutations.office import LIMIT, RECHARGE, ROW

Variables = dict[str, Any]

TYPES: Final = (
    *("TOPUP", "AUTO_RECHARGE", "GPU_USAGE", "STORAGE_BILLING", "REFUND"),
    *("BONUS", "ADMIN_CORRECTION", "CONTRACT_GRANT", "BONUS_GRANT"),
)
SOURCES: Final = ("STRIPE_WEBHOOK", "METERING", "STORAGE_WORKER", "PROMOTION", "ADMIN_CORRECTION", "CONTRACT")

_PAGE: Final = "pageInfo { hasNextPage hasPreviousPage startCursor endCursor } totalCount"
_ACCOUNT: Final = "id externalId name currency status createdAt balance balanceCursor hasSavedCard usageCompleteUntil"
_RUNWAY: Final = (
    "runway { state endsAt available runningPerHour rechargesBefore explanation lastDay { from to cost perDay }"
    " lastWeek { from to cost perDay } }"
)
_CHARGE: Final = "id state refType refId held refunded overage billed heldNow cycles openedAt closedAt net"
_NODE: Final = "net refunded chargeRefType: refType chargeRefId: refId transactions(last: 2) { nodes { id } }"
_LIMIT: Final = "amount limitProject: project spent reserved remaining resetsAt"
_TRANSACTION: Final = (
    f"{ROW} balanceBefore corrects {{ id }} account {{ id balance }} charge {{ {_CHARGE} }} explanation stripeUrl"
)
_USAGE: Final = "day model category origin calls inputTokens outputTokens tokens cost"
_REQUEST: Final = (
    "id at model category origin apiKeyId project endUser inputTokens cachedInputTokens outputTokens reasoningTokens"
    " units cost price { inputPerMillion cachedInputPerMillion outputPerMillion reasoningPerMillion perUnit perCall"
    " from until source } transaction { id amount }"
)
_SUMMARY: Final = (
    "month totalCost grossCost refunded heldInOpenCharges apiCalls platformCalls userInferenceCalls totalTokens"
)
_KEY: Final = (
    "prefix scope owner isSession createdAt expiresAt revokedAt accountId allowedAddresses pointsPerSecond burst"
)
_EVENT: Final = "id type state reason createdAt receivedAt objectId tries nextTryAt account { id name }"
_ACTIVITY: Final = "at act actor owner scope keyPrefix description oldValue newValue id transactions { id amount }"
_AUDIT: Final = f"{_ACTIVITY} account {{ id }}"


def _connection(node: str, more: str = "") -> str:
    return f"{{ edges {{ cursor node {{ {node} }} }} {_PAGE} {more} }}"


_PAGING: Final = "$first: Int, $after: String, $last: Int, $before: String"
_PAGED: Final = "first: $first, after: $after, last: $last, before: $before"
_FORWARD: Final = "$first: Int, $after: String"


def _of_account(name: str, kind: str, selection: str) -> str:
    return (
        f"query ($id: ID, {_PAGING}, $filter: {kind}) {{ account(id: $id) {{ "
        f"{name}({_PAGED}, filter: $filter) {selection} }} }}"
    )


_TOTALS: Final = "totals { count credits debits net }"
_USAGE_TOTALS: Final = "totals { calls inputTokens outputTokens tokens cost }"
_STATEMENT: Final = (
    "query ($id: ID, $from: Date!, $to: Date!, $last: Int) { account(id: $id) { statement(from: $from, to: $to) {"
    " from to opening closing rows isFinal movements { kind gross refunded net }"
    f" transactions(last: $last) {_connection('id amount', _TOTALS)} }} }} }}"
)
_FIGURES: Final = "calls inputTokens cachedInputTokens outputTokens reasoningTokens tokens units cost"
_COSTS: Final = "gross refunded cost"
_WINDOW: Final = "from to timeZone completeUntil"


def _totals_of_account(name: str, dimension: str, kind: str, selection: str) -> str:
    return (
        f"query ($id: ID, $groupBy: [{dimension}!], {_FORWARD}, $filter: {kind}, $timeZone: String) {{"
        f" account(id: $id) {{ {name}(groupBy: $groupBy, first: $first, after: $after, filter: $filter,"
        f" timeZone: $timeZone) {selection} }} }}"
    )


LISTS: Final[Mapping[str, str]] = {
    "transactions": _of_account("transactions", "TransactionFilter", _connection(_TRANSACTION, _TOTALS)),
    "charges": _of_account(
        "charges", "ChargeFilter", _connection(f"{_CHARGE} transactions(first: 3) {_connection('id', _TOTALS)}")
    ),
    "usage": _of_account("usage", "UsageFilter", _connection(_USAGE, _USAGE_TOTALS)),
    "usageRequests": f"query ($id: ID, {_FORWARD}, $filter: UsageRequestFilter) {{ account(id: $id) {{"
    f" usageRequests(first: $first, after: $after, filter: $filter) {_connection(_REQUEST)} }} }}",
    "usageTotals": _totals_of_account(
        "usageTotals",
        "UsageDimension",
        "UsageTotalsFilter",
        _connection(
            f"hour day week month model category origin apiKeyId project {_FIGURES} shareOfCost",
            f"totals {{ {_FIGURES} }} {_WINDOW} undividedDays",
        ),
    ),
    "costTotals": _totals_of_account(
        "costTotals",
        "CostDimension",
        "CostFilter",
        _connection(
            f"hour day week month kind refType refId apiKeyId project {_COSTS} shareOfCost",
            f"totals {{ {_COSTS} }} {_WINDOW} usageDifference {{ usageCost charged difference imported shifted }}",
        ),
    ),
    "apiKeys": f"query ($id: ID, {_FORWARD}) {{ account(id: $id) {{ apiKeys(first: $first, after: $after)"
    f" {_connection(_KEY)} }} }}",
    "activity": f"query ($id: ID, {_FORWARD}) {{ account(id: $id) {{ activity(first: $first, after: $after)"
    f" {_connection(_ACTIVITY)} }} }}",
    "accounts": f"query ({_FORWARD}, $search: String) {{ accounts(first: $first, after: $after, search: $search)"
    f" {_connection(_ACCOUNT)} }}",
    "auditEntries": f"query ({_FORWARD}, $filter: AuditFilter) {{ auditEntries(first: $first, after: $after,"
    f" filter: $filter) {_connection(_AUDIT)} }}",
    "stripeEvents": f"query ({_FORWARD}, $state: StripeEventState) {{ stripeEvents(first: $first, after: $after,"
    f" state: $state) {_connection(_EVENT)} }}",
}
_BACKWARD: Final = frozenset({"transactions", "charges", "usage"})
"""Lists that take `last` and `before` too."""


def _some(known: Known, *given: tuple[str, Callable[[], Any]], share: float = 0.2) -> Variables:
    """Some of the fields of a filter."""
    return {name: draw() for name, draw in given if known.often(share)}


def _several(known: Known, words: tuple[str, ...]) -> list[str]:
    return known.random.sample(words, min(known.random.choice((0, 1, 2, 2, 3, 4)), len(words)))


def _range(known: Known, draw: Callable[[], Any], least: str, most: str) -> Variables:
    return _some(known, (least, draw), (most, draw), share=0.7)


def _amount(known: Known) -> str:
    return known.one_of(known.amounts, "0.00") if known.often(0.7) else known.amount()


def _ref_id(known: Known) -> str:
    """As it was given, or in another spelling, which must not be found."""
    _, _, ref_id = known.one_of(known.refs, ("", "", known.ref_id()))
    return ref_id if known.often(0.7) else texts.respelled(known.random, ref_id)


def _like(known: Known, row: Mapping[str, Any]) -> Variables:
    """A filter that finds the row, mostly: near it are others that it may not find."""
    given: Variables = {
        "types": [row["type"], *_several(known, TYPES)[:1]],
        "sources": [row.get("source", "METERING")],
        "createdAt": {known.random.choice(("gte", "lt")): known.moved(row["createdAt"])},
        "amount": {known.random.choice(("gte", "lte")): row["amount"]},
        "search": texts.needle(known.random, [row["description"], row.get("refId") or row["description"]]),
    }
    if row.get("refId"):
        ref_id = row["refId"] if known.often(0.5) else texts.respelled(known.random, row["refId"])
        given |= {"refType": row["refType"], "refId": ref_id}
    chosen = known.random.sample(list(given), known.random.choice((1, 1, 2, 2, 3)))
    if known.often(0.5):
        chosen = [known.random.choice(("search", "search", "refId"))]
    return {name: value for name, value in given.items() if name in chosen}


def _transaction_filter(known: Known) -> Variables:
    return _some(
        known,
        ("types", lambda: _several(known, TYPES)),
        ("sources", lambda: _several(known, SOURCES)),
        ("createdAt", lambda: _range(known, known.time, "gte", "lt")),
        ("amount", lambda: _range(known, lambda: _amount(known), "gte", "lte")),
        ("refType", lambda: known.random.choice(ALL_REF_TYPES)),
        ("refId", lambda: _ref_id(known)),
        ("search", known.needle),
        share=0.15,
    )


def _transactions(known: Known) -> Variables:
    complete = [row for row in known.rows if "periodStart" in row]
    complete = [row for row in complete if row["refId"]] or complete
    if not complete or known.often(0.25):
        return {"id": known.account(), "filter": _transaction_filter(known)}
    row = known.one_of(complete, {})
    return {"id": f"acct_{row['id'].split('_')[1]}", "filter": _like(known, row)}


def _charges(known: Known) -> Variables:
    account, kind, ref_id = known.one_of(known.refs, (known.account(), "VOLUME", "v-1"))
    given = _some(
        known,
        ("state", lambda: known.random.choice(("OPEN", "SETTLED", "EXPIRED"))),
        ("refType", lambda: kind if known.often(0.8) else known.random.choice(ALL_REF_TYPES)),
        ("refId", lambda: ref_id if known.often(0.8) else texts.respelled(known.random, ref_id)),
        ("openedAt", lambda: _range(known, known.time, "gte", "lt")),
        share=0.2,
    )
    return {"id": account, "filter": given}


def _usage_filter(known: Known) -> Variables:
    return _some(
        known,
        ("day", lambda: _range(known, known.day, "gte", "lt")),
        ("models", lambda: [model(known) for _ in range(known.random.randint(0, 4))]),
        ("categories", lambda: _several(known, CATEGORIES)),
        ("origins", lambda: _several(known, ORIGINS)),
    )


def _names(known: Known) -> list[str]:
    return [known.attribution() for _ in range(known.random.randint(0, 3))]


def _usage_request_filter(known: Known) -> Variables:
    return _some(
        known,
        ("at", lambda: _range(known, known.time, "gte", "lt")),
        ("models", lambda: [model(known) for _ in range(known.random.randint(0, 4))]),
        ("categories", lambda: _several(known, CATEGORIES)),
        ("origins", lambda: _several(known, ORIGINS)),
        ("apiKeyIds", lambda: _names(known)),
        ("projects", lambda: _names(known)),
        ("endUsers", lambda: _names(known)),
        share=0.15,
    )


_ZONES: Final = ("UTC", "America/Los_Angeles", "Asia/Tokyo", "Europe/Berlin", "Asia/Kolkata", "nowhere")
_TIMES: Final = ("HOUR", "DAY", "WEEK", "MONTH")
_WHO: Final = ("API_KEY", "PROJECT")


def _group_by(known: Known, others: tuple[str, ...]) -> list[str]:
    times = [known.random.choice(_TIMES)] if known.often(0.7) else []
    return times + _several(known, (*others, *_WHO))


def _who(known: Known) -> Variables:
    return _some(
        known,
        ("apiKeyIds", lambda: _names(known)),
        ("projects", lambda: _names(known)),
        ("withoutApiKey", lambda: True),
        ("withoutProject", lambda: True),
        share=0.15,
    )


def _usage_totals(known: Known) -> Variables:
    given = {"filter": _usage_filter(known) | _who(known), "groupBy": _group_by(known, ("MODEL", "CATEGORY", "ORIGIN"))}
    return given | _some(known, ("timeZone", lambda: known.random.choice(_ZONES)), share=0.6)


_KINDS: Final = ("GPU_INSTANCE", "INFERENCE_INSTANCE", "VOLUME", "SHARED_FILESYSTEM", "API_USAGE", "OTHER")


def _cost_totals(known: Known) -> Variables:
    chosen = _some(
        known,
        ("day", lambda: _range(known, known.day, "gte", "lt")),
        ("kinds", lambda: _several(known, _KINDS)),
        ("refType", lambda: known.random.choice(ALL_REF_TYPES)),
        ("refId", lambda: _ref_id(known)),
    )
    given = {"filter": chosen | _who(known), "groupBy": _group_by(known, ("KIND", "RESOURCE"))}
    return given | _some(known, ("timeZone", lambda: known.random.choice(_ZONES)), share=0.6)


def _audit_filter(known: Known) -> Variables:
    return _some(
        known,
        ("act", lambda: known.random.choice(("correctBalance", "createAccount", "createApiKey", "ß", "a\x00"))),
        ("actor", lambda: known.one_of(known.prefixes, known.text())),
        ("accountId", known.account),
        ("at", lambda: _range(known, known.time, "gte", "lt")),
    )


_FILTERS: Final[Mapping[str, Callable[[Known], Variables]]] = {
    "transactions": _transactions,
    "charges": _charges,
    "usage": lambda known: {"filter": _usage_filter(known)},
    "usageRequests": lambda known: {"filter": _usage_request_filter(known)},
    "usageTotals": _usage_totals,
    "costTotals": _cost_totals,
    "apiKeys": lambda known: {},
    "activity": lambda known: {},
    "accounts": lambda known: _some(known, ("search", known.needle), share=0.8),
    "auditEntries": lambda known: {"filter": _audit_filter(known)},
    "stripeEvents": lambda known: _some(
        known, ("state", lambda: known.random.choice(("APPLIED", "IGNORED", "WAITING", "NEEDS_ATTENTION")))
    ),
}


def _paging(known: Known, listing: Listing) -> Variables:
    size = known.random.choice((1, 2, 3, 5, 20, 1000))
    if known.often(0.03):
        size = known.random.choice((0, -1, 1001))
    forward = known.often(0.6) or listing.name not in _BACKWARD
    paging: Variables = {"first" if forward else "last": size} if known.often(0.9) else {}
    if known.often(0.03):
        paging |= {"first": 1, "last": 1}
    has_cursors = bool(known.cursors.get(listing))
    if has_cursors and known.often(0.5):
        paging["after"] = known.cursor(listing)
    if has_cursors and listing.name in _BACKWARD and known.often(0.35):
        paging["before"] = known.cursor(listing)
    return paging


def _reader(known: Known, variables: Variables) -> str | None:
    """An operator's key mostly, or the account's own."""
    account = variables.get("id")
    return known.right_key("operator", "operator", "operator", f"MANAGE {account}", f"READ {account}", "service")


def list_query(known: Known) -> tuple[Operation, Listing]:
    """A page of a list."""
    names = list(LISTS)
    (name,) = known.random.choices(names, (8, 3, 5, 3, 4, 4, 1, 1, 4, 1, 1))
    of_account = {"id": known.account()} if "$id: ID" in LISTS[name] else {}
    listing, variables = known.listing(name, of_account | _FILTERS[name](known))
    key = _reader(known, variables) if of_account else known.right_key("operator")
    return Operation(LISTS[name], variables | _paging(known, listing), key), listing


def _month(known: Known) -> str:
    return known.random.choice((f"{known.now:%Y-%m}", "2026-10", "2026-11", "2026-12", "2026-13"))


def _statement(known: Known) -> Operation:
    variables: Variables = {"id": known.account(), "from": known.day(), "to": known.day()}
    variables["last"] = known.random.choice((1, 20, 1000))
    return Operation(_STATEMENT, variables, _reader(known, variables))


def _figures(known: Known) -> Operation:
    query = (
        "query ($id: ID, $at: DateTime, $month: YearMonth, $last: Int) { account(id: $id) {"
        f" {_ACCOUNT} {_RUNWAY} companyDetails {{ name addressLines taxId updatedAt }}"
        f" then: balance(asOf: $at) autoRecharge {{ {RECHARGE} }} spendLimits {{ {LIMIT} }}"
        f" monthlySummary(month: $month) {{ {_SUMMARY} }} monthlySummaries(last: $last) {{ {_SUMMARY} }} }} }}"
    )
    variables: Variables = {"id": known.account(), "at": known.time(), "month": _month(known)}
    variables["last"] = known.random.choice((1, 3, 12, 0, 121))
    return Operation(query, variables, _reader(known, variables))


def _usage_request(known: Known) -> Operation:
    query = (
        f"query ($id: ID, $request: String!) {{ account(id: $id) {{ usageRequest(id: $request) {{ {_REQUEST} }} }} }}"
    )
    request = f"r{known.random.randint(1, 60)}" if known.often(0.9) else known.text(255)
    variables: Variables = {"id": known.account(), "request": request}
    return Operation(query, variables, _reader(known, variables))


def _object(known: Known) -> Operation:
    found = known.one_of(known.ids, "acct_1") if known.often(0.9) else known.random.choice(EXTREME_IDS)
    if known.often(0.5):
        query = f"query ($id: ID!) {{ transaction(id: $id) {{ {_TRANSACTION} }} }}"
    else:
        query = (
            f"query ($id: ID!) {{ node(id: $id) {{ __typename id ... on Account {{ {_ACCOUNT} }}"
            f" ... on Charge {{ {_NODE} }} ... on Transaction {{ {_TRANSACTION} }}"
            f" ... on SpendLimit {{ {_LIMIT} }} }} }}"
        )
    return Operation(query, {"id": found}, known.right_key("operator", "operator", *known.keys))


def _found(known: Known) -> Operation:
    elsewhere = (known.random.choice(known.customers), known.one_of(known.event_ids, "evt_none"), known.text(255))
    given = known.random.choice(elsewhere) if known.often(0.6) else known.one_of(known.ids, "acct_1")
    query = (
        "query ($id: String!) { find(id: $id) { account { id } transaction { id amount } charge { id }"
        f" spendLimit {{ id }} apiKey {{ {_KEY} }} stripeEvent {{ id state }} }} }}"
    )
    return Operation(query, {"id": given}, known.right_key("operator", "operator", *known.keys))


def _viewer(known: Known) -> Operation:
    return Operation("{ viewer { scope account { id } keyPrefix keyExpiresAt } }", {}, known.right_key(*known.keys))


def single_query(known: Known) -> Operation:
    kinds = (_figures, _statement, _usage_request, _object, _found, _viewer)
    return known.random.choices(kinds, (5, 3, 3, 5, 1, 1))[0](known)
