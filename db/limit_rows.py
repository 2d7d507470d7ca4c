"""Rows of limit tables: named tuples, in the order of their columns. An empty text means no API key or project."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple


class AuthorizationRow(NamedTuple):
    account_id: int
    number: int
    state: str
    amount_nanos: int
    captured_nanos: int
    created_at: datetime
    expires_at: datetime
    closed_at: datetime | None
    api_key: str
    project: str
    ref_id: str | None


class NewestAuthorizationRow(NamedTuple):
    """The authorization of an account with the highest number."""

    account_id: int
    number: int
    created_at: datetime


class ReservedRow(NamedTuple):
    """The sum of the open authorizations for one API key and project."""

    api_key: str
    project: str
    reserved_nanos: int


class SpendLimitRow(NamedTuple):
    account_id: int
    number: int
    api_key: str
    project: str
    window_kind: str
    amount_nanos: int
    notify_at: str
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None
    spent_nanos: int
    window_start: datetime
    notified_percent: int


class SpendLimitEventRow(NamedTuple):
    account_id: int
    seq: int
    limit_number: int
    percent: int
    amount_nanos: int
    spent_nanos: int
