"""Values of variables: what the functions made for a type say, beside what graphql-core and Strawberry say."""

from __future__ import annotations

from typing import Any, Final

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    GraphQLNonNull,
    Undefined,
    build_schema,
    coerce_input_value,
    is_required_input_field,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from strawberry.types.arguments import convert_argument

from execution.coercion import coercer, converter
from schema.build import graphql_schema
from schema.cost_group import CostFilterInput
from schema.transaction import TransactionFilterInput
from schema.usage import UsageFilterInput
from schema.usage_group import UsageTotalsFilter

MADE_UP: Final = build_schema("""
    type Query { it: Int }
    enum Size { SMALL LARGE }
    input Range { gte: Float = 0.5  lt: Float! }
    input Whole {
        text: String!
        number: Int = 3
        flag: Boolean! = true
        size: Size = SMALL
        sizes: [Size!]
        ranges: [[Range!]]! = [[{lt: 1}]]
        range: Range = {lt: 2}
    }
    input Tree { name: ID!  below: [Tree!] }
    input Either @oneOf { one: Int  other: String }
""")
TYPES: Final[dict[str, GraphQLInputType]] = {name: MADE_UP.type_map[name] for name in ("Whole", "Tree", "Either")}  # type: ignore[misc]

NAMES: Final = st.sampled_from(
    ["text", "number", "flag", "size", "sizes", "ranges", "range", "gte", "lt", "name", "below", "one", "other", "no"]
)
LEAVES: Final = st.sampled_from([None, True, 0, 3, 2.5, 2**40, "", "SMALL", "LARGE", "3", float("nan")])
VALUES: Final = st.recursive(
    LEAVES, lambda below: st.lists(below, max_size=3) | st.dictionaries(NAMES, below, max_size=5), max_leaves=12
)
WHOLE: Final = st.fixed_dictionaries(
    {"text": st.sampled_from(["a", "b"])},
    optional={
        "number": st.none() | st.integers(-5, 5),
        "flag": st.booleans(),
        "size": st.sampled_from([None, "SMALL", "LARGE"]),
        "sizes": st.none() | st.lists(st.sampled_from(["SMALL", "LARGE"]), max_size=3),
        "range": st.fixed_dictionaries({"lt": st.integers(0, 3)}, optional={"gte": st.none() | st.floats(0, 1)}),
    },
)


def _ordered(value: Any) -> str:
    """Returns a text that tells 1 from true and 1.0, whatever the order of the fields."""
    if isinstance(value, dict):
        return repr(sorted((name, _ordered(one)) for name, one in value.items()))
    return repr([_ordered(one) for one in value] if isinstance(value, list) else value)


@given(name=st.sampled_from(sorted(TYPES)), value=VALUES | WHOLE)
@settings(max_examples=500, derandomize=True)
def test_coercion_matches_graphql_core(name: str, value: Any) -> None:
    found = coercer(TYPES[name])(value)
    assert found is Undefined or _ordered(found) == _ordered(coerce_input_value(value, TYPES[name]))


@given(value=WHOLE)
@settings(max_examples=300, derandomize=True)
def test_ordinary_input_objects_need_no_fallback(value: Any) -> None:
    """But for a default that is no single value, which could be changed by whoever gets it."""
    whole = coercer(TYPES["Whole"])(value | {"ranges": [[{"lt": 1.5}], None]} | {"range": {"lt": 1}})
    assert whole["ranges"] == [[{"gte": 0.5, "lt": 1.5}], None]
    assert whole["number"] == value.get("number", 3)
    assert coercer(TYPES["Whole"])({"text": "a"}) is Undefined


@pytest.mark.parametrize("missing", ["text", "no"])
def test_missing_or_unknown_fields_are_left_to_graphql_core(missing: str) -> None:
    whole: dict[str, Any] = {"text": "a", "ranges": [], "range": None}
    assert coercer(TYPES["Whole"])(whole) is not Undefined
    spoilt = {"ranges": [], "range": None} if missing == "text" else whole | {"no": 1}
    assert coercer(TYPES["Whole"])(spoilt) is Undefined


