"""Public ids, the same everywhere: `acct_7`, `txn_7_1042` for row 1042 of account 7, `chg_7_129` for the charge whose
first row is row 129 of account 7, and `auth_7_3` and `limit_7_2` for its authorizations and spend limits."""

from __future__ import annotations

import re

_ACCOUNT = re.compile(r"acct_([1-9]\d{0,18})", re.ASCII)
_SHAPED_LIKE_ACCOUNT = re.compile(r"acct_\d+", re.ASCII)
_TRANSACTION = re.compile(r"txn_([1-9]\d{0,18})_([1-9]\d{0,18})", re.ASCII)
_CHARGE = re.compile(r"chg_([1-9]\d{0,18})_([1-9]\d{0,18})", re.ASCII)
_AUTHORIZATION = re.compile(r"auth_([1-9]\d{0,18})_([1-9]\d{0,18})", re.ASCII)
_SPEND_LIMIT = re.compile(r"limit_([1-9]\d{0,18})_([1-9]\d{0,18})", re.ASCII)
_MAX = 2**63 - 1


def is_shaped_like_account_id(text: str) -> bool:
    """Returns whether the text has the form of an account id. No other name of an account may have this form.

    This includes impossible ids such as `acct_0`.
    """
    return _SHAPED_LIKE_ACCOUNT.fullmatch(text) is not None


def account_id_text(account_id: int) -> str:
    return f"acct_{account_id}"


def transaction_id_text(account_id: int, seq: int) -> str:
    return f"txn_{account_id}_{seq}"


def charge_id_text(account_id: int, first_seq: int) -> str:
    return f"chg_{account_id}_{first_seq}"


def authorization_id_text(account_id: int, number: int) -> str:
    return f"auth_{account_id}_{number}"


def spend_limit_id_text(account_id: int, number: int) -> str:
    return f"limit_{account_id}_{number}"


def parse_account_id(text: str) -> int | None:
    match = _ACCOUNT.fullmatch(text)
    number = int(match[1]) if match else 0
    return number if 0 < number <= _MAX else None


def parse_transaction_id(text: str) -> tuple[int, int] | None:
    """Returns (account, seq), or None if the text is not a transaction id."""
    return _pair(_TRANSACTION.fullmatch(text))


def parse_charge_id(text: str) -> tuple[int, int] | None:
    """Returns (account, first seq), or None if the text is not a charge id."""
    return _pair(_CHARGE.fullmatch(text))


def parse_authorization_id(text: str) -> tuple[int, int] | None:
    """Returns (account, number), or None if the text is not an authorization id."""
    return _pair(_AUTHORIZATION.fullmatch(text))


def parse_spend_limit_id(text: str) -> tuple[int, int] | None:
    """Returns (account, number), or None if the text is not a spend limit id."""
    return _pair(_SPEND_LIMIT.fullmatch(text))


def _pair(match: re.Match[str] | None) -> tuple[int, int] | None:
    if match is None:
        return None
    account_id, number = int(match[1]), int(match[2])
    return (account_id, number) if max(account_id, number) <= _MAX else None
