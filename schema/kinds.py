"""The enumerations: the ledger's own words, with what they mean to a client."""

from __future__ import annotations

from enum import Enum

import strawberry

from ledger.keys import KeyScope as KeyScope
from ledger.keys import ServiceOperation as ServiceOperation
from ledger.kinds import AccountStatus as AccountStatus
from ledger.kinds import ChargeState as ChargeState
from ledger.kinds import RefType as RefType
from ledger.kinds import TransactionSource as TransactionSource
from ledger.kinds import TransactionType as TransactionType
from ledger.kinds import UsageCategory as UsageCategory
from ledger.kinds import UsageOrigin as UsageOrigin
from ledger.recharges import RechargeBlock as RechargeBlock
from ledger.recharges import RechargeState as RechargeState
from ledger.stripe.events import EventState as EventState
from ledger.top_ups import SessionState as SessionState


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
    SUSPENDED="No new hold can be opened; what runs is still settled and charged.",
)

_described(
    TransactionType,
    "What kind of money movement a row records. It fixes the sign of the amount.",
    TOPUP="+ Credit added through Stripe Checkout. The description names the session.",
    AUTO_RECHARGE="+ Added by auto-recharge, because the balance fell below the threshold that its owner set.",
    GPU_USAGE="− Any deduction: instance hold, cycle settlement, overage, API usage.",
    STORAGE_BILLING="− Daily charge for cloud drives and shared filesystems.",
    REFUND="+ Unused part of a hold, or a refund issued in Stripe; the description names the original charge.",
    BONUS="+ Signup bonus or one-off promotional credit.",
    ADMIN_CORRECTION="± Manual adjustment by an operator, or − by a Stripe event: the credit of a refund that failed."
    " The description says why.",
    CONTRACT_GRANT="+ Cash part of a signed enterprise contract. The description names it.",
    BONUS_GRANT="+ The contract's negotiated extra on top of its cash part.",
)

_described(
    TransactionSource,
    "The kind of writer that a row came from.",
    STRIPE_WEBHOOK="A Stripe event: payment, auto-recharge, refund, refund that failed, or a paid invoice.",
    METERING="The services that run instances and count API calls.",
    STORAGE_WORKER="The daily storage billing.",
    PROMOTION="Account creation, or a service that may grant promotional credit.",
    ADMIN_CORRECTION="An operator, by hand.",
    CONTRACT="An operator, from a signed contract.",
)

_described(
    RefType,
    "What a row's refId names.",
    GPU_INSTANCE="A GPU instance.",
    INFERENCE_INSTANCE="An inference instance, held in cycles of 24 hours.",
    VOLUME="A cloud drive.",
    SHARED_FILESYSTEM="A shared filesystem.",
    API_USAGE="A batch of API calls.",
    STRIPE_CHECKOUT_SESSION="A Stripe Checkout session, `cs_…`.",
    STRIPE_PAYMENT_INTENT="A Stripe payment intent, `pi_…`.",
    STRIPE_REFUND="A Stripe refund, `re_…`.",
    STRIPE_INVOICE="A Stripe invoice, `in_…`.",
    CONTRACT="An enterprise contract.",
    PROMOTION="A promotion, or the signup bonus.",
)

_described(
    ChargeState,
    "Where a charge stands.",
    OPEN="The resource runs, or is billed day by day: more rows may come.",
    SETTLED="What was used is settled: it has its last row.",
    EXPIRED="The service that held the money vanished: the hold counts as used in full unless it is settled late.",
)

_described(
    UsageCategory,
    "The kind of model that was called.",
    CHAT="Language models. Counted in total tokens.",
    EMBEDDING="Embedding models. Counted in total tokens.",
    IMAGE="Image generation.",
    AUDIO="Speech and sound.",
    VIDEO="Video generation.",
)

_described(
    UsageOrigin,
    "Whose model was called.",
    PLATFORM="A model of the platform, paid by the call.",
    USER_INFERENCE="A model on an inference instance of the account's own.",
)

_described(
    KeyScope,
    "What an API key may do.",
    READ="Read one account.",
    MANAGE="Read one account, top it up, set its auto-recharge and thresholds, and keep its own keys.",
    SERVICE="Write ledger rows, for all accounts or a list of them, and for a list of operations.",
    OPERATOR="Read every account; create accounts and keys; suspend, correct and grant.",
)

_described(
    ServiceOperation,
    "A mutation that a service key may be narrowed to.",
    OPEN_HOLD="`openHold`.",
    RENEW_HOLD="`renewHold`.",
    SETTLE_HOLD="`settleHold`.",
    RECORD_USAGE="`recordUsage`.",
    GRANT_BONUS="`grantBonus`.",
    SET_VOLUME="`setVolume`.",
    DELETE_VOLUME="`deleteVolume`.",
    SET_INSTANCE_RATE="`setInstanceRate`.",
)

_described(
    RechargeState,
    "Whether auto-recharge is at work.",
    name="AutoRechargeState",
    ACTIVE="It is on: the card is charged when the balance falls below the threshold, if nothing else is in the way.",
    STOPPED="It stopped after repeated declines: lastFailure says why. Setting it anew starts it again.",
    OFF="Its owner switched it off.",
)

_described(
    RechargeBlock,
    "What keeps auto-recharge from charging a card.",
    name="AutoRechargeBlock",
    OFF="Its owner switched it off.",
    STOPPED="It stopped after repeated declines: lastFailure says why. Setting it anew starts it again.",
    PAYMENTS_NOT_SET_UP="The gateway has no key for Stripe: nobody can pay by card.",
    ACCOUNT_SUSPENDED="The account is suspended. It goes on when the account is reactivated.",
    NO_SAVED_CARD="No card is saved: a top-up through Stripe Checkout saves one.",
    DAILY_LIMIT_REACHED="One more payment would exceed the daily limit. It goes on with the next UTC day.",
    RETRY_LATER="The last payment failed, and the next one is not tried before nextTryAt.",
)

_described(
    EventState,
    "What became of an event of Stripe's.",
    name="StripeEventState",
    APPLIED="Its rows are written, or were by another event of the same object.",
    IGNORED="There is nothing to do about it, or an operator dismissed it: the reason says why.",
    WAITING="It can't be applied yet: the reason says why. It is tried again.",
    NEEDS_ATTENTION="A person must look at it: the reason says why. It is kept until it can be applied, or an operator"
    " dismisses it.",
)

_described(
    SessionState,
    "How a Checkout session stands.",
    name="CheckoutSessionState",
    OPEN="The customer can pay.",
    COMPLETE="The customer has paid, or has gone through Checkout with a payment that takes days to arrive.",
    EXPIRED="Nobody paid before it expired.",
)
