"""Section 6, Execution, of the GraphQL specification (September 2025), rule by rule, by both executors.

There are no subscriptions yet: section 6.2.3 has no test. What a rule leaves open is not asserted.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from enum import Enum
from types import SimpleNamespace
from typing import Annotated, Any, Final, NewType, Union

import pytest
import strawberry
from graphql import ExecutionResult, GraphQLError
from strawberry import Info
from strawberry.schema.config import StrawberryConfig

from execution.documents import Documents
from execution.executor import run, run_by_reference
from execution.limits import Limits
from tests.execution.chances import Later

Even = NewType("Even", int)


def _serialized_even(value: object) -> str:
    if not isinstance(value, int) or value % 2:
        msg = f"{value} is not even"
        raise ValueError(msg)
    return f"even {value}"


def _parsed_even(value: object) -> int:
    if not isinstance(value, str) or not value.startswith("even "):
        msg = f"{value} is not even"
        raise ValueError(msg)
    return int(value.removeprefix("even "))


@strawberry.enum
class Colour(Enum):
    RED = "r"
    GREEN = "g"


@strawberry.interface
class Named:
    name: str | None


@strawberry.type
class Dog(Named):
    name: str | None
    barks: bool | None

    @classmethod
    def is_type_of(cls, source: Any, _info: object) -> bool:
        return bool(source.kind == "dog")


@strawberry.type
class Cat(Named):
    name: str | None
    lives: int | None

    @classmethod
    def is_type_of(cls, source: Any, _info: object) -> bool:
        return bool(source.kind == "cat")


Pet = Annotated[Union[Dog, Cat], strawberry.union("Pet")]  # noqa: UP007  what strawberry.union takes


@strawberry.type
class Node:
    """Attributes of what the context holds; `later` keeps an object from being serialized whole."""

    text: str | None
    number: int | None
    ratio: float | None
    flag: bool | None
    key: strawberry.ID | None
    colour: Colour | None
    even: Even | None
    node: Node | None
    must: str
    must_node: Node
    nodes: list[Node | None] | None
    must_nodes: list[Node]
    list_of_must: list[Node] | None
    must_list: list[Node | None]
    numbers: list[int | None] | None
    must_numbers: list[int] | None
    grid: list[list[int]] | None
    loose_grid: list[list[int] | None] | None
    pet: Pet | None
    pets: list[Pet] | None
    named: Named | None

    @strawberry.field
    async def later(self: SimpleNamespace) -> str:
        await asyncio.sleep(0)
        return "later"

    @strawberry.field(graphql_type=str | None)
    async def late(self: SimpleNamespace) -> Any:
        """Its attribute, after a turn of the loop; an exception is raised."""
        await asyncio.sleep(0)
        return _raised_or_given(self.late)

    @strawberry.field(graphql_type=str)
    async def must_late(self: SimpleNamespace) -> Any:
        await asyncio.sleep(0)
        return _raised_or_given(self.must_late)


def _raised_or_given(value: object) -> object:
    if isinstance(value, Exception):
        raise value
    return value


@strawberry.input
class Point:
    x: int
    y: int = 7
    label: str | None = strawberry.UNSET


def _told(value: object) -> str:
    if isinstance(value, Point):
        return f"({value.x}, {value.y}, {_told(value.label)})"
    return "absent" if value is strawberry.UNSET else repr(value)


@strawberry.type
class Query:
    @strawberry.field(graphql_type=Node | None)
    def node(self, info: Info[Any, None]) -> Any:
        return info.context

    @strawberry.field(graphql_type=Node)
    def must_node(self, info: Info[Any, None]) -> Any:
        return info.context

    @strawberry.field
    def text(self, value: str | None = strawberry.UNSET) -> str:
        return _told(value)

    @strawberry.field
    def text_or(self, value: str | None = "default") -> str:
        return _told(value)

    @strawberry.field
    def must_text_or(self, value: str = "default") -> str:
        return _told(value)

    @strawberry.field
    def must_text(self, value: str) -> str | None:
        return _told(value)

    @strawberry.field
    def ratio(self, value: float) -> str:
        return _told(value)

    @strawberry.field
    def colour(self, value: Colour) -> str:
        return _told(value)

    @strawberry.field
    def even(self, value: Even | None = None) -> str:
        return _told(value)

    @strawberry.field
    def point(self, value: Point) -> str | None:
        return _told(value)

    @strawberry.field
    def words(self, value: list[str | None] | None = None) -> str:
        return _told(value)

    @strawberry.field
    def grid(self, value: list[list[int]] | None = None) -> str:
        return _told(value)


@strawberry.type
class Step:
    at: int

    @strawberry.field
    async def now(self, info: Info[Any, None]) -> int:
        await asyncio.sleep(0)
        return int(info.context.steps)


@strawberry.type
class Mutation:
    @strawberry.mutation
    async def step(self, info: Info[Any, None], turns: int = 0) -> Step:
        at = info.context.steps
        for _ in range(turns):
            await asyncio.sleep(0)
        info.context.steps = at + 1
        return Step(at=at)

    @strawberry.mutation
    def may_step(self, info: Info[Any, None]) -> Step | None:
        info.context.steps += 1
        return Step(at=info.context.steps)

    @strawberry.mutation
    async def fail(self, info: Info[Any, None]) -> Step | None:
        info.context.steps += 1
        raise ValueError("failed")

    @strawberry.mutation
    async def must_fail(self, info: Info[Any, None]) -> Step:
        info.context.steps += 1
        raise ValueError("failed")


SCHEMA: Final = strawberry.Schema(
    query=Query,
    mutation=Mutation,
    types=[Dog, Cat],
    config=StrawberryConfig(
        scalar_map={Even: strawberry.scalar(name="Even", serialize=_serialized_even, parse_value=_parsed_even)}
    ),
)._schema

Execute = Callable[..., Awaitable[ExecutionResult]]


class Executor:
    def __init__(self, execute: Execute) -> None:
        self._execute = execute
        self._documents = Documents(SCHEMA, Limits(), capacity=0)

    async def result(
        self, text: str, context: Any = None, *, name: str | None = None, **variables: Any
    ) -> ExecutionResult:
        document = self._documents.get(text)
        try:
            return await self._execute(
                SCHEMA, document, operation_name=name, variables=variables, context=context or SimpleNamespace()
            )
        except GraphQLError as error:  # which operation is asked for is told before anything is run
            return ExecutionResult(None, [error])

    async def data(self, text: str, context: Any = None, *, name: str | None = None, **variables: Any) -> Any:
        result = await self.result(text, context, name=name, **variables)
        assert result.errors is None
        return result.data

    async def answer(self, text: str, context: Any = None, **variables: Any) -> tuple[Any, list[tuple[Any, str]]]:
        """The data, and the path and message of each error."""
        result = await self.result(text, context, **variables)
        return result.data, [(error.path, error.message) for error in result.errors or ()]

    async def refusal(self, text: str, *, name: str | None = None, **variables: Any) -> str:
        """The message of the one request error."""
        result = await self.result(text, name=name, **variables)
        assert result.data is None
        assert result.errors is not None
        (error,) = result.errors
        assert error.path is None
        return error.message


@pytest.fixture(params=[run, run_by_reference], ids=["compiled", "reference"])
def executor(request: pytest.FixtureRequest) -> Executor:
    return Executor(request.param)


# 6.1 Executing Requests: GetOperation


@pytest.mark.parametrize(
    ("text", "name", "data"),
    [
        ("query A { text }", None, {"text": "absent"}),
        ("query A { a: text } query B { b: text }", "B", {"b": "absent"}),
        ("{ text }", None, {"text": "absent"}),
    ],
)
async def test_the_named_operation_runs_or_the_only_one(
    executor: Executor, text: str, name: str | None, data: object
) -> None:
    assert await executor.data(text, name=name) == data


@pytest.mark.parametrize("name", [None, "C"])
async def test_unknown_operation_is_a_request_error(executor: Executor, name: str | None) -> None:
    await executor.refusal("query A { text } query B { text }", name=name)


# 6.1.2 Coercing Variable Values


@pytest.mark.parametrize(
    ("definition", "variables", "given"),
    [
        ("$v: String", {}, "absent"),
        ("$v: String", {"v": None}, "None"),
        ("$v: String", {"v": "x"}, "'x'"),
        ('$v: String = "d"', {}, "'d'"),
        ('$v: String = "d"', {"v": None}, "None"),
        ("$v: String = null", {}, "None"),
        ('$v: String! = "d"', {}, "'d'"),
        ("$v: String!", {"v": "x", "unknown": 1}, "'x'"),
    ],
)
async def test_variables_take_their_value_their_default_or_none(
    executor: Executor, definition: str, variables: dict[str, Any], given: str
) -> None:
    assert await executor.data(f"query ({definition}) {{ text(value: $v) }}", **variables) == {"text": given}


@pytest.mark.parametrize(
    ("definition", "field", "variables"),
    [
        ("$v: String!", "text", {}),
        ("$v: String!", "text", {"v": None}),
        ('$v: String! = "d"', "text", {"v": None}),
        ("$v: String", "text", {"v": 1}),
        ("$v: [String]", "words", {"v": [1]}),
        ("$v: [[Int!]!]", "grid", {"v": [[1], [None]]}),
        ("$v: Float!", "ratio", {"v": "1"}),
        ("$v: Colour!", "colour", {"v": "BLUE"}),
        ("$v: Colour!", "colour", {"v": 1}),
        ("$v: Even", "even", {"v": "odd 1"}),
        ("$v: Point!", "point", {"v": {"y": 1}}),
        ("$v: Point!", "point", {"v": {"x": 1, "z": 1}}),
        ("$v: Point!", "point", {"v": {"x": 2**31}}),
    ],
)
async def test_variables_that_cannot_be_coerced_are_request_errors(
    executor: Executor, definition: str, field: str, variables: dict[str, Any]
) -> None:
    message = await executor.refusal(f"query ({definition}) {{ {field}(value: $v) }}", **variables)
    assert message.startswith("Variable '$v'")


@pytest.mark.parametrize(
    ("type_", "field", "value", "given"),
    [
        ("Float!", "ratio", 2, "2.0"),
        ("Colour!", "colour", "GREEN", "<Colour.GREEN: 'g'>"),
        ("Even", "even", "even 4", "4"),
        ("[String]", "words", "x", "['x']"),
        ("[String]", "words", ["x", None], "['x', None]"),
        ("[String]", "words", None, "None"),
        ("[[Int!]!]", "grid", 1, "[[1]]"),
        ("[[Int!]!]", "grid", [1, 2], "[[1], [2]]"),
        ("Point!", "point", {"x": 1}, "(1, 7, absent)"),
        ("Point!", "point", {"x": 1, "y": 2, "label": None}, "(1, 2, None)"),
    ],
)
async def test_variables_are_coerced_by_their_type(
    executor: Executor, type_: str, field: str, value: Any, given: str
) -> None:
    assert await executor.data(f"query ($v: {type_}) {{ {field}(value: $v) }}", v=value) == {field: given}


# 6.2.2 Mutation: serial execution


async def test_mutations_run_one_after_the_other(executor: Executor) -> None:
    text = "mutation { a: step(turns: 3) { at now } b: step { at now } c: step(turns: 1) { at now } }"
    data = await executor.data(text, SimpleNamespace(steps=0))
    assert list(data.items()) == [(key, {"at": at, "now": at + 1}) for at, key in enumerate("abc")]


async def test_failed_mutation_does_not_stop_the_next(executor: Executor) -> None:
    context = SimpleNamespace(steps=0)
    data, errors = await executor.answer("mutation { fail { at } step { at } }", context)
    assert (data, errors) == ({"fail": None, "step": {"at": 1}}, [(["fail"], "failed")])


async def test_no_mutation_runs_after_data_became_null(executor: Executor) -> None:
    context = SimpleNamespace(steps=0)
    data, errors = await executor.answer("mutation { a: step { at } mustFail { at } b: step { at } }", context)
    assert (data, errors, context.steps) == (None, [(["mustFail"], "failed")], 2)


class Surrounded(SimpleNamespace):
    """Notes when each mutation begins and ends, and how: a context may want its fields run within something."""

    ends: str = ""

    @asynccontextmanager
    async def around_field(self, *, may_read: bool = True) -> AsyncIterator[None]:
        self.notes.append(f"begun at {self.steps}")
        try:
            yield
        except Exception as error:
            self.notes.append(f"failed: {getattr(error, 'message', error)}")
            raise
        self.notes.append(f"ended at {self.steps}")
        if self.ends:
            raise ValueError(self.ends)


async def test_mutation_ends_after_its_payload_was_read(executor: Executor) -> None:
    context = Surrounded(steps=0, notes=[])
    data = await executor.data("mutation { a: step { now } b: step { at } }", context)
    assert data == {"a": {"now": 1}, "b": {"at": 1}}
    assert context.notes == ["begun at 0", "ended at 1", "begun at 1", "ended at 2"]


async def test_error_of_a_mutation_without_value_passes_through_its_context(
    executor: Executor,
) -> None:
    context = Surrounded(steps=0, notes=[])
    data, errors = await executor.answer("mutation { mustFail { at } step { at } }", context)
    assert (data, errors) == (None, [(["mustFail"], "failed")])
    assert context.notes == ["begun at 0", "failed: failed"]


@pytest.mark.parametrize(
    ("field", "data"), [("step", None), ("mayStep", {"mayStep": None})], ids=["non-null", "nullable"]
)
async def test_error_at_the_end_of_the_context_is_the_mutation_error(
    executor: Executor, field: str, data: object
) -> None:
    context = Surrounded(steps=0, notes=[], ends="not kept")
    answered, errors = await executor.answer(f"mutation {{ {field} {{ at }} }}", context)
    assert (answered, errors) == (data, [([field], "not kept")])
    assert context.notes == ["begun at 0", "ended at 1"]


async def test_queries_do_not_enter_the_mutation_context(executor: Executor) -> None:
    context = Surrounded(steps=0, notes=[], text="t")
    assert await executor.data("{ text }", context) == {"text": "absent"}
    assert context.notes == []


# 6.3 Executing Selection Sets


async def test_fields_are_in_document_order_whenever_they_complete(executor: Executor) -> None:
    text = """
        { node { later ...B number ... on Node { key text } flag later text } }
        fragment B on Node { text node { number } }
    """
    inner = SimpleNamespace(number=2)
    data = await executor.data(text, SimpleNamespace(number=1, text="t", key="k", flag=True, node=inner))
    assert list(data["node"]) == ["later", "text", "node", "number", "key", "flag"]


async def test_fields_with_one_key_are_merged_with_their_selections(executor: Executor) -> None:
    text = """
        { node { node { text } ...A node { number } } node { node { key } flag } }
        fragment A on Node { node { later text } }
    """
    inner = SimpleNamespace(text="t", number=1, key="k")
    data = await executor.data(text, SimpleNamespace(node=inner, flag=False))
    assert data == {"node": {"node": {"text": "t", "later": "later", "number": 1, "key": "k"}, "flag": False}}
    assert list(data["node"]["node"]) == ["text", "later", "number", "key"]


async def test_a_merged_field_is_resolved_once(executor: Executor) -> None:
    context = SimpleNamespace(steps=0)
    assert await executor.data("mutation { step { at } step { now } }", context) == {"step": {"at": 0, "now": 1}}


async def test_aliases_are_separate_fields(executor: Executor) -> None:
    text = '{ a: text b: text(value: "1") text: textOr }'
    assert await executor.data(text) == {"a": "absent", "b": "'1'", "text": "'default'"}


@pytest.mark.parametrize(
    ("skip", "include", "there"),
    [(False, True, True), (False, False, False), (True, True, False), (True, False, False)],
)
@pytest.mark.parametrize("directives", ["@skip(if: $s) @include(if: $i)", "@include(if: $i) @skip(if: $s)"])
@pytest.mark.parametrize("what", ["key: text", "... { key: text }", "... on Node { key: text }", "...F"])
async def test_selection_is_included_unless_skipped(
    executor: Executor, skip: bool, include: bool, there: bool, directives: str, what: str
) -> None:
    selection = f"key: text {directives}" if what == "key: text" else what.replace(" {", f" {directives} {{")
    selection = f"...F {directives}" if what == "...F" else selection
    fragment = "fragment F on Node { key: text }" if what == "...F" else ""
    text = f"query ($s: Boolean!, $i: Boolean!) {{ node {{ number {selection} }} }} {fragment}"
    data = await executor.data(text, SimpleNamespace(number=1, text="t"), s=skip, i=include)
    assert data == {"node": {"number": 1} | ({"key": "t"} if there else {})}


async def test_literal_conditions_and_defaults_of_their_variables_count(executor: Executor) -> None:
    text = """
        query ($yes: Boolean = true, $no: Boolean! = false) {
            a: text @include(if: $yes) b: text @include(if: $no) c: text @skip(if: $yes) d: text @skip(if: true)
            e: text @skip(if: false)
        }
    """
    assert list(await executor.data(text)) == ["a", "e"]
    assert list(await executor.data(text, yes=False, no=True)) == ["b", "c", "e"]


async def test_a_selection_set_may_be_skipped_as_a_whole(executor: Executor) -> None:
    assert await executor.data("{ node { text @skip(if: true) } }") == {"node": {}}
    assert await executor.data("{ text @include(if: false) }") == {}


async def test_a_skipped_occurrence_does_not_hide_another_one(executor: Executor) -> None:
    context = SimpleNamespace(text="t", number=1)
    text = "{ node @skip(if: true) { number } node { text ...F @skip(if: true) ...F } } fragment F on Node { number }"
    assert await executor.data(text, context) == {"node": {"text": "t", "number": 1}}


async def test_null_condition_is_an_error_of_its_field(executor: Executor) -> None:
    text = "query ($v: Boolean = true) { node { node { text @include(if: $v) } number } }"
    data, ((path, _),) = await executor.answer(text, SimpleNamespace(node=SimpleNamespace(text="t"), number=1), v=None)
    assert (data, path) == ({"node": {"node": None, "number": 1}}, ["node", "node"])


async def test_fragments_apply_only_to_their_types(executor: Executor) -> None:
    text = """
        { node { pets {
            ... on Dog { barks } ... on Cat { lives } ... on Named { name } ... { __typename }
            ... on Pet { again: __typename } ...D
        } } }
        fragment D on Named { ... on Dog { dog: name } }
    """
    dog, cat = SimpleNamespace(kind="dog", name="Rex", barks=True), SimpleNamespace(kind="cat", name="Tom", lives=9)
    data = await executor.data(text, SimpleNamespace(pets=[dog, cat]))
    assert data["node"]["pets"] == [
        {"barks": True, "name": "Rex", "__typename": "Dog", "again": "Dog", "dog": "Rex"},
        {"lives": 9, "name": "Tom", "__typename": "Cat", "again": "Cat"},
    ]


# 6.4.1 Coercing Field Arguments


@pytest.mark.parametrize(
    ("field", "absent", "null"),
    [("text", "absent", "None"), ("textOr", "'default'", "None"), ("mustTextOr", "'default'", None)],
)
async def test_omitted_arguments_get_their_default_or_none(
    executor: Executor, field: str, absent: str, null: str | None
) -> None:
    assert await executor.data(f"{{ {field} }}") == {field: absent}
    assert await executor.data(f"query ($v: String) {{ {field}(value: $v) }}") == {field: absent}
    if null is not None:
        assert await executor.data(f"{{ {field}(value: null) }}") == {field: null}
        assert await executor.data(f"query ($v: String) {{ {field}(value: $v) }}", v=None) == {field: null}


@pytest.mark.parametrize(
    ("argument", "field", "given"),
    [
        ("1", "ratio", "1.0"),
        ("RED", "colour", "<Colour.RED: 'r'>"),
        ('"even 2"', "even", "2"),
        ('"x"', "words", "['x']"),
        ("[null]", "words", "[None]"),
        ("[]", "words", "[]"),
        ("[1, 2]", "grid", "[[1], [2]]"),
        ("{x: 1}", "point", "(1, 7, absent)"),
        ('{x: 1, y: 2, label: "l"}', "point", "(1, 2, 'l')"),
    ],
)
async def test_literals_are_coerced_by_the_type_of_the_argument(
    executor: Executor, argument: str, field: str, given: str
) -> None:
    assert await executor.data(f"{{ {field}(value: {argument}) }}") == {field: given}


async def test_variables_within_lists_and_objects(executor: Executor) -> None:
    text = """
        query ($x: Int!, $y: Int! = 5, $l: String, $w: String) {
            point(value: {x: $x, y: $y, label: $l}) words(value: [$w, "b", $l])
        }
    """
    assert await executor.data(text, x=1) == {"point": "(1, 5, absent)", "words": "[None, 'b', None]"}
    given: dict[str, Any] = {"x": 1, "y": 2, "l": "l", "w": None}
    assert await executor.data(text, **given) == {"point": "(1, 2, 'l')", "words": "[None, 'b', 'l']"}


async def test_a_null_for_a_required_argument_is_the_fields_error(executor: Executor) -> None:
    text = 'query ($v: String = "d") { mustText(value: $v) text }'
    assert await executor.data(text) == {"mustText": "'d'", "text": "absent"}
    data, ((path, message),) = await executor.answer(text, v=None)
    assert (data, path) == ({"mustText": None, "text": "absent"}, ["mustText"])
    assert message.startswith("Argument 'value'")


async def test_a_null_for_a_required_input_field_is_the_fields_error(executor: Executor) -> None:
    text = "query ($y: Int = 1) { point(value: {x: 1, y: $y}) text }"
    assert await executor.data(text) == {"point": "(1, 1, absent)", "text": "absent"}
    data, ((path, _),) = await executor.answer(text, y=None)
    assert (data, path) == ({"point": None, "text": "absent"}, ["point"])


# 6.4.2 Value Resolution


@pytest.mark.parametrize("selection", ["text", "text later"])
@pytest.mark.parametrize("text", ["t", Later(0, "t"), Later(3, "t")], ids=["at once", "no wait", "later"])
async def test_values_may_be_awaitable(executor: Executor, selection: str, text: object) -> None:
    data = await executor.data(f"{{ node {{ {selection} }} }}", SimpleNamespace(text=text))
    assert data["node"]["text"] == "t"


@pytest.mark.parametrize(
    "text", [ValueError("bad"), Later(0, error=ValueError("bad")), Later(3, error=ValueError("bad"))]
)
@pytest.mark.parametrize("selection", ["text", "text later"])
async def test_resolver_error_is_the_fields_error(executor: Executor, selection: str, text: object) -> None:
    data, errors = await executor.answer(f"{{ node {{ {selection} }} }}", SimpleNamespace(text=text))
    assert data["node"]["text"] is None
    assert errors == [(["node", "text"], "bad")]


async def test_missing_attribute_is_the_fields_error(executor: Executor) -> None:
    data, ((path, _),) = await executor.answer("{ node { text number } }", SimpleNamespace(number=1))
    assert (data, path) == ({"node": {"text": None, "number": 1}}, ["node", "text"])


# 6.4.3 Value Completion


@pytest.mark.parametrize(
    ("field", "value", "serialized"),
    [
        ("text", "t", "t"),
        ("text", 1, "1"),
        ("text", True, "true"),
        ("text", 1.5, "1.5"),
        ("number", 1, 1),
        ("number", True, 1),
        ("number", 3.0, 3),
        ("number", "3", 3),
        ("number", 2**31 - 1, 2**31 - 1),
        ("number", -(2**31), -(2**31)),
        ("ratio", 1.5, 1.5),
        ("ratio", 2, 2.0),
        ("flag", True, True),
        ("flag", 0, False),
        ("key", "k", "k"),
        ("key", 7, "7"),
        ("colour", Colour.GREEN, "GREEN"),
        ("colour", "r", "RED"),
        ("even", 2, "even 2"),
        ("numbers", [1, None, 2], [1, None, 2]),
        ("numbers", (1, 2), [1, 2]),
        ("numbers", range(2), [0, 1]),
        ("numbers", [], []),
        ("grid", [[1], [], [2, 3]], [[1], [], [2, 3]]),
        *((field, None, None) for field in ("text", "number", "colour", "even", "node", "nodes", "numbers", "pet")),
    ],
)
@pytest.mark.parametrize("beside", ["", " later"], ids=["serialized whole", "walked"])
async def test_values_are_serialized_by_their_type(
    executor: Executor, field: str, value: object, serialized: object, beside: str
) -> None:
    inner = {"node": " { text }", "nodes": " { text }", "pet": " { __typename }"}.get(field, "")
    data = await executor.data(f"{{ node {{ {field}{inner}{beside} }} }}", SimpleNamespace(**{field: value}))
    assert data["node"][field] == serialized
    assert type(data["node"][field]) is type(serialized)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("text", []),
        ("text", {}),
        ("text", math.nan),
        ("number", 2**31),
        ("number", -(2**31) - 1),
        ("number", 1.5),
        ("number", "x"),
        ("ratio", math.inf),
        ("ratio", "x"),
        ("flag", "true"),
        ("flag", math.nan),
        ("key", 1.5),
        ("colour", "BLUE"),
        ("colour", 1),
        ("colour", []),
        ("even", 3),
        ("even", Decimal(2)),
        ("numbers", 1),
        ("grid", 1),
    ],
)
@pytest.mark.parametrize("beside", ["", " later"], ids=["serialized whole", "walked"])
async def test_values_that_cannot_be_serialized_are_the_fields_error(
    executor: Executor, field: str, value: object, beside: str
) -> None:
    data, ((path, _),) = await executor.answer(f"{{ node {{ {field}{beside} }} }}", SimpleNamespace(**{field: value}))
    assert (data["node"][field], path) == (None, ["node", field])


@pytest.mark.parametrize("field", ["pet", "named"])
async def test_abstract_type_is_resolved_from_the_value(executor: Executor, field: str) -> None:
    text = f"{{ node {{ {field} {{ __typename ... on Named {{ name }} ... on Cat {{ lives }} }} }} }}"
    cat = SimpleNamespace(kind="cat", name="Tom", lives=9)
    data = await executor.data(text, SimpleNamespace(**{field: cat}))
    assert data == {"node": {field: {"__typename": "Cat", "name": "Tom", "lives": 9}}}


@pytest.mark.parametrize("field", ["pet", "named"])
async def test_an_abstract_value_of_no_possible_type_is_the_fields_error(executor: Executor, field: str) -> None:
    context = SimpleNamespace(**{field: SimpleNamespace(kind="fish", name="Bob"), "number": 1})
    data, ((path, _),) = await executor.answer(f"{{ node {{ {field} {{ __typename }} number }} }}", context)
    assert (data, path) == ({"node": {field: None, "number": 1}}, ["node", field])


async def test_the_meta_fields(executor: Executor) -> None:
    text = '{ __typename __schema { queryType { name } } __type(name: "Point") { kind } node { a: __typename } }'
    assert await executor.data(text) == {
        "__typename": "Query",
        "__schema": {"queryType": {"name": "Query"}},
        "__type": {"kind": "INPUT_OBJECT"},
        "node": {"a": "Node"},
    }


# 6.4.4 Handling Execution Errors


def _null_of(type_name: str, field: str) -> str:
    return f"Cannot return null for non-nullable field {type_name}.{field}."


@pytest.mark.parametrize("beside", ["", " later"], ids=["serialized whole", "walked"])
async def test_a_null_in_a_non_null_field_nulls_the_object_around_it(executor: Executor, beside: str) -> None:
    inner = SimpleNamespace(must=None, number=2)
    text = f"{{ node {{ number node {{ number must{beside} }} }} }}"
    data, errors = await executor.answer(text, SimpleNamespace(number=1, node=inner))
    assert data == {"node": {"number": 1, "node": None}}
    assert errors == [(["node", "node", "must"], _null_of("Node", "must"))]


@pytest.mark.parametrize("beside", ["", " later"], ids=["serialized whole", "walked"])
async def test_errors_propagate_through_non_null_fields(executor: Executor, beside: str) -> None:
    inner = SimpleNamespace(must_node=SimpleNamespace(must_node=SimpleNamespace(must=ValueError("bad"))))
    text = f"{{ node {{ text node {{ mustNode {{ mustNode {{ must{beside} }} }} }} }} }}"
    data, errors = await executor.answer(text, SimpleNamespace(text="t", node=inner))
    assert data == {"node": {"text": "t", "node": None}}
    assert errors == [(["node", "node", "mustNode", "mustNode", "must"], "bad")]


@pytest.mark.parametrize("beside", ["", " later"], ids=["serialized whole", "walked"])
async def test_error_propagated_to_the_root_leaves_no_data(executor: Executor, beside: str) -> None:
    text = f"{{ text mustNode {{ mustNode {{ must{beside} }} }} }}"
    data, errors = await executor.answer(text, SimpleNamespace(must_node=SimpleNamespace(must=None)))
    assert (data, errors) == (None, [(["mustNode", "mustNode", "must"], _null_of("Node", "must"))])


_BAD: Final = SimpleNamespace(must=None)
_GOOD: Final = SimpleNamespace(must="m")


@pytest.mark.parametrize(
    ("field", "items", "serialized", "path"),
    [
        ("nodes", [_GOOD, _BAD], [{"must": "m"}, None], [1, "must"]),
        ("mustList", [_BAD, _GOOD], [None, {"must": "m"}], [0, "must"]),
        ("listOfMust", [_GOOD, _BAD], None, [1, "must"]),
        ("listOfMust", [_GOOD, None], None, [1]),
        ("nodes", [ValueError("bad"), _GOOD], [None, {"must": "m"}], [0]),
        ("nodes", [Later(1, error=ValueError("bad")), Later(0, _GOOD)], [None, {"must": "m"}], [0]),
        ("listOfMust", [_GOOD, Later(2, None)], None, [1]),
        ("nodes", [_GOOD, Later(1, _BAD)], [{"must": "m"}, None], [1, "must"]),
        ("numbers", [1, "x"], [1, None], [1]),
        ("mustNumbers", [1, None], None, [1]),
        ("looseGrid", [[1], [None], []], [[1], None, []], [1, 0]),
        ("grid", [[1], [None]], None, [1, 0]),
        ("grid", [[1], None], None, [1]),
        ("looseGrid", [1, [1]], [None, [1]], [0]),
    ],
)
@pytest.mark.parametrize("beside", ["", " later"], ids=["serialized whole", "walked"])
async def test_errors_of_list_items_null_the_item_or_the_list(
    executor: Executor, field: str, items: list[Any], serialized: object, path: list[str | int], beside: str
) -> None:
    attribute = {"mustList": "must_list", "listOfMust": "list_of_must"}.get(field, field)
    attribute = {"mustNumbers": "must_numbers", "looseGrid": "loose_grid"}.get(attribute, attribute)
    inner = " { must }" if "odes" in field or field in {"mustList", "listOfMust"} else ""
    text = f"{{ node {{ {field}{inner}{beside} }} }}"
    data, errors = await executor.answer(text, SimpleNamespace(**{attribute: items}))
    assert data["node"][field] == serialized
    assert [one for one, _ in errors] == [["node", field, *path]]


async def test_paths_name_aliases_and_count_items_from_zero(executor: Executor) -> None:
    context = SimpleNamespace(nodes=[SimpleNamespace(number=1), SimpleNamespace(number="x")])
    data, ((path, _),) = await executor.answer("{ n: node { all: nodes { size: number } } }", context)
    assert data == {"n": {"all": [{"size": 1}, {"size": None}]}}
    assert path == ["n", "all", 1, "size"]


async def test_error_has_the_locations_of_all_merged_fields(executor: Executor) -> None:
    result = await executor.result("{\n  node { number }\n  node { number }\n}", SimpleNamespace(number="x"))
    assert result.errors is not None
    (error,) = result.errors
    assert [(one.line, one.column) for one in error.locations or ()] == [(2, 10), (3, 10)]


async def test_every_nullable_field_that_fails_has_its_error(executor: Executor) -> None:
    context = SimpleNamespace(text=ValueError("1"), late=ValueError("2"), number="x", flag=True)
    data, errors = await executor.answer("{ node { text late number flag later } }", context)
    assert data == {"node": {"text": None, "late": None, "number": None, "flag": True, "later": "later"}}
    assert sorted(path[-1] for path, _ in errors) == ["late", "number", "text"]


async def test_value_nulled_by_several_errors_reports_one(executor: Executor) -> None:
    context = SimpleNamespace(node=SimpleNamespace(must=ValueError("1"), must_late=ValueError("2")), number=1)
    text = "{ node { node { mustLate must other: mustLate } number } }"
    data, ((path, message),) = await executor.answer(text, context)
    assert data == {"node": {"node": None, "number": 1}}
    assert (path[-1], message) in [("must", "1"), ("mustLate", "2"), ("other", "2")]


async def test_error_of_an_object_does_not_affect_its_siblings(executor: Executor) -> None:
    bad, good = SimpleNamespace(must_late=None), SimpleNamespace(must_late="m")
    text = "{ node { a: nodes { mustLate } later } b: node { nodes { mustLate } } }"
    data, errors = await executor.answer(text, SimpleNamespace(nodes=[good, bad, good]))
    items = [{"mustLate": "m"}, None, {"mustLate": "m"}]
    assert data == {"node": {"a": items, "later": "later"}, "b": {"nodes": items}}
    assert sorted(path for path, _ in errors) == [["b", "nodes", 1, "mustLate"], ["node", "a", 1, "mustLate"]]
