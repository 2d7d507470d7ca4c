"""Costs: the table of weights for the cost of an operation before it runs (`execution/costs.py`).

A point is about ten microseconds of processor time. docs/limits.md has the table for users, and
`tests/gateway/limits/test_cost.py` compares both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from db.hour_totals import MAX_UNDIVIDED_DAYS
from execution.costs import Weight, Weights
from ledger.limit_settings import MAX_LIMITS
from resolvers.pages import DEFAULT_PAGE, MAX_PAGE
from resolvers.reads.finding import MAX_FOUND
from resolvers.reads.statements import MovementKind

Arguments = Mapping[str, Any]

MONTH_OF_DAYS: Final = 31


def _page_length(arguments: Arguments) -> int:
    given = arguments.get("first") or arguments.get("last") or DEFAULT_PAGE
    return min(int(given), MAX_PAGE)


def _months(arguments: Arguments) -> int:
    return min(int(arguments.get("last") or 12), 120)


def _requests(arguments: Arguments) -> int:
    return len(arguments["input"].requests)


def _limits(_arguments: Arguments) -> int:
    return MAX_LIMITS


def _movements(_arguments: Arguments) -> int:
    return len(MovementKind)


def _two(_arguments: Arguments) -> int:
    """An operator's action writes one row; a contract writes two."""
    return 2


def _found(_arguments: Arguments) -> int:
    return MAX_FOUND


def _is_filtered(arguments: Arguments) -> bool:
    return bool(arguments.get("filter"))


def _undivided_days(_arguments: Arguments) -> int:
    return MAX_UNDIVIDED_DAYS


def _is_long(arguments: Arguments) -> bool:
    """Whether totals by hour cover more than a month of days."""
    given = arguments.get("filter")
    day = given.day if given else None
    return not (day and day.gte and day.lt and (day.lt - day.gte).days <= MONTH_OF_DAYS)


def _is_long_period(arguments: Arguments) -> bool:
    """Whether a statement covers more than a month of days."""
    return bool((arguments["to_day"] - arguments["from_day"]).days > MONTH_OF_DAYS)


def _page(points: float = 12.0, is_scan: Callable[[Arguments], bool] | None = None) -> Weight:
    return Weight(points, length=_page_length, is_scan=is_scan)


_POSTING: Final = Weight(60.0)
_WRITE: Final = Weight(100.0)
_HOURS: Final = Weight(200.0, length=_page_length, is_scan=_is_long, scanned=0.1)

