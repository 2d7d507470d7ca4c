"""Documents: parsed, validated and measured documents, cached by their text with the plans of their operations.

The cache is limited by the number of documents, by their length and by the memory that they take. Refused documents
are not cached: invalid requests must not push valid documents out.
"""

from __future__ import annotations

import asyncio
import sys
from collections import OrderedDict
from collections.abc import Callable, Sequence
from enum import StrEnum
from functools import cached_property
from typing import Any, Final

from graphql import (
    DirectiveNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLSchema,
    GraphQLSyntaxError,
    Node,
    NoSchemaIntrospectionCustomRule,
    NoUndefinedVariablesRule,
    NoUnusedVariablesRule,
    OperationDefinitionNode,
    UniqueVariableNamesRule,
    VariableNode,
    VariablesAreInputTypesRule,
    VariablesInAllowedPositionRule,
    Visitor,
    specified_rules,
    visit,
)
from graphql.execution.collect_fields import FragmentDetails
from graphql.execution.values import VariableValues
from graphql.language.parser import Parser, nested_too_deeply_error
from strawberry.schema.validation_rules.maybe_null import MaybeNullValidationRule
from strawberry.schema.validation_rules.one_of import OneOfInputValidationRule

from execution.inputs import Variables
from execution.limits import Limits, exceeded, overlong_numbers
from execution.native import Writer, best_writer
from execution.planner import Planner
from execution.plans import Plan
from execution.slices import breathe, in_slices, pause
from execution.validation import validate

MAX_KEPT_LENGTH: Final = 16_384
MAX_ERRORS: Final = 20
MAX_REFUSALS: Final = 100
"""Documents whose refusal each process remembers."""
MAX_PLANS: Final = 16
"""Maximum number of plans of one operation: one for each requested combination of its conditions."""

# Measured by tests/execution/test_document_bytes.py, which keeps them at or above what documents really take.
_DOCUMENT_BYTES: Final = 18_000
_DOCUMENT_TOKEN_BYTES: Final = 700
_LETTER_BYTES: Final = 4
"""Python's own bytes of a letter beyond Latin-1, and more for those of which both text and token hold a copy."""
_PLAN_BYTES: Final = 7_000
_PLAN_TOKEN_BYTES: Final = 1_300


class Refusal(StrEnum):
    SYNTAX = "GRAPHQL_PARSE_FAILED"
    INVALID = "GRAPHQL_VALIDATION_FAILED"
    TOO_COMPLEX = "QUERY_TOO_COMPLEX"


class DocumentRefused(Exception):
    def __init__(self, refusal: Refusal, errors: Sequence[GraphQLError]) -> None:
        super().__init__(refusal)
        self.refusal = refusal
        self.errors = list(errors)


class Operation:
    """An operation of a document, with its plans."""

    def __init__(self, definition: OperationDefinitionNode, document: Definitions) -> None:
        self.definition = definition
        self.kind = definition.operation
        self.document = document
        self._conditions = _condition_variables(document.ast)
        self.reads_once = False
        """Set by the caller when one round trip to the data has answered the operation."""
        self.planning = asyncio.Lock()
        """Held by the caller while it makes a plan in slices: requests that need the same plan wait for it."""
        self._variables: Variables | None = None
        self._plans: OrderedDict[tuple[Any, ...], Plan] = OrderedDict()

    @property
    def has_conditions(self) -> bool:
        """Whether variables decide which fields there are."""
        return bool(self._conditions)

    @property
    def name(self) -> str | None:
        return None if self.definition.name is None else self.definition.name.value

    @cached_property
    def event_variables(self) -> tuple[str, ...]:
        """Names the variables on which the answer to a subscription's event depends: all that do not only choose
        events.

        Two subscriptions of this operation with the same values for these have the same answer to the same event.
        """
        return _event_variables(self.definition, self.document)

    @property
    def is_planned(self) -> bool:
        """Whether there is a plan for all variables."""
        return bool(self._plans) and not self._conditions

    @property
    def plan_count(self) -> int:
        return len(self._plans)

    def variables(self, schema: GraphQLSchema) -> Variables:
        if self._variables is None:
            self._variables = Variables(schema, self.definition.variable_definitions or ())
        return self._variables

    def has_null_condition(self, variables: VariableValues) -> bool:
        """Returns whether a variable of `@skip` or `@include` is null, which is an error of each field with the
        condition.

        A nullable variable with a default is valid there, but may still be set to null.
        """
        return bool(self._conditions) and any(variables.coerced.get(name, True) is None for name in self._conditions)

    def plan(self, schema: GraphQLSchema, variables: VariableValues) -> Plan:
        """Returns the plan for the values of the variables in `@skip` and `@include`."""
        key = tuple(variables.coerced.get(name) for name in self._conditions) if self._conditions else ()
        plan = self._plans.get(key)
        if plan is None:
            writer = self.document.new_writer()
            plan = Planner(schema, self.document.fragments, self.definition, variables, writer).plan()
            self._plans[key] = plan
            if len(self._plans) > MAX_PLANS:
                self._plans.popitem(last=False)
        return plan


