"""Costs: computes the cost of an operation from its plan and variables before it runs.

The cost is in points. Each field has a weight. Fields in a list count once per item, and the length of a list is the
maximum that its arguments allow. `Weights` is the table of all weights; this module does not know what the fields mean.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from graphql import GraphQLList, GraphQLNonNull, GraphQLOutputType, is_leaf_type

from execution.operation_run import Run
from execution.plans import Field, Plan, Selection

Arguments = Mapping[str, Any]


class Weight(NamedTuple):
    points: float = 0.0
    """Points for each time that the field is resolved."""
    length: Callable[[Arguments], int] | None = None
    """Maximum length of the list that the field returns, or of the lists directly below it. The arguments are those of
    the resolver, under their Python names."""
    of_each: float = 0.0
    """Points for each item of that length, in addition to those for the fields of the items."""
    is_scan: Callable[[Arguments], bool] | None = None
    """Whether the arguments make the items, or the fields below, search all rows of the account."""
    scanned: float = 0.0
    """Points for each row of the account, if the field scans or is below a field that scans."""


@dataclass(frozen=True, slots=True)
class Weights:
    fields: Mapping[str, Weight]
    """Weights by `Type.field`."""
    operation: float
    """Points for any operation."""
    leaf: float
    """Points for a scalar or enum without a weight of its own."""
    object: float
    """Points for a field that returns an object and has no weight of its own."""
    unknown_length: int
    """Length of a list without a bound."""
    max_scan: float
    """Maximum points for one scan, however many rows the account has."""


@dataclass(slots=True)
class _Cost:
    """Points of a selection: fixed, for each item of the list that contains it, and for each scanned row."""

    fixed: float = 0.0
    of_each: float = 0.0
    scanned: float = 0.0
    fields: list[_Variable] = field(default_factory=list)
    fields_of_each: list[_Variable] = field(default_factory=list)

    def value(self, run: Run, length: int, rows: float, account_rows: int) -> float:
        total = self.fixed + length * self.of_each + rows * self.scanned
        for one in self.fields:
            total += one.value(run, account_rows)
        for one in self.fields_of_each:
            total += length * one.value(run, account_rows)
        return total

    def add(self, other: _Cost) -> None:
        self.fixed += other.fixed
        self.of_each += other.of_each
        self.scanned += other.scanned
        self.fields += other.fields
        self.fields_of_each += other.fields_of_each

    def times(self, length: float) -> _Cost:
        """Returns the cost for a list of known length."""
        repeated: list[_Variable] = [_Repeated(one, length) for one in self.fields]
        return _Cost(self.fixed * length, self.of_each * length, self.scanned, repeated)

    def for_each_item(self) -> _Cost:
        """Returns the cost for the list that determines the length."""
        return _Cost(0.0, self.fixed, self.scanned, [], self.fields)


class _Variable:
    """A field whose cost depends on its arguments."""

    __slots__ = ("_below", "_field", "_most", "_weight")

    def __init__(self, field: Field, weight: Weight, below: _Cost, most: float) -> None:
        self._field = field
        self._weight = weight
        self._below = below
        self._most = most

    def value(self, run: Run, account_rows: int) -> float:
        try:
            arguments = self._field.arguments(run)
        except Exception:  # noqa: BLE001  the field's own error, when it is run
            return self._weight.points
        return self.value_of(arguments, run, account_rows)

    def value_of(self, arguments: Arguments, run: Run, account_rows: int) -> float:
        weight = self._weight
        length = max(weight.length(arguments), 0) if weight.length is not None else 0
        rows = 0.0
        if weight.is_scan is not None and weight.is_scan(arguments):
            scanned = weight.scanned + self._below.scanned
            rows = min(account_rows, self._most / scanned) if scanned else 0
        own = weight.points + length * weight.of_each + rows * weight.scanned
        return own + self._below.value(run, length, rows, account_rows)


class _Repeated(_Variable):
    __slots__ = ("_length", "_one")

    def __init__(self, one: _Variable, length: float) -> None:
        self._one = one
        self._length = length

    def value(self, run: Run, account_rows: int) -> float:
        return self._length * self._one.value(run, account_rows)


class PlanCost:
    """The cost of a plan for any values of its variables."""

    __slots__ = ("_cost",)

    def __init__(self, plan: Plan, weights: Weights) -> None:
        self._cost = _Model(weights).of_selection(plan.root)
        self._cost.fixed += weights.operation

    def points(self, run: Run, account_rows: int) -> int:
        """Returns the points. `account_rows` is the number of rows of the account, for fields that scan them."""
        return math.ceil(self._cost.value(run, 0, 0.0, account_rows))


_NO_WEIGHT: Final = Weight()


class _Model:
    def __init__(self, weights: Weights) -> None:
        self._weights = weights

    def of_selection(self, selection: Selection, *, has_length: bool = False) -> _Cost:
        """Returns the cost of a selection. `has_length` means that the field above gives the length of its lists."""
        total = _Cost()
        for one in selection.fields:
            total.add(self._of_field(selection.type.name, one, has_length=has_length))
        return total

    def _of_field(self, parent: str, field: Field, *, has_length: bool) -> _Cost:
        weights, is_list = self._weights, _is_list(field.type)
        weight = weights.fields.get(f"{parent}.{field.name}", _NO_WEIGHT)
        if weight.length is not None or weight.is_scan is not None:
            below = self._below(field, has_length=not is_list)
            if is_list:
                below = below.for_each_item()
            return _Cost(fields=[_Variable(field, weight, below, weights.max_scan)])
        below = self._below(field)
        below.scanned += weight.scanned
        below.fixed += weight.points or (weights.leaf if is_leaf_type(_inner(field.type)) else weights.object)
        if not is_list:
            return below
        return below.for_each_item() if has_length else below.times(weights.unknown_length)

    def _below(self, field: Field, *, has_length: bool = False) -> _Cost:
        costs = [self.of_selection(one, has_length=has_length) for one in _selections(field)]
        if not costs:
            return _Cost()
        return max(costs, key=_rank) if len(costs) > 1 else costs[0]


def _selections(field: Field) -> Iterator[Selection]:
    if field.completion is not None:
        yield from field.completion.selections()


def _rank(cost: _Cost) -> tuple[float, int]:
    """Ranks the possible types of an object: the most expensive one counts."""
    return cost.fixed + cost.of_each, len(cost.fields) + len(cost.fields_of_each)


def _inner(type_: GraphQLOutputType) -> Any:
    inner: Any = type_
    while isinstance(inner, GraphQLNonNull | GraphQLList):
        inner = inner.of_type
    return inner


def _is_list(type_: GraphQLOutputType) -> bool:
    return isinstance(type_.of_type if isinstance(type_, GraphQLNonNull) else type_, GraphQLList)