WEIGHTS: Final = Weights(
    operation=12.0,
    leaf=0.06,
    object=0.06,
    unknown_length=10,
    max_scan=4_000.0,
    fields={
        "Query.__schema": Weight(1_500.0),
        "Query.__type": Weight(150.0),
        "Query.account": Weight(5.0),
        "Query.accounts": _page(),
        "Query.auditEntries": _page(),
        "Query.find": Weight(50.0, length=_found),
        "Query.stripeEvents": _page(),
        "Query.transaction": Weight(5.0),
        "Query.node": Weight(5.0),
        "Account.balance": Weight(0.5),
        "Account.monthlySummary": Weight(5.0),
        "Account.monthlySummaries": Weight(5.0, length=_months),
        "Account.transactions": _page(is_scan=_is_filtered),
        "Account.usage": _page(is_scan=_is_filtered),
        "Account.usageRequest": Weight(5.0),
        "Account.usageRequests": _page(is_scan=_is_filtered),
        "Account.usageCompleteUntil": Weight(3.0),
        "Account.charges": _page(is_scan=_is_filtered),
        "Account.usageTotals": _HOURS,
        "Account.costTotals": _HOURS,
        "Account.companyDetails": Weight(5.0),
        "Account.statement": Weight(8.0, is_scan=_is_long_period),
        "Account.apiKeys": _page(),
        "Account.activity": _page(),
        "Account.available": Weight(5.0),
        "Account.runway": Weight(400.0),
        "Account.authorizations": _page(is_scan=_is_filtered),
        "Account.autoRecharge": Weight(8.0),
        "Account.hasSavedCard": Weight(5.0),
        "Account.spendLimits": Weight(8.0, length=_limits),
        "Statement.movements": Weight(200.0, length=_movements, scanned=0.1),
        "Statement.transactions": _page(),
        "Charge.transactions": _page(5.0),
        "Charge.heldNow": Weight(0.6),
        "Transaction.account": Weight(0.6),
        "Transaction.charge": Weight(3.2),
        "Transaction.corrects": Weight(0.6),
        "Transaction.explanation": Weight(5.0),
        "Transaction.receiptUrl": Weight(1.2),
        "UsageRequest.price": Weight(0.6),
        "UsageRequest.transaction": Weight(1.0),
        "TransactionEdge.cursor": Weight(0.2),
        "UsageDayEdge.cursor": Weight(0.2),
        "UsageRequestEdge.cursor": Weight(0.2),
        "ChargeEdge.cursor": Weight(0.2),
        "UsageGroupEdge.cursor": Weight(0.2),
        "CostGroupEdge.cursor": Weight(0.2),
        "UsageGroupConnection.undividedDays": Weight(50.0, length=_undivided_days, of_each=0.06),
        "CostGroupConnection.usageDifference": Weight(200.0, scanned=0.1),
        "TransactionConnection.totalCount": Weight(10.0, scanned=0.02),
        "TransactionConnection.totals": Weight(50.0, scanned=0.04),
        "UsageDayConnection.totalCount": Weight(10.0, scanned=0.02),
        "UsageDayConnection.totals": Weight(50.0, scanned=0.04),
        # Requests are more than the account's rows, which tell nothing of their number.
        "UsageRequestConnection.totalCount": Weight(600.0),
        "ChargeConnection.totalCount": Weight(10.0, scanned=0.02),
        "AuthorizationConnection.totalCount": Weight(600.0),
        "AuditEntry.account": Weight(2.0),
        "AuditEntry.transactions": Weight(2.0, length=_two),
        "Activity.transactions": Weight(2.0, length=_two),
        "StripeEvent.account": Weight(2.0),
        "SpendLimitReached.limit": Weight(5.0),
        "Mutation.openHold": _POSTING,
        "Mutation.renewHold": _POSTING,
        "Mutation.settleHold": _POSTING,
        "Mutation.grantBonus": _POSTING,
        "Mutation.recordUsage": Weight(60.0, length=_requests, of_each=2.0),
        "Mutation.authorizeUsage": _POSTING,
        "Mutation.releaseAuthorization": _POSTING,
        "Mutation.markUsageComplete": _WRITE,
        "Mutation.createAccount": _WRITE,
        "Mutation.suspendAccount": _WRITE,
        "Mutation.reactivateAccount": _WRITE,
        "Mutation.correctBalance": _WRITE,
        "Mutation.grantContract": _WRITE,
        "Mutation.setVolume": _WRITE,
        "Mutation.deleteVolume": _WRITE,
        "Mutation.setInstanceRate": _WRITE,
        "Mutation.createTopUp": _WRITE,
        "Mutation.createBillingPortalSession": _WRITE,
        "Mutation.setAutoRecharge": _WRITE,
        "Mutation.setSpendLimit": _WRITE,
        "Mutation.deleteSpendLimit": _WRITE,
        "Mutation.setCompanyDetails": _WRITE,
        "Mutation.createApiKey": _WRITE,
        "Mutation.rotateApiKey": _WRITE,
        "Mutation.revokeApiKey": _WRITE,
        "Mutation.setApiKeyRate": _WRITE,
        "Mutation.createSignInLink": _WRITE,
        "Mutation.linkStripeCustomer": _WRITE,
        "Mutation.dismissStripeEvent": _WRITE,
        "BalanceChange.account": Weight(5.0),
        "Subscription.balanceChanged": Weight(30.0),
        "Subscription.lowBalance": Weight(30.0),
        "Subscription.spendLimitReached": Weight(30.0),
    },
)


def document_points(length: int) -> float:
    """Returns the points for parsing and validating a document with this number of characters."""
    return 50 + min(length, 10_000) * 0.2


REST_PAGE: Final = 15.0
"""Points of a REST page without its rows."""
REST_ROW: Final = 0.6
"""Points for each row of a REST page."""
TOKEN: Final = 100.0
"""Points for a token, of an export link or of event streams: it is written to the database, as by a mutation."""
SEARCH: Final = 500.0
"""Points for `search` in a REST page."""
EXPORT: Final = 500.0
"""Points for the start of an export, however long it is."""
STEP: Final = 0.0
"""Points for each further step of an export, which the start has already paid for."""
STATEMENT: Final = 220.0
"""Points of a statement over REST."""
PDF: Final = 2_000.0
"""Points for a PDF statement, however long it is. Its process is limited by slots, not by points."""