class Definitions:
    """A document's tree, and its fragments by name."""

    def __init__(self, ast: DocumentNode, new_writer: Callable[[], Writer]) -> None:
        self.ast = ast
        self.new_writer = new_writer
        """Creates the writer of functions that serialize whole subtrees, for each plan."""
        fragments = [one for one in ast.definitions if isinstance(one, FragmentDefinitionNode)]
        self.fragment_definitions = {one.name.value: one for one in fragments}
        self.fragments = {name: FragmentDetails(one) for name, one in self.fragment_definitions.items()}


class Document:
    """Is freed as soon as it is dropped: nothing below refers back. Only a search of the oldest objects would free a
    cycle, and that is rare (`gateway/memory.py`)."""

    def __init__(self, ast: DocumentNode, new_writer: Callable[[], Writer] = best_writer) -> None:
        _unlink_tokens(ast)
        self.ast = ast
        definitions = Definitions(ast, new_writer)
        operations = [one for one in ast.definitions if isinstance(one, OperationDefinitionNode)]
        self._operations = [Operation(one, definitions) for one in operations]

    def estimated_bytes(self) -> int:
        """Memory that the document takes, with the plans that were made of it, and the first if there is none yet."""
        tokens, letters = self.ast.token_count, self.ast.loc.end if self.ast.loc else 0
        plans = max(1, sum(one.plan_count for one in self._operations))
        document = _DOCUMENT_BYTES + _DOCUMENT_TOKEN_BYTES * tokens + _LETTER_BYTES * letters
        return document + plans * (_PLAN_BYTES + _PLAN_TOKEN_BYTES * tokens)

    def operation(self, name: str | None) -> Operation:
        """Returns the operation. Raises GraphQLError if the name is unknown, or if it is missing and there are
        several."""
        if name is None:
            if len(self._operations) == 1:
                return self._operations[0]
            msg = "operationName is required: the document has several operations"
            raise GraphQLError(msg if self._operations else "the document has no operation")
        for operation in self._operations:
            if operation.definition.name is not None and operation.definition.name.value == name:
                return operation
        msg = f'the document has no operation named "{name[:100]}"'
        raise GraphQLError(msg)


def _unlink_tokens(ast: DocumentNode) -> None:
    """Each token refers to the one before and to the next. The next is enough for what is still asked of them."""
    token = ast.loc.start_token if ast.loc is not None else None
    while token is not None:
        token.prev = None
        token = token.next


def _condition_variables(ast: DocumentNode) -> tuple[str, ...]:
    """Returns the variables that decide which fields are selected."""
    if ast.loc is not None and "@" not in ast.loc.source.body:
        return ()

    class Finder(Visitor):
        def __init__(self) -> None:
            super().__init__()
            self.names: set[str] = set()

        def enter_directive(self, node: DirectiveNode, *_: Any) -> None:
            if node.name.value in {"skip", "include"}:
                values = [argument.value for argument in node.arguments or ()]
                self.names |= {value.name.value for value in values if isinstance(value, VariableNode)}

    finder = Finder()
    visit(ast, finder)
    return tuple(sorted(finder.names))


def _event_variables(definition: OperationDefinitionNode, document: Definitions) -> tuple[str, ...]:
    class Finder(Visitor):
        def __init__(self) -> None:
            super().__init__()
            self.names: set[str] = set()

        def enter_variable(self, node: VariableNode, *_: Any) -> None:
            self.names.add(node.name.value)

    finder = Finder()
    parts: list[Node | None] = [*document.fragment_definitions.values()]
    for root in definition.selection_set.selections:
        parts += (*(root.directives or ()), root.selection_set) if isinstance(root, FieldNode) else (root,)
    for part in parts:
        if part is not None:
            visit(part, finder)
    return tuple(sorted(finder.names))


def _without_nodes(error: GraphQLError) -> GraphQLError:
    kept = GraphQLError(error.message, extensions=error.extensions)
    kept.locations = error.locations
    return kept


class _Parser(Parser):
    def advance_lexer(self) -> None:
        breathe()
        super().advance_lexer()


def parse(text: str, max_tokens: int) -> DocumentNode:
    """Does the same as graphql-core's."""
    parser = _Parser(text, max_tokens=max_tokens)
    try:
        return parser.parse_document()
    except RecursionError:
        pass
    raise nested_too_deeply_error(parser)