@pytest.mark.parametrize(
    "wrong",
    [
        {"text": None},
        {"flag": None},
        {"number": "3"},
        {"sizes": ["SMALL", "no"]},
        {"ranges": [[None, {"lt": 1}]]},
        {"range": {"lt": None}},
        {"range": [{"lt": 1}]},
    ],
)
def test_invalid_fields_and_items_are_invalid_whole(wrong: dict[str, Any]) -> None:
    value = {"text": "a", "ranges": [], "range": None} | wrong
    assert coerce_input_value(value, TYPES["Whole"]) is Undefined
    assert coercer(TYPES["Whole"])(value) is Undefined


FILTERS: Final[dict[type, list[dict[str, Any]]]] = {
    TransactionFilterInput: [
        {},
        {"types": ["REFUND", "GPU_USAGE"], "sources": None, "refType": "VOLUME", "refId": "7"},
        {"createdAt": {"gte": "2026-11-01T00:00:00Z"}, "amount": {"lte": "1.50", "gte": None}, "search": "abc"},
    ],
    UsageFilterInput: [{"day": {"lt": "2026-11-01"}, "models": ["a"], "categories": []}, {"origins": ["PLATFORM"]}],
    UsageTotalsFilter: [{"day": {"gte": "2026-11-01"}, "apiKeyIds": ["k"], "withoutApiKey": True}, {"projects": []}],
    CostFilterInput: [{"kinds": ["OTHER", "VOLUME"], "refType": "VOLUME", "refId": "7", "withoutProject": None}],
}


@pytest.mark.parametrize(("type_", "value"), [(type_, value) for type_, values in FILTERS.items() for value in values])
def test_filters_are_converted_as_by_strawberry(type_: type, value: dict[str, Any]) -> None:
    schema = graphql_schema()
    converters = schema._strawberry_schema.schema_converter  # type: ignore[attr-defined]
    input_type = schema.type_map[type_.__name__.removesuffix("Input")]
    assert isinstance(input_type, GraphQLInputObjectType)
    coerced = coercer(input_type)(value)
    assert coerced == coerce_input_value(value, input_type)
    convert = converter(type_, converters.config, converters.scalar_registry)
    expected = convert_argument(coerced, type_, converters.scalar_registry, converters.config)
    assert convert(coerced) == expected
    assert type(convert(coerced)) is type_


def _smallest(type_: Any) -> Any:
    """Returns the shortest value of an input type: required fields only, one item in a list."""
    if isinstance(type_, GraphQLNonNull):
        return _smallest(type_.of_type)
    if isinstance(type_, GraphQLList):
        return [_smallest(type_.of_type)]
    if isinstance(type_, GraphQLEnumType):
        return next(iter(type_.values))
    if isinstance(type_, GraphQLInputObjectType):
        return {name: _smallest(field.type) for name, field in type_.fields.items() if is_required_input_field(field)}
    return SAMPLES[type_.name]


SAMPLES: Final = {"ID": "acct_1", "String": "a", "Int": 1, "Boolean": True, "Decimal": "1", "BigInt": "1"} | {
    "DateTime": "2026-11-01T00:00:00Z",
    "Date": "2026-11-01",
}


def test_defaults_of_our_inputs_need_no_fallback() -> None:
    inputs: dict[str, Any] = {
        name: one for name, one in graphql_schema().type_map.items() if isinstance(one, GraphQLInputObjectType)
    }
    assert [name for name, one in inputs.items() if coercer(one)(_smallest(one)) is Undefined] == []


def test_each_value_gets_its_own_list_as_default() -> None:
    read = coercer(graphql_schema().type_map["SetSpendLimitInput"])
    given = {"idempotencyKey": "a", "amount": "1", "window": "DAY"}
    read(given)["notifyAtPercent"].append(1)
    assert read(given)["notifyAtPercent"] == [50, 80, 100]
