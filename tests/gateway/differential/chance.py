"""Random numbers of the product, drawn alike for both gateways: their keys, tokens and attempts have the same ids."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from random import Random
from uuid import UUID

import pytest


class Chance:
    """In the place of the modules `secrets` and `uuid`."""

    def __init__(self) -> None:
        self.random = Random()

    def choice(self, letters: Sequence[str]) -> str:
        return self.random.choice(letters)

    def token_urlsafe(self, count_bytes: int) -> str:
        return base64.urlsafe_b64encode(self.random.randbytes(count_bytes)).decode().rstrip("=")

    def uuid4(self) -> UUID:
        return UUID(int=self.random.getrandbits(128), version=4)


def put_in(chance: Chance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("access.keys.secrets", chance)
    monkeypatch.setattr("access.tokens.secrets", chance)
    monkeypatch.setattr("ledger.recharge_payments.uuid", chance)
