"""Random operations with random data, each by both executors, until an answer differs.

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

from graphql import GraphQLSchema

from execution.documents import Document, DocumentRefused, Documents
from execution.limits import Limits
from execution.run import run, run_by_reference
from schema.build import graphql_schema
from tests.execution.chances import Chances
from tests.execution.comparison import Answer, Failure, Place, answer, difference, possible_failures, watching
from tests.execution.ledger_stand_in import VOCABULARY, StandIn
from tests.execution.operations import OperationWriter, Vocabulary
from tests.execution.reduction import reduced

OF_ONE_DOCUMENT: Final = 4
MAX_SECONDS: Final = 20
"""Beyond that an operation hangs."""


@dataclass(frozen=True)
class Subject:
    """A schema with its data."""

    name: str
    schema: GraphQLSchema
    vocabulary: Vocabulary
    context: Callable[..., object]
    """Of chances, and `guard`: whether those who share a future must be kept from cancelling it."""

    def documents(self) -> Documents:
        limits = Limits(max_depth=50, max_aliases=1_000, max_directives=1_000, max_tokens=100_000)
        return Documents(self.schema, limits, capacity=0)


LEDGER: Final = Subject("our schema", graphql_schema(), VOCABULARY, StandIn)


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
    pass


@dataclass(frozen=True)
class Example:
    subject: Subject
    name: str | None
    variables: dict[str, Any]
    seed: int

    async def answers(self, document: Document, without: frozenset[str] = frozenset()) -> tuple[Answer, Answer]:
        compiled = await self._answer(run, document, without, guard=False)
        return compiled, await self._answer(run_by_reference, document, without, guard=True)

    async def _answer(self, execute: Any, document: Document, without: frozenset[str], *, guard: bool) -> Answer:
        context = self.subject.context(Chances(self.seed, without), guard=guard)
        given = {"operation_name": self.name, "variables": dict(self.variables), "context": context}
        async with asyncio.timeout(MAX_SECONDS):
            return await answer(execute, self.subject.schema, document, **given)

    async def difference(
        self, document: Document, answers: tuple[Answer, Answer], without: frozenset[str] = frozenset()
    ) -> str | None:
        compiled, reference = answers
        if difference(compiled, reference) is None:
            return None
        possible: Mapping[Place, set[Failure]] = {}
        if reference.raised is None:
            context = self.subject.context(Chances(self.seed, without), guard=True)
            given = {"operation_name": self.name, "variables": dict(self.variables), "context": context}
            possible = await possible_failures(self.subject.schema, document, **given)
        return difference(compiled, reference, lambda: possible)

    async def report(self, text: str) -> str:
        """The smallest document and the fewest faults that still make a difference."""
        documents = self.subject.documents()

        async def differs(smaller: str, without: frozenset[str] = frozenset()) -> bool:
            try:
                document = documents.get(smaller)
                answers = await self.answers(document, without)
            except (DocumentRefused, Exception):  # noqa: BLE001  removing may make anything of it
                return False
            return await self.difference(document, answers, without) is not None

        text = await reduced(text, differs)
        document = documents.get(text)
        chances = Chances(self.seed)
        context = self.subject.context(chances, guard=False)
        await run(
            self.subject.schema, document, operation_name=self.name, variables=dict(self.variables), context=context
        )
        without: frozenset[str] = frozenset()
        for fault in sorted(chances.happened):
            if await differs(text, without | {fault}):
                without |= {fault}
        answers = await self.answers(document, without)
        compiled, reference = answers
        lines = [
            f"{await self.difference(document, answers, without)}",
            text,
            f"operation: {self.name}  variables: {json.dumps(self.variables)}",
            f"faults: {sorted(chances.happened - without)}",
            f"compiled:  {compiled.raised or json.dumps(compiled.data, default=repr)}",
            *(f"    {place} {failure}" for place, failure in compiled.failures),
            f"reference: {reference.raised or json.dumps(reference.data, default=repr)}",
            *(f"    {place} {failure}" for place, failure in reference.failures),
        ]
        return "\n".join(lines)


async def trial(subject: Subject, first: int, count: int) -> Tally:
    """Runs `count` operations, the documents numbered from `first`. Raises Differed."""
    tally = Tally()
    documents = subject.documents()
    with watching():
        for number in range(first, first + (count + OF_ONE_DOCUMENT - 1) // OF_ONE_DOCUMENT):
            random = Random(f"{subject.name} {number}")
            writer = OperationWriter(subject.schema, subject.vocabulary, random)
            mutation = subject.schema.mutation_type is not None and random.random() < 0.25
            text, name = writer.write(mutation=mutation)
            document = documents.get(text)
            tally.documents += 1
            for _ in range(OF_ONE_DOCUMENT):
                example = Example(subject, name, writer.values(), random.getrandbits(32))
                await _checked(example, document, text, number, tally)
    return tally


async def _checked(example: Example, document: Document, text: str, number: int, tally: Tally) -> None:
    compiled, reference = answers = await example.answers(document)
    if await example.difference(document, answers) is not None:
        report = await example.report(text)
        msg = f"{example.subject.name}, document {number}: {report}"
        raise Differed(msg)
    tally.operations += 1
    tally.failures += len(reference.failures)
    tally.fields += reference.fields
    tally.by_reference += compiled.fields
