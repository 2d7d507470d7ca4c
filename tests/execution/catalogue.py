"""A schema of every kind of field that there is, whether ours has it or not, over things that a seed makes up."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Final, NewType, Union, cast

import strawberry
from graphql import Undefined
from strawberry import Info
from strawberry.extensions import FieldExtension
from strawberry.permission import BasePermission
from strawberry.schema.config import StrawberryConfig

from execution.attributes import PROJECTION, ROWS, Projection, projection_of
from tests.execution.chances import Answers, Chances, Later, Text, fault_error, guarded, spoilt, turned
from tests.execution.operations import Vocabulary
from tests.execution.subjects import Subject

Money = NewType("Money", Decimal)
Big = NewType("Big", int)
Raw = NewType("Raw", object)


def _serialized_money(value: object) -> str | int | None:
    """A text, mostly: whole hundreds are a number, and debts nothing, which no scalar may be serialized as."""
    if not isinstance(value, Decimal):
        msg = f"no money: {value!r}"
        raise TypeError(msg)
    if value < 0:
        return None
    return int(value) if value % 100 == 0 else f"{value:.2f}"


@strawberry.enum
class Colour(Enum):
    RED = "r"
    GREEN = "g"
    BLUE = "b"


class OtherColour(Enum):
    RED = "r"


class MoneyOfOurs(Decimal):
    pass


@strawberry.type
class Clasp:
    """One that nobody asks whether a value is of it."""

    name: str
    strength: int | None

    @strawberry.field
    def twice(self) -> str:
        return self.name * 2


def _clasp(number: int) -> Clasp:
    return Clasp(name=f"clasp {number % 9}", strength=None if number % 3 else number % 50)


_LEAVES: Final[dict[str, Callable[[int], Any]]] = {
    "label": lambda number: f"label {number % 100}",
    "note": lambda number: None if number % 3 == 0 else f"note {number % 100}",
    "size": lambda number: number % 2**31,
    "weight": lambda number: None if number % 4 == 0 else number % 1_000 / 8,
    "heavy": lambda number: number % 2 == 0,
    "colour": lambda number: list(Colour)[number % 3],
    "paint": lambda number: (None, *Colour)[number % 4],
    "price": lambda number: Decimal((0, -1, 100)[number % 3] if number % 50 == 0 else number % 10_000) / 100,
    "discount": lambda number: None if number % 3 else Decimal(number % 100 - 2) / 100,
    "mark": lambda number: str(number % 1_000),
    "count": lambda number: number % 2**50,
    "clasp": _clasp,
    "clasps": lambda number: [_clasp(number >> one) for one in range(number % 4)],
    "loose_clasps": lambda number: [None if number >> one & 1 else _clasp(number >> one) for one in range(number % 3)],
    "raw": lambda number: (None, number % 100, f"raw {number % 10}", [1], {"raw": True}, 2.5)[number % 6],
    "tags": lambda number: [f"tag {one}" for one in range(number % 4)],
    "hints": lambda number: [f"hint {one}" if number >> one & 1 else None for one in range(number % 5)],
    "grid": lambda number: [[one * 10 + other for other in range(one)] for one in range(number % 4)],
    "loose_grid": lambda number: [None if number >> one & 1 else [one, None] for one in range(number % 4)],
    "colours": lambda number: tuple(Colour)[: number % 4],
}


_NEARLY: Final[dict[type, tuple[Any, ...]]] = {
    str: (Text("text"), b"text", 7, True, 1.5, ""),
    int: (2**31, -(2**31), -(2**31) - 1, True, 3.0, 3.5, "3", "three"),
    float: (3, True, math.inf, "1.5", Decimal("1.5")),
    bool: (1, 0, 2, 0.0, "true", ""),
    Colour: ("r", "RED", "x", OtherColour.RED),
    Clasp: (None, ValueError("no clasp"), Undefined, "clasp"),
    Decimal: (1, 1.5, "1.5", Decimal("NaN"), MoneyOfOurs("2.5")),
}
"""Values that are almost of the type: some are right, and need a closer look than compiled code takes."""


def _nearly(value: Any, number: int) -> Any:
    nearly = _NEARLY.get(type(value))
    return spoilt(number) if nearly is None else nearly[number % len(nearly)]


class Thing:
    """Its attributes are made up when they are read: values, or what is not right there."""

    def __init__(self, shelf: Shelf, key: tuple[object, ...]) -> None:
        self.shelf = shelf
        self.key = key

    def __repr__(self) -> str:
        return "a thing"

    def __getattr__(self, name: str) -> Any:
        if name not in _LEAVES:
            raise AttributeError(name)
        chances = self.shelf.chances
        fault = chances.fault(*self.key, name, times=5 if _LEAVES[name] is _clasp else 2.5)
        value = _LEAVES[name](chances.number(*self.key, name))
        if fault is None:
            return value
        if fault % 4 == 0:
            raise fault_error(fault >> 8)
        if isinstance(value, list | tuple) and fault % 4 < 3:
            return _spoilt_list(list(value), fault >> 8)
        if name != "raw" and not isinstance(value, list | tuple) and fault & 64:
            return _nearly(value, fault >> 8)
        return spoilt(fault >> 8)


class BoxThing(Thing):
    pass


class LidThing(Thing):
    pass


class BagThing(Thing):
    pass


_KINDS: Final = (BoxThing, LidThing, BagThing)


def _spoilt_list(items: list[Any], number: int) -> Any:
    """With an item that is wrong; or right, and not a list."""
    kind = number % 5
    number >>= 8
    if kind == 0:
        return (one for one in items)
    if kind == 1:
        return Later(number % 3, items)
    place = number % (len(items) + 1)
    like = items[0] if items else None
    leaf = type(like) in _NEARLY and number & 2**20
    items.insert(place, _nearly(like, number >> 24) if leaf else spoilt(number >> 24))
    if len(items) > 1 and isinstance(items[place - 1], list) and kind == 2:
        items[place - 1] = _spoilt_list(items[place - 1], number >> 24)
    return items


class Row:
    """Something loaded, of which nothing can be read but what the operation was known to read."""

    def __init__(self, values: dict[str, Any], readable: Collection[str] | None) -> None:
        self._values = values
        self._readable = readable

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._values:
            raise AttributeError(name)
        if self._readable is not None and name not in self._readable:
            raise AssertionError("the operation was not known to read this")
        return self._values[name]


@strawberry.type
class Drawer:
    label: str
    width: int
    depth: int | None

    @strawberry.field(metadata={PROJECTION: ("width", "depth")})
    def area(self) -> int:
        return self.width * (self.depth or 0)

    @strawberry.field
    def shown(self) -> str:
        return f"{self.label}: {self.width}"


@strawberry.type
class Slot:
    drawer: Drawer


@strawberry.type
class Chest:
    count: int
    top: Drawer | None
    drawers: list[Drawer]
    slots: list[Slot]


def _chest(chances: Chances, projection: Projection) -> Row:
    number = chances.number("chest")
    drawers = [
        Row({"label": f"drawer {one}", "width": number >> one & 7, "depth": one or None}, projection.of_rows)
        for one in range(number % 4)
    ]
    slots = [Slot(drawer=cast("Drawer", one)) for one in drawers]
    top = drawers[0] if drawers else None
    return Row({"count": len(drawers), "top": top, "drawers": drawers, "slots": slots}, projection.of_value)


class Shelf:
    """The context."""

    def __init__(self, chances: Chances, *, guard: bool) -> None:
        self.chances = chances
        self.puts = 0
        self.rounds = 0
        self._guard = guard
        self._things = Answers(chances, "things", self._shared, guard=guard)

    @asynccontextmanager
    async def around_field(self, *, may_read: bool = True) -> AsyncIterator[None]:
        self.rounds += 1
        await self.later("before", self.rounds)
        yield
        await self.later("after", self.rounds)

    def _shared(self, key: tuple[type[Thing], int]) -> Any:
        return None if key[1] == 0 else self.thing(key[0], ("shared", key[1]))

    def load(self, number: int) -> asyncio.Future[Any]:
        return self._things.load((BoxThing, number))

    def thing(self, kind: type[Thing], key: tuple[object, ...]) -> Any:
        """A thing; or, by chance, one of another kind, or none."""
        fault = self.chances.fault("thing", *key)
        if fault is None:
            return kind(self, key)
        if fault % 3 == 0:
            return _KINDS[(fault >> 8) % 3](self, key)
        if fault % 3 == 1:
            return Later((fault >> 8) % 3, kind(self, key))
        return spoilt(fault >> 8)

    def things(self, kinds: Iterable[type[Thing]], key: tuple[object, ...]) -> Any:
        count = self.chances.number("count", *key) % 4
        chosen = list(kinds)
        number = self.chances.number("kinds", *key)
        items = [self.thing(chosen[(number >> one) % len(chosen)], (*key, one)) for one in range(count)]
        fault = self.chances.fault("things", *key)
        return items if fault is None else _spoilt_list(items, fault)

    def or_none(self, value: Any, *key: object) -> Any:
        return None if self.chances.number("none", *key) % 4 == 0 else value

    def check(self, *key: object) -> None:
        fault = self.chances.fault("check", *key, times=2)
        if fault is not None:
            raise fault_error(fault)

    async def later(self, *key: object) -> None:
        await turned(self.chances.turns(*key))
        self.check(*key)

    def future(self, value: Any, *key: object) -> Awaitable[Any]:
        """A future that is done already, or one that is done later: no coroutine."""
        future = asyncio.get_running_loop().create_future()
        fault = self.chances.fault("future", *key)

        def settle() -> None:
            if future.done():
                return
            if fault is None:
                future.set_result(value)
            else:
                future.set_exception(fault_error(fault))
                future.exception()

        if self.chances.number("future", *key) % 2:
            settle()
        else:
            asyncio.get_running_loop().call_soon(settle)
        return guarded(future) if self._guard else future


class Allowed(BasePermission):
    message = "not allowed"

    def has_permission(self, source: Any, info: Info[Any, Any], **_kwargs: Any) -> bool:
        return bool(info.context.chances.number("allowed", getattr(source, "key", None)) % 4)


class Louder(FieldExtension):
    def resolve(self, next_: Callable[..., Any], source: Any, info: Info[Any, Any], **kwargs: Any) -> Any:
        return str(next_(source, info, **kwargs)).upper()


@strawberry.input
class Size:
    width: int
    height: int = 3
    unit: str | None = strawberry.UNSET


@strawberry.input
class Posting:
    size: Size | None = None
    colours: list[Colour] = strawberry.field(default_factory=lambda: [Colour.RED])
    notes: list[str | None] | None = None
    price: Money | None = None


def _told(**arguments: Any) -> str:
    """What a resolver was given, to the last."""
    return " ".join(f"{name}={value!r}" for name, value in arguments.items())


@strawberry.interface
class Labelled:
    label: str
    note: str | None


@strawberry.type
class Stamp(Labelled):
    """Its values are instances of itself."""

    label: str
    note: str | None
    number: int | None = strawberry.field(name="no")

    @strawberry.field
    def twice(self) -> str:
        return self.label * 2

    @strawberry.field
    async def later(self) -> str:
        await asyncio.sleep(0)
        return self.label


def _stamp(shelf: Shelf, key: tuple[object, ...]) -> Any:
    number = shelf.chances.number("stamp", *key)
    fault = shelf.chances.fault("stamp", *key)
    if fault is not None and fault % 2:
        return spoilt(fault >> 8)
    label: Any = f"stamp {number % 50}" if fault is None else spoilt(fault >> 8)
    return Stamp(label=label, note=None, number=None if number % 5 == 0 else number % 99)


@strawberry.type
class Lid(Labelled):
    label: str
    note: str | None
    heavy: bool
    size: int | None

    @classmethod
    def is_type_of(cls, obj: object, _info: object) -> bool:
        return isinstance(obj, LidThing)


@strawberry.type
class Bag(Labelled):
    label: str
    note: str | None
    size: int
    hints: list[str | None]

    @strawberry.field
    async def stamps(self: BagThing, info: Info[Shelf, None]) -> list[Stamp]:
        await info.context.later(*self.key, "stamps")
        return [_stamp(info.context, (*self.key, one)) for one in range(2)]

    @strawberry.field(graphql_type=list["Content | None"])
    async def inside(self: BagThing) -> Any:
        await self.shelf.later(*self.key, "inside")
        return [self.shelf.or_none(one, *self.key) for one in self.shelf.things(_KINDS, (*self.key, "inside"))]

    @classmethod
    def is_type_of(cls, obj: object, _info: object) -> bool:
        return isinstance(obj, BagThing)


@strawberry.type
class Box(Labelled):
    label: str
    note: str | None
    size: int
    weight: float | None
    heavy: bool | None
    colour: Colour
    paint: Colour | None
    price: Money
    discount: Money | None
    mark: strawberry.ID
    count: Big
    raw: Raw | None
    clasp: Clasp
    clasps: list[Clasp]
    loose_clasps: list[Clasp | None] | None
    tags: list[str] | None
    hints: list[str | None]
    grid: list[list[int]]
    loose_grid: list[list[int | None] | None] | None
    colours: list[Colour]

    @strawberry.field
    def title(self: BoxThing) -> str:
        self.shelf.check(*self.key, "title")
        return f"Box {self.label}"

    @strawberry.field(graphql_type=Lid)
    def lid(self: BoxThing) -> Any:
        return self.shelf.thing(LidThing, (*self.key, "lid"))

    @strawberry.field(graphql_type="Box | None")
    def inner(self: BoxThing) -> Any:
        self.shelf.check(*self.key, "inner")
        return self.shelf.or_none(self.shelf.thing(BoxThing, (*self.key, "inner")), *self.key)

    @strawberry.field(graphql_type="Box")
    async def outer(self: BoxThing) -> Any:
        await self.shelf.later(*self.key, "outer")
        return self.shelf.thing(BoxThing, (*self.key, "outer"))

    @strawberry.field(graphql_type=list[Lid])
    def lids(self: BoxThing) -> Any:
        return self.shelf.things([LidThing], (*self.key, "lids"))

    @strawberry.field(graphql_type=list[Bag | None] | None)
    def bags(self: BoxThing, info: Info[Shelf, None], most: int | None = 2) -> Any:
        found = info.context.things([BagThing], (*self.key, "bags"))
        return found[:most] if isinstance(found, list) else found

    @strawberry.field(graphql_type=list[list["Box"]])
    async def shelves(self: BoxThing) -> Any:
        await self.shelf.later(*self.key, "shelves")
        return [self.shelf.things([BoxThing], (*self.key, "shelves", one)) for one in range(2)]

    @strawberry.field(graphql_type=list[list[Lid | None] | None] | None)
    def covers(self: BoxThing, info: Info[Shelf, None]) -> Any:
        found = [self.shelf.things([LidThing], (*self.key, "covers", one)) for one in range(3)]
        return [info.context.or_none(one, *self.key, number) for number, one in enumerate(found)]

    @strawberry.field(graphql_type="Content | None")
    def content(self: BoxThing) -> Any:
        return self.shelf.thing(_KINDS[self.shelf.chances.number(*self.key, "content") % 3], (*self.key, "content"))

    @strawberry.field(graphql_type=list["Content"])
    async def contents(self: BoxThing, info: Info[Shelf, None]) -> Any:
        await info.context.later(*self.key, "contents")
        return info.context.things(_KINDS, (*self.key, "contents"))

    @strawberry.field(graphql_type=Labelled)
    def labelled(self: BoxThing, info: Info[Shelf, None]) -> Any:
        number = info.context.chances.number(*self.key, "labelled")
        key = (*self.key, "labelled")
        return _stamp(info.context, key) if number % 2 else self.shelf.thing(_KINDS[number % 3], key)

    @strawberry.field(graphql_type=list[Labelled | None] | None)
    async def all_labelled(self: BoxThing) -> Any:
        await self.shelf.later(*self.key, "all labelled")
        return self.shelf.things(_KINDS, (*self.key, "all labelled"))

    @strawberry.field(graphql_type="Box | None")
    async def shared(self: BoxThing, info: Info[Shelf, None], number: int = 1) -> Any:
        return await info.context.load(number)

    @strawberry.field(graphql_type=str)
    def awaited(self: BoxThing, info: Info[Shelf, None]) -> Any:
        return info.context.future("awaited", *self.key)

    @strawberry.field(graphql_type="Lid | None")
    def awaited_lid(self: BoxThing) -> Any:
        lid = self.shelf.thing(LidThing, (*self.key, "awaited"))
        return Later(self.shelf.chances.number(*self.key) % 3, lid)

    @strawberry.field
    async def told(
        self: BoxThing,
        text: str = "none",
        numbers: list[int] | None = None,
        colour: Colour | None = Colour.GREEN,
        order: Posting | None = None,
        price: Money | None = strawberry.UNSET,
    ) -> str:
        return _told(text=text, numbers=numbers, colour=colour, order=order, price=price)

    @strawberry.field
    def told_at_once(
        self, info: Info[Shelf, None], size: Size, which: Annotated[int, strawberry.argument(name="no")]
    ) -> str:
        return _told(size=size, which=which, field=info.field_name, path=(info.path.typename, info.path.key))

    @strawberry.field
    def of_parent(parent: strawberry.Parent[Any], add: str | None = None) -> str:  # noqa: N805
        return f"{parent.label} {add!r}"

    @strawberry.field
    def constant() -> str:
        return "constant"

    @strawberry.field(permission_classes=[Allowed])
    def secret(self: BoxThing) -> str | None:
        return "secret"

    @strawberry.field(extensions=[Louder()])
    def loud(self: BoxThing) -> str:
        return str(self.label)

    @classmethod
    def is_type_of(cls, obj: object, _info: object) -> bool:
        return isinstance(obj, BoxThing)


Content = Annotated[Union[Box, Lid, Bag], strawberry.union("Content")]  # noqa: UP007  what strawberry.union takes


@strawberry.type
class Query:
    @strawberry.field(graphql_type=Box)
    def box(self, info: Info[Shelf, None]) -> Any:
        return info.context.thing(BoxThing, ("box",))

    @strawberry.field(graphql_type=Box | None)
    async def box_later(self, info: Info[Shelf, None], number: int | None = None) -> Any:
        await info.context.later("box later", number)
        return info.context.thing(BoxThing, ("box later", number))

    @strawberry.field(graphql_type=list[Box | None])
    def boxes(self, info: Info[Shelf, None]) -> Any:
        return info.context.things([BoxThing], ("boxes",))

    @strawberry.field(graphql_type=Content | None)
    async def content(self, info: Info[Shelf, None], number: int = 0) -> Any:
        return info.context.thing(_KINDS[number % 3], ("content", number))

    @strawberry.field(graphql_type=list[Labelled])
    def labelled(self, info: Info[Shelf, None]) -> Any:
        return info.context.things(_KINDS, ("labelled",))

    @strawberry.field(graphql_type=Stamp | None)
    def stamp(self, info: Info[Shelf, None]) -> Any:
        return _stamp(info.context, ("stamp",))

    @strawberry.field(graphql_type=Chest, metadata={ROWS: "Drawer"})
    async def chest(self, info: Info[Shelf, None]) -> Any:
        await info.context.later("chest")
        return _chest(info.context.chances, projection_of(info))

    @strawberry.field
    def told(self, order: Posting, words: list[str]) -> str:
        return _told(order=order, words=words)


@strawberry.type
class Put:
    place: int
    """How many were put before: it tells whether one was done before the next began."""

    @strawberry.field(graphql_type=Box | None)
    async def box(self, info: Info[Shelf, None]) -> Any:
        await info.context.later("put", self.place)
        return info.context.thing(BoxThing, ("put", self.place))

    @strawberry.field
    async def places(self, info: Info[Shelf, None]) -> int:
        await asyncio.sleep(0)
        return info.context.puts


@strawberry.type
class Mutation:
    @strawberry.mutation
    async def put(self, info: Info[Shelf, None], name: str = "") -> Put:
        place = info.context.puts
        await info.context.later("put", name, place)
        info.context.puts += 1
        return Put(place=place)

    @strawberry.mutation
    def put_at_once(self, info: Info[Shelf, None], order: Posting | None = None) -> Put | None:
        info.context.puts += 1
        info.context.check("at once", info.context.puts)
        return None if order is None else Put(place=info.context.puts)


@strawberry.type
class Subscription:
    @strawberry.subscription(graphql_type=Box)
    async def box(self, info: Info[Shelf, None]) -> AsyncIterator[Any]:
        yield _event(info.context)

    @strawberry.subscription(graphql_type=Content | None)
    async def content(self, info: Info[Shelf, None], number: int = 0) -> AsyncIterator[Any]:
        yield _event(info.context)


def _event(shelf: Shelf) -> object:
    return shelf.thing(_KINDS[shelf.chances.number("event") % 3], ("event",))


_SCHEMA: Final = strawberry.Schema(
    query=Query,
    mutation=Mutation,
    subscription=Subscription,
    types=[Stamp, Lid, Bag],
    config=StrawberryConfig(
        scalar_map={
            Money: strawberry.scalar(name="Money", serialize=_serialized_money, parse_value=Decimal),
            Big: strawberry.scalar(name="Big", serialize=str, parse_value=int),
            Raw: strawberry.scalar(name="Raw", serialize=lambda value: value, parse_value=lambda value: value),
        }
    ),
)

_VOCABULARY: Final = Vocabulary(
    scalars={
        "String": ["", "abc", "ж"],
        "Int": [0, 1, 2, 3],
        "Float": [0.5, 2],
        "Boolean": [True, False],
        "Money": ["1.50", "-2"],
    },
    weights={
        "secret": 0.1,
        "loud": 0.1,
        "chest": 2,
        "box": 3,
        "boxLater": 3,
        "boxes": 3,
        "inner": 3,
        "outer": 3,
        "contents": 2,
        "content": 2,
        "raw": 3,
        "clasp": 5,
        "clasps": 4,
        "told": 1.5,
    },
)

CATALOGUE: Final = Subject("the catalogue", _SCHEMA._schema, _VOCABULARY, Shelf, _event)
