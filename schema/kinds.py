"""Enumerations: the values of the ledger, with their meaning to a client."""

from __future__ import annotations

from enum import Enum
from typing import Final

import strawberry

from access.keys import KeyScope as KeyScope
from access.keys import ServiceOperation as ServiceOperation
from ledger.authorizations import AuthorizationState as AuthorizationState
from ledger.kinds import AccountStatus as AccountStatus
from ledger.kinds import ChargeState as ChargeState
from ledger.kinds import CostKind as CostKind
from ledger.kinds import RefType as RefType
from ledger.kinds import TransactionSource as TransactionSource
from ledger.kinds import TransactionType as TransactionType
from ledger.kinds import UsageCategory as UsageCategory
from ledger.kinds import UsageOrigin as UsageOrigin
from ledger.recharges import RechargeBlock as RechargeBlock
from ledger.recharges import RechargeState as RechargeState
from ledger.stripe.events import EventState as EventState
from ledger.top_ups import SessionState as SessionState
from ledger.usage_prices import PriceSource as PriceSource
from ledger.windows import SpendWindow as SpendWindow
from resolvers.reads.runway import RunwayState as RunwayState
from resolvers.reads.statements import MovementKind as MovementKind
from resolvers.reads.totals_filters import CostDimension as CostDimension
from resolvers.reads.totals_filters import UsageDimension as UsageDimension


def _described(enumeration: type[Enum], description: str, name: str | None = None, **values: str) -> None:
    strawberry.enum(enumeration, name=name, description=description)
    definition = enumeration.__strawberry_definition__  # type: ignore[attr-defined]
    for value in definition.values:
        value.description = values.pop(value.name)
    assert not values, f"{enumeration.__name__} has no {', '.join(values)}"


_described(
    AccountStatus,
    "Whether an account may open new holds.",
    ACTIVE="The account can be used.",
    SUSPENDED="The account cannot open new holds. Running instances are still settled and charged.",
)

_described(
    TransactionType,
    "The kind of money movement. It fixes the sign of the amount.",
    TOPUP="(+) Credit added through Stripe Checkout. The description names the session.",
    AUTO_RECHARGE="(+) Credit added by auto-recharge because the balance fell below the threshold that the account"
    " set.",
    GPU_USAGE="(−) Any deduction for usage: instance hold, cycle settlement, overage or API usage.",
    STORAGE_BILLING="(−) Daily charge for cloud drives and shared filesystems.",
    REFUND="(+) Unused part of a hold, or a refund issued in Stripe. The description of a Stripe refund names the"
    " original charge.",
    BONUS="(+) Signup bonus or one-time promotional credit.",
    ADMIN_CORRECTION="(±) Manual adjustment by an operator; or (−) credit that is taken back because a Stripe refund"
    " failed. The description gives the reason.",
    CONTRACT_GRANT="(+) Cash part of a signed enterprise contract. The description names the contract.",
    BONUS_GRANT="(+) Negotiated bonus on top of a contract's cash part.",
)

_described(
    TransactionSource,
    "The kind of writer that recorded a row.",
    STRIPE_WEBHOOK="A Stripe event: a payment, an auto-recharge, a refund, a failed refund or a paid invoice.",
    METERING="A service that runs instances or counts API calls.",
    STORAGE_WORKER="The worker that bills storage every day.",
    PROMOTION="Account creation, or a service that may grant promotional credit.",
    ADMIN_CORRECTION="An operator, by manual adjustment.",
    CONTRACT="An operator, from a signed contract.",
)

_described(
    RefType,
    "The kind of object that a row's `refId` identifies.",
    GPU_INSTANCE="A GPU instance.",
    INFERENCE_INSTANCE="An inference instance, held in 24-hour cycles.",
    VOLUME="A cloud drive.",
    SHARED_FILESYSTEM="A shared filesystem.",
    API_USAGE="A batch of API calls.",
    STRIPE_CHECKOUT_SESSION="A Stripe Checkout session, `cs_…`.",
    STRIPE_PAYMENT_INTENT="A Stripe payment intent, `pi_…`.",
    STRIPE_REFUND="A Stripe refund, `re_…`.",
    STRIPE_INVOICE="A Stripe invoice, `in_…`.",
    CONTRACT="An enterprise contract.",
    PROMOTION="A promotion or the signup bonus.",
)

