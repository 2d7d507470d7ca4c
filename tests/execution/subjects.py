from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from graphql import GraphQLSchema

from tests.execution.operations import Vocabulary


@dataclass(frozen=True)
class Subject:
    """A schema with its data."""

    name: str
    schema: GraphQLSchema
    vocabulary: Vocabulary
    context: Callable[..., object]
    """Of chances, and `guard`: whether those who share a future must be kept from cancelling it."""
    event: Callable[[Any], object]
    """Of a context: what a subscription's answer is made of."""