class Documents:
    def __init__(
        self,
        schema: GraphQLSchema,
        limits: Limits,
        capacity: int,
        *,
        max_bytes: int = sys.maxsize,
        introspection: bool = True,
        suggestions: bool = True,
    ) -> None:
        self.schema = schema
        self._limits = limits
        self._capacity = capacity
        self._max_bytes = max_bytes
        self._rules = _RULES if introspection else (*_RULES, NoSchemaIntrospectionCustomRule)
        self._rules_without_variables = tuple(one for one in self._rules if one not in _OF_VARIABLES)
        self._suggestions = suggestions
        self._kept: OrderedDict[str, tuple[Document, int]] = OrderedDict()
        self._refused: OrderedDict[str, DocumentRefused] = OrderedDict()
        self._checking: dict[str, asyncio.Future[None]] = {}
        """Documents that are being checked. The future is done when that has ended."""
        self.bytes = 0
        """Estimated, of all documents that are kept."""

    def knows(self, text: str) -> bool:
        return text in self._kept

    async def find(self, text: str) -> Document:
        """Does the same as `get`, and lets others run while an unknown document is checked."""
        if text in self._kept or text in self._refused:
            return self.get(text)
        while text in self._checking:
            await asyncio.shield(self._checking[text])
            # Many may have waited, and each goes on.
            await pause()
        if text in self._kept:
            return self.get(text)
        done = self._checking[text] = asyncio.get_running_loop().create_future()
        try:
            return await in_slices(lambda: self.get(text))
        finally:
            del self._checking[text]
            done.set_result(None)

    def get(self, text: str) -> Document:
        """Returns the document with this text. Raises DocumentRefused."""
        known = self._kept.get(text)
        if known is not None:
            self._kept.move_to_end(text)
            self._keep(text, known[0])
            return known[0]
        refused = self._refused.get(text)
        if refused is not None:
            self._refused.move_to_end(text)
            raise DocumentRefused(refused.refusal, refused.errors)
        try:
            document = self._checked(text)
        except DocumentRefused as error:
            self._remember(text, error)
            raise
        except RecursionError as error:
            too_deep = GraphQLError("the document is nested too deeply")
            raise DocumentRefused(Refusal.TOO_COMPLEX, [too_deep]) from error
        if self._capacity and len(text) <= MAX_KEPT_LENGTH:
            self._keep(text, document)
        return document

    def _remember(self, text: str, refused: DocumentRefused) -> None:
        """Checking a refused document again would take as long as the first time. Its tree is not kept."""
        if self._capacity and len(text) <= MAX_KEPT_LENGTH:
            self._refused[text] = DocumentRefused(refused.refusal, [_without_nodes(one) for one in refused.errors])
            if len(self._refused) > MAX_REFUSALS:
                self._refused.popitem(last=False)

    def _keep(self, text: str, document: Document) -> None:
        """Counts the document anew: plans may have been made of it since it was last looked for."""
        _, before = self._kept.get(text, (None, 0))
        size = document.estimated_bytes()
        if size == before:
            return
        self._kept[text] = (document, size)
        self.bytes += size - before
        while len(self._kept) > self._capacity or self.bytes > self._max_bytes:
            _, (_, freed) = self._kept.popitem(last=False)
            self.bytes -= freed

    def _checked(self, text: str) -> Document:
        if len(text) > self._limits.max_bytes or len(text.encode()) > self._limits.max_bytes:
            msg = f"the document is longer than {self._limits.max_bytes} bytes"
            raise DocumentRefused(Refusal.TOO_COMPLEX, [GraphQLError(msg)])
        ast = self._parsed(text)
        too_much = exceeded(ast, self._limits)
        if too_much:
            raise DocumentRefused(Refusal.TOO_COMPLEX, too_much)
        rules = self._rules if "$" in text else self._rules_without_variables
        errors = overlong_numbers(ast)[:MAX_ERRORS] or validate(
            self.schema, ast, rules, max_errors=MAX_ERRORS, hide_suggestions=not self._suggestions
        )
        if errors:
            raise DocumentRefused(Refusal.INVALID, errors)
        return Document(ast)

    def _parsed(self, text: str) -> DocumentNode:
        try:
            return parse(text, max_tokens=self._limits.max_tokens)
        except GraphQLSyntaxError as error:
            too_long = any(sign in error.message for sign in ("tokens. Parsing aborted", "nested too deeply"))
            raise DocumentRefused(Refusal.TOO_COMPLEX if too_long else Refusal.SYNTAX, [error]) from error


_OF_DEFER_AND_STREAM: Final = "DeferStream", "StreamDirective"

_RULES: Final = (
    *(rule for rule in specified_rules if not rule.__name__.startswith(_OF_DEFER_AND_STREAM)),
    MaybeNullValidationRule,
    OneOfInputValidationRule,
)
"""Rules for all documents, without those about `@defer` and `@stream`, which the schema does not have."""

_OF_VARIABLES: Final = frozenset(
    {
        NoUndefinedVariablesRule,
        NoUnusedVariablesRule,
        UniqueVariableNamesRule,
        VariablesAreInputTypesRule,
        VariablesInAllowedPositionRule,
    }
)
"""Rules that find nothing in a document without `$`. They walk it once more to see that, the invalid rest of it too."""
