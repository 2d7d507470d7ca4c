"""C and Python serialize every value alike. `test_equivalence.py` compares whole operations."""

from __future__ import annotations

import gc
import re
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from graphql import GraphQLNonNull, GraphQLObjectType, Undefined
from hypothesis import given
from hypothesis import strategies as st

from execution import _serializer, native
from execution.calls import OfClass
from execution.native import IS_COMPILED, ShapeWriter
from execution.subtrees import LaterField, PureField, SubtreeWriter
from ledger.chain import format_time
from ledger.money import format_nanos
from resolvers.cursors import format_day
from schema.build import graphql_schema

SCALARS = graphql_schema().type_map
ZONES = st.sampled_from([UTC, UTC, timezone(timedelta(hours=5, minutes=30)), timezone(timedelta(0))])


class Box:
    def __init__(self, value: object) -> None:
        self.value = value


def serializers(scalar: str, *, nullable: bool = False) -> tuple[Any, Any]:
    """Of a Box, by C and by Python."""
    leaf: Any = SCALARS[scalar]
    type_ = leaf if nullable else GraphQLNonNull(leaf)
    fields: list[LaterField | PureField] = [LaterField("before"), PureField("value", type_, "value", None, None, None)]
    made = []
    for writer in (ShapeWriter(), SubtreeWriter()):
        name = writer.object_function(GraphQLObjectType("Box", {}), fields)
        made.append(writer.built()[name])
    return made[0], made[1]


def serialized_alike(scalar: str, value: object) -> object:
    by_c, by_python = serializers(scalar)
    serialized = by_c(Box(value))
    assert serialized == by_python(Box(value))
    assert list(serialized) == ["before", "value"]
    assert serialized["value"].__class__ is str
    return serialized["value"]


def test_serializer_is_compiled() -> None:
    """Or the tests of this folder would compare Python with itself."""
    assert IS_COMPILED
    assert isinstance(native.best_writer(), ShapeWriter)


@given(
    st.integers(min_value=-(2**63) - 2, max_value=2**63 + 2) | st.integers(-(10**12), 10**12).map(lambda n: n * 10**7)
)
def test_amounts(nanos: int) -> None:
    assert serialized_alike("Decimal", nanos) == format_nanos(nanos)


def _shown(value: object) -> str:
    """The same in every process that runs tests."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


@pytest.mark.parametrize("nanos", [0, 1, -1, 10**9, -(10**9), 10**7, -(10**7), 135, 2**63 - 1, -(2**63), 2**63, 10**30])
def test_amounts_at_the_limits(nanos: int) -> None:
    assert serialized_alike("Decimal", nanos) == format_nanos(nanos)


@given(st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 28), timezones=ZONES))  # noqa: DTZ001
def test_times(moment: datetime) -> None:
    assert serialized_alike("DateTime", moment) == format_time(moment)


@given(st.dates())
def test_days(day: date) -> None:
    assert serialized_alike("Date", day) == format_day(day) == day.isoformat()


@given(st.integers())
def test_large_integers(number: int) -> None:
    assert serialized_alike("BigInt", number) == str(number)


ODD = [
    None,
    True,
    1.5,
    b"7",
    "7",
    [7],
    {},
    object(),
    ValueError("seven"),
    datetime(2026, 1, 1, tzinfo=UTC),
    2**31,
    -(2**31),
]


@pytest.mark.parametrize(
    "scalar", ["Decimal", "DateTime", "Date", "BigInt", "String", "ID", "Int", "Boolean", "AccountStatus"]
)
@pytest.mark.parametrize("value", ODD, ids=_shown)
@pytest.mark.parametrize("nullable", [True, False])
def test_unusual_values_are_refused_or_serialized_as_in_python(scalar: str, value: object, nullable: bool) -> None:
    by_c, by_python = serializers(scalar, nullable=nullable)
    answers = []
    for serializer in (by_c, by_python):
        try:
            answers.append(serializer(Box(value)))
        except Exception:  # noqa: BLE001  of whatever kind: the reference executor is asked then
            answers.append("refused")
    assert answers[0] == answers[1]


class Other:
    """Of no Box's class."""


@pytest.mark.parametrize("value", [None, Undefined, ValueError("seven"), Other()], ids=_shown)
def test_non_objects_are_refused_for_any_selection(value: object) -> None:
    for writer in (ShapeWriter(), SubtreeWriter()):
        type_ = GraphQLObjectType("Box", {}, is_type_of=OfClass(Box))
        name = writer.object_function(type_, [LaterField("later")])
        serializer = writer.built()[name]
        assert serializer(Box(7)) == serializer(Box(8)) == {"later": None}
        with pytest.raises(Exception):  # noqa: B017  of whatever kind
            serializer(value)


def test_list_may_shrink_while_it_is_serialized() -> None:
    values: list[Any] = []

    def shrink(_value: object) -> str:
        values.clear()
        return "one"

    shape = (_serializer.LIST, False, (_serializer.CALL, False, shrink, None, str))
    values += [object() for _ in range(5)]
    with pytest.raises(TypeError):
        _serializer.Serializer(shape)(values)


@pytest.mark.parametrize(
    "shape",
    [
        (),
        (_serializer.TEXT,),
        (99, False),
        (-1, False),
        ("TEXT", False),
        (_serializer.ENUM, False),
        (_serializer.ENUM, False, []),
        (_serializer.LIST, False, 7),
        (_serializer.LIST, False, ()),
        (_serializer.FIXED_POINT, False, str, None, str, 19, 2),
        (_serializer.FIXED_POINT, False, str, None, str, 2, 3),
        (_serializer.OBJECT, False, set(), str, None, {}, ((),)),
        (_serializer.OBJECT, False, set(), str, None, {}, (("key", "attribute", (99, False)),)),
        (
            _serializer.OBJECT,
            False,
            set(),
            str,
            None,
            {},
            (("key", "a", (_serializer.TEXT, False)), ("key", "b", (99, False))),
        ),
    ],
)
def test_invalid_shapes_are_refused(shape: tuple[Any, ...]) -> None:
    with pytest.raises((TypeError, ValueError)):
        _serializer.Serializer(shape)


def test_serializer_leaks_no_references() -> None:
    by_c, _ = serializers("Decimal")
    box, wrong = Box(-1_234_567_890), Box("text")

    def work() -> None:
        for _ in range(1_000):
            by_c(box)
            with pytest.raises(Exception):  # noqa: B017
                by_c(wrong)
            _serializer.Serializer((_serializer.LIST, True, (_serializer.TEXT, False)))(["a", "b"])

    work()
    gc.collect()
    before = sys.getallocatedblocks()
    work()
    gc.collect()
    assert sys.getallocatedblocks() - before < 500


def test_python_serializes_without_the_compiled_module() -> None:
    program = (
        "import sys; sys.modules['execution._serializer'] = None\n"
        "from execution.native import best_writer; import schema.build\n"
        "print(type(best_writer()).__name__)"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout == "SubtreeWriter\n"