_described(
    ChargeState,
    "The state of a charge.",
    OPEN="The resource is running or billed daily. More rows may follow.",
    SETTLED="The usage is settled. The charge has its last row.",
    EXPIRED="The hold was never settled by its service, so the whole hold counts as used. It can still be settled"
    " late.",
)

_described(
    UsageCategory,
    "The kind of model that was called.",
    CHAT="Language models. Counted in `totalTokens`.",
    EMBEDDING="Embedding models. Counted in `totalTokens`.",
    IMAGE="Image generation.",
    AUDIO="Speech and other audio.",
    VIDEO="Video generation.",
)

_described(
    UsageOrigin,
    "Who provides the model that was called.",
    PLATFORM="A model of the platform, charged for each call.",
    USER_INFERENCE="A model on one of the account's own inference instances.",
)

_described(
    PriceSource,
    "Where the price of usage comes from.",
    name="UsagePriceSource",
    REQUEST="The request named it.",
    TABLE="The operator's price table.",
    LIST="A list of public prices, when usage was imported.",
)

_described(
    KeyScope,
    "What an API key may do.",
    READ="Read one account.",
    MANAGE="Read one account, top it up, set its auto-recharge, spend limits and company details, and manage its API"
    " keys.",
    SERVICE="Write ledger rows, for all accounts or for a list of accounts, by all operations or only some."
    " `createSignInLink` requires a list of operations that names it.",
    OPERATOR="Read every account, create accounts and keys, suspend accounts, set spend limits, correct balances, grant"
    " credit and process Stripe events.",
)

_described(
    ServiceOperation,
    "A mutation that a service key can be restricted to.",
    OPEN_HOLD="`openHold`.",
    RENEW_HOLD="`renewHold`.",
    SETTLE_HOLD="`settleHold`.",
    RECORD_USAGE="`recordUsage`.",
    GRANT_BONUS="`grantBonus`.",
    SET_VOLUME="`setVolume`.",
    DELETE_VOLUME="`deleteVolume`.",
    SET_INSTANCE_RATE="`setInstanceRate`.",
    AUTHORIZE_USAGE="`authorizeUsage`.",
    RELEASE_AUTHORIZATION="`releaseAuthorization`.",
    MARK_USAGE_COMPLETE="`markUsageComplete`.",
    CREATE_SIGN_IN_LINK="`createSignInLink`. A key without a list of operations cannot call it.",
)

_described(
    AuthorizationState,
    "State of an authorization.",
    OPEN="The authorization reserves its amount less what was captured.",
    CAPTURED="The last capture was made. Nothing is reserved any more.",
    RELEASED="The authorization was released. Nothing is reserved any more.",
    EXPIRED="The authorization's time has ended. Nothing is reserved any more.",
)

_described(
    RechargeState,
    "Whether auto-recharge is on.",
    name="AutoRechargeState",
    ACTIVE="Auto-recharge is on. The card is charged when the balance falls below the threshold, unless `blockedBy`"
    " gives a reason.",
    STOPPED="Auto-recharge stopped after repeated declines; `lastFailure` gives the reason. Set it again to restart"
    " it.",
    OFF="The account switched auto-recharge off.",
)

