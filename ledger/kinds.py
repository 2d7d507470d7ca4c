"""Kinds: the enumerations of the ledger, and which of their values go together."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class AccountStatus(StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"


class TransactionType(StrEnum):
    TOPUP = "topup"
    AUTO_RECHARGE = "auto_recharge"
    GPU_USAGE = "gpu_usage"
    STORAGE_BILLING = "storage_billing"
    REFUND = "refund"
    BONUS = "bonus"
    ADMIN_CORRECTION = "admin_correction"
    CONTRACT_GRANT = "contract_grant"
    BONUS_GRANT = "bonus_grant"


class TransactionSource(StrEnum):
    STRIPE_WEBHOOK = "stripe_webhook"
    METERING = "metering"
    STORAGE_WORKER = "storage_worker"
    PROMOTION = "promotion"
    ADMIN_CORRECTION = "admin_correction"
    CONTRACT = "contract"


class RefType(StrEnum):
    GPU_INSTANCE = "gpu_instance"
    INFERENCE_INSTANCE = "inference_instance"
    VOLUME = "volume"
    SHARED_FILESYSTEM = "shared_filesystem"
    API_USAGE = "api_usage"
    STRIPE_CHECKOUT_SESSION = "stripe_checkout_session"
    STRIPE_PAYMENT_INTENT = "stripe_payment_intent"
    STRIPE_REFUND = "stripe_refund"
    STRIPE_INVOICE = "stripe_invoice"
    CONTRACT = "contract"
    PROMOTION = "promotion"


class UsageCategory(StrEnum):
    CHAT = "chat"
    EMBEDDING = "embedding"
    IMAGE = "image"
    AUDIO = "audio"
    VIDEO = "video"


class UsageOrigin(StrEnum):
    PLATFORM = "platform"
    USER_INFERENCE = "user_inference"


class ChargeState(StrEnum):
    OPEN = "open"
    SETTLED = "settled"
    EXPIRED = "expired"


class WriterKind(StrEnum):
    """The kind of writer of a row. It determines the row's source."""

    WEBHOOK = "webhook"
    SERVICE = "service"
    STORAGE_WORKER = "storage_worker"
    ACCOUNT_CREATION = "account_creation"
    OPERATOR = "operator"


_T, _S = TransactionType, TransactionSource

SOURCE_BY_WRITER: Final[dict[WriterKind, dict[TransactionType, TransactionSource]]] = {
    WriterKind.WEBHOOK: dict.fromkeys(
        (_T.TOPUP, _T.AUTO_RECHARGE, _T.REFUND, _T.ADMIN_CORRECTION, _T.CONTRACT_GRANT, _T.BONUS_GRANT),
        _S.STRIPE_WEBHOOK,
    ),
    WriterKind.SERVICE: {
        _T.GPU_USAGE: _S.METERING,
        _T.REFUND: _S.METERING,
        _T.BONUS: _S.PROMOTION,
    },
    WriterKind.STORAGE_WORKER: {_T.STORAGE_BILLING: _S.STORAGE_WORKER},
    WriterKind.ACCOUNT_CREATION: {_T.BONUS: _S.PROMOTION},
    WriterKind.OPERATOR: {
        _T.ADMIN_CORRECTION: _S.ADMIN_CORRECTION,
        _T.CONTRACT_GRANT: _S.CONTRACT,
        _T.BONUS_GRANT: _S.CONTRACT,
    },
}

KINDS: Final[tuple[tuple[TransactionType, TransactionSource], ...]] = tuple(
    sorted({pair for by_type in SOURCE_BY_WRITER.values() for pair in by_type.items()})
)
"""Every (type, source) that a row can have. Filters by type and source are translated to these pairs."""

SIGN: Final[dict[TransactionType, int]] = {
    _T.TOPUP: 1,
    _T.AUTO_RECHARGE: 1,
    _T.GPU_USAGE: -1,
    _T.STORAGE_BILLING: -1,
    _T.REFUND: 1,
    _T.BONUS: 1,
    _T.ADMIN_CORRECTION: 0,
    _T.CONTRACT_GRANT: 1,
    _T.BONUS_GRANT: 1,
}
"""The sign that an amount must have; 0 if both are allowed."""

HOLDABLE: Final = frozenset({RefType.GPU_INSTANCE, RefType.INFERENCE_INSTANCE})
"""Resources that are paid by holds. Only opening, renewing and settling holds writes their rows."""

RESOURCES: Final = HOLDABLE | {RefType.VOLUME, RefType.SHARED_FILESYSTEM}
"""Resources that have a charge: one record for all rows of the resource."""


class CostKind(StrEnum):
    """Causes of cost: ref types of rows, and other for all other rows."""

    GPU_INSTANCE = "gpu_instance"
    INFERENCE_INSTANCE = "inference_instance"
    VOLUME = "volume"
    SHARED_FILESYSTEM = "shared_filesystem"
    API_USAGE = "api_usage"
    OTHER = "other"
