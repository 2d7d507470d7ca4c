"""Random operations with random data, each by both executors, until an answer differs. Of a subscription, an event is
answered.

An example is told by its number alone. Of one document four operations are run, as parsing and validating take longer
than all the rest: other values of the variables, which may choose other fields and so another plan, and other data.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from graphql import GraphQLSchema, OperationType

from execution.documents import Document, DocumentRefused, Documents
from execution.executor import run, run_by_reference
from execution.limits import Limits
from execution.native import ShapeWriter, Writer
from execution.subtrees import SubtreeWriter
from tests.execution.chances import Chances
from tests.execution.comparison import Answer, Failure, Place, answer, difference, possible_failures, watching
from tests.execution.operations import OperationWriter
from tests.execution.reduction import reduced
from tests.execution.subjects import Subject

OF_ONE_DOCUMENT: Final = 4
KINDS: Final = (0.7, 0.22, 0.08)
"""How much of the documents is queries, mutations and subscriptions."""
MAX_SECONDS: Final = 20
"""Beyond that an operation hangs."""


NEW_WRITERS: Final[dict[str, Callable[[], Writer]]] = {
    "compiled, serialized by C": ShapeWriter,
    "compiled, serialized by Python": SubtreeWriter,
}

Serialized = tuple[Document, ...]
"""The same document for each way to serialize."""


def serialized(document: Document) -> Serialized:
    return tuple(Document(document.ast, new_writer) for new_writer in NEW_WRITERS.values())


def _documents(schema: GraphQLSchema) -> Documents:
    limits = Limits(max_depth=50, max_aliases=1_000, max_directives=1_000, max_tokens=100_000)
    return Documents(schema, limits, capacity=0)


@dataclass
class Tally:
    documents: int = 0
    operations: int = 0
    failures: int = 0
    """Errors in the answers."""
    fields: int = 0
    by_reference: int = 0
    """Fields that the compiled executor left to the reference executor, wholly or in part."""

    @property
    def compiled_share(self) -> float:
        return 1 - self.by_reference / self.fields


class Differed(AssertionError):
    def __init__(self, number: int, report: str) -> None:
        super().__init__(report)
        self.number = number
        """That of the document."""


@dataclass(frozen=True)
class Example:
    subject: Subject
    name: str | None
    variables: dict[str, Any]
    seed: int
    kind: OperationType = OperationType.QUERY

    async def answers(
        self, serialized: Serialized, without: frozenset[str] = frozenset()
    ) -> tuple[tuple[Answer, ...], Answer]:
        """By compiled code, once for each way to serialize, and by the reference executor."""
        compiled = [await self._answer(run, document, without, guard=False) for document in serialized]
        return tuple(compiled), await self._answer(run_by_reference, serialized[0], without, guard=True)

    def _given(self, chances: Chances, *, guard: bool) -> dict[str, Any]:
        context = self.subject.context(chances, guard=guard)
        source = self.subject.event(context) if self.kind == OperationType.SUBSCRIPTION else None
        return {
            "operation_name": self.name,
            "variables": dict(self.variables),
            "context": context,
            "source": source,
        }

    async def _answer(self, execute: Any, document: Document, without: frozenset[str], *, guard: bool) -> Answer:
        given = self._given(Chances(self.seed, without), guard=guard)
        async with asyncio.timeout(MAX_SECONDS):
            return await answer(execute, self.subject.schema, document, **given)

    async def difference(
        self,
        document: Document,
        answers: tuple[tuple[Answer, ...], Answer],
        without: frozenset[str] = frozenset(),
    ) -> str | None:
        each_compiled, reference = answers
        compiled = next((one for one in each_compiled if difference(one, reference) is not None), None)
        if compiled is None:
            return None
        possible: Mapping[Place, set[Failure]] = {}
        if reference.raised is None:
            given = self._given(Chances(self.seed, without), guard=True)
            possible = await possible_failures(self.subject.schema, document, **given)
        return difference(compiled, reference, lambda: possible)

    async def report(self, text: str) -> str:
        """The smallest document and the fewest faults that still make a difference."""
        documents = _documents(self.subject.schema)

        async def differs(smaller: str, without: frozenset[str] = frozenset()) -> bool:
            try:
                document = documents.get(smaller)
                answers = await self.answers(serialized(document), without)
            except (DocumentRefused, Exception):  # noqa: BLE001  removing may make anything of it
                return False
            return await self.difference(document, answers, without) is not None

        text = await reduced(text, differs)
        document = documents.get(text)
        chances = Chances(self.seed)
        await run(self.subject.schema, document, **self._given(chances, guard=False))
        without: frozenset[str] = frozenset()
        for fault in sorted(chances.happened):
            if await differs(text, without | {fault}):
                without |= {fault}
        answers = await self.answers(serialized(document), without)
        each_compiled, reference = answers
        lines = [
            f"{await self.difference(document, answers, without)}",
            text,
            f"operation: {self.name}  variables: {json.dumps(self.variables)}",
            f"faults: {sorted(chances.happened - without)}",
        ]
        for name, shown in zip((*NEW_WRITERS, "reference"), (*each_compiled, reference), strict=True):
            lines.append(f"{name}: {shown.raised or json.dumps(shown.data, default=repr)}")
            lines += [f"    {place} {failure}" for place, failure in shown.failures]
        return "\n".join(lines)


async def trial(subject: Subject, first: int, count: int, *, reduce: bool = True) -> Tally:
    """Runs `count` operations, the documents numbered from `first`. Raises Differed, with the smallest example."""
    tally = Tally()
    documents = _documents(subject.schema)
    with watching():
        for number in range(first, first + (count + OF_ONE_DOCUMENT - 1) // OF_ONE_DOCUMENT):
            random = Random(f"{subject.name} {number}")
            writer = OperationWriter(subject.schema, subject.vocabulary, random)
            kind = random.choices((OperationType.QUERY, OperationType.MUTATION, OperationType.SUBSCRIPTION), KINDS)[0]
            text, name = writer.write(kind)
            documents_serialized = serialized(documents.get(text))
            tally.documents += 1
            for _ in range(OF_ONE_DOCUMENT):
                example = Example(subject, name, writer.values(), random.getrandbits(32), kind)
                await _checked(example, documents_serialized, text, number, tally, reduce=reduce)
    return tally


async def _checked(
    example: Example, serialized: Serialized, text: str, number: int, tally: Tally, *, reduce: bool
) -> None:
    compiled, reference = answers = await example.answers(serialized)
    what = await example.difference(serialized[0], answers)
    if what is not None:
        report = await example.report(text) if reduce else what
        raise Differed(number, f"{example.subject.name}, document {number}: {report}")
    tally.operations += 1
    tally.failures += len(reference.failures)
    tally.fields += reference.fields
    tally.by_reference += max(one.fields for one in compiled)