_described(
    RechargeBlock,
    "Reason why auto-recharge cannot charge a card.",
    name="AutoRechargeBlock",
    OFF="The account switched auto-recharge off.",
    STOPPED="Auto-recharge stopped after repeated declines; `lastFailure` gives the reason. Set it again to restart"
    " it.",
    PAYMENTS_NOT_SET_UP="The gateway has no Stripe key, so card payments are not possible.",
    ACCOUNT_SUSPENDED="The account is suspended. Auto-recharge continues when the account is reactivated.",
    NO_SAVED_CARD="No card is saved. A top-up through Stripe Checkout saves the card.",
    DAILY_LIMIT_REACHED="Another payment would exceed the daily limit. Auto-recharge continues on the next UTC day.",
    RETRY_LATER="The last payment failed. The next attempt is not made before `nextTryAt`.",
)

_described(
    EventState,
    "How a Stripe event was processed.",
    name="StripeEventState",
    APPLIED="The event's rows are written, by this event or by another event of the same object.",
    IGNORED="Nothing needs to be done, or an operator dismissed the event. `reason` tells why.",
    WAITING="The event cannot be applied yet; `reason` tells why. It is tried again.",
    NEEDS_ATTENTION="An operator must look at the event; `reason` tells why. It is kept until it can be applied or"
    " an operator dismisses it.",
)

_described(
    SessionState,
    "State of a Checkout session.",
    name="CheckoutSessionState",
    OPEN="The customer can pay.",
    COMPLETE="The customer has paid, or has completed Checkout with a payment method whose money takes days to arrive.",
    EXPIRED="The session expired without payment.",
)

_described(
    SpendWindow,
    "The time over which a spend limit adds up cost. All windows are in UTC.",
    DAY="A day.",
    WEEK="A week, from Monday on.",
    MONTH="A calendar month.",
    TOTAL="All time. The limit never resets.",
)

_TIMES: Final = {
    "HOUR": "By hour. An hour is the same in all supported time zones.",
    "DAY": "By day of the time zone.",
    "WEEK": "By week of the time zone, from Monday.",
    "MONTH": "By month of the time zone.",
}

_described(
    UsageDimension,
    "A property by which usage is grouped.",
    **_TIMES,
    MODEL="By model.",
    CATEGORY="By kind of model.",
    ORIGIN="By provider of the model.",
    API_KEY="By the customer's API key that made the calls.",
    PROJECT="By project.",
)

_described(
    CostDimension,
    "A property by which cost is grouped.",
    **_TIMES,
    KIND="By cause of the cost.",
    RESOURCE="By instance, volume or shared filesystem. API usage is one resource without an id.",
    API_KEY="By the customer's API key.",
    PROJECT="By project.",
)

_described(
    CostKind,
    "Cause of a cost.",
    GPU_INSTANCE="GPU instances.",
    INFERENCE_INSTANCE="Inference instances.",
    VOLUME="Cloud drives.",
    SHARED_FILESYSTEM="Shared filesystems.",
    API_USAGE="API calls.",
    OTHER="Rows that name none of these causes.",
)

_described(
    MovementKind,
    "A kind of movement on a statement, in the order in which a statement lists them.",
    TOP_UP="Credit added through Stripe Checkout.",
    AUTO_RECHARGE="Credit added by auto-recharge.",
    CONTRACT_GRANT="Cash parts of contracts.",
    BONUS_GRANT="Bonuses of contracts.",
    BONUS="Signup bonuses and promotional credit.",
    PAYMENT_REFUND="Refunds issued in Stripe.",
    CORRECTION="Corrections, and refunds taken back because they failed in Stripe.",
    GPU_INSTANCE="Cost of GPU instances.",
    INFERENCE_INSTANCE="Cost of inference instances.",
    VOLUME="Cost of cloud drives.",
    SHARED_FILESYSTEM="Cost of shared filesystems.",
    API_USAGE="Cost of API calls.",
    OTHER="Cost of rows that name none of these causes.",
)

_described(
    RunwayState,
    "Whether the end of the available credit can be estimated.",
    ENDS="The credit runs out at `endsAt` if spending goes on.",
    LASTS="If spending goes on, the credit lasts for more than ten years.",
    NOTHING_SPENT="Nothing was spent in the last 7 days, and nothing runs that costs credit.",
    NO_CREDIT="The available credit is zero or negative.",
)
