"""The schema as a subgraph of Apollo Federation 2: Account, Transaction and Charge are entities by their id."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Annotated, Any, Final, NewType

import strawberry
from graphql import GraphQLSchema, ValueNode, value_from_ast_untyped
from strawberry import Info
from strawberry.types.scalar import ScalarDefinition

from execution.costs import Weight, Weights
from resolvers.context import QueryContext
from resolvers.reads import entities
from resolvers.reads.entities import TYPES, Entity
from schema.account import Account
from schema.build import schema_of, sdl
from schema.charge import Charge
from schema.costs import WEIGHTS
from schema.query import Query
from schema.scalars import SCALARS
from schema.transaction import Transaction

SPECIFICATION: Final = "https://specs.apollo.dev/federation/v2.3"

EntityReference = NewType("EntityReference", object)

_AnyEntity = Annotated[
    Account | Transaction | Charge,
    strawberry.union("_Entity", description="An object that other subgraphs can refer to."),
]


def _from_literal(node: ValueNode, variables: Mapping[str, Any] | None = None) -> object:
    return value_from_ast_untyped(node, dict(variables or {}))


REFERENCE_SCALAR: Final = ScalarDefinition(
    name="_Any",
    description="A reference to an object: its __typename and id.",
    specified_by_url=None,
    serialize=lambda value: value,
    parse_value=lambda value: value,
    parse_literal=_from_literal,
)


def _references(arguments: Mapping[str, Any]) -> int:
    return len(arguments["representations"])


FEDERATED_WEIGHTS: Final[Weights] = replace(
    WEIGHTS, fields={**WEIGHTS.fields, "Query._entities": Weight(0.0, length=_references, of_each=5.0)}
)


@strawberry.type(name="_Service", description="This subgraph.")
class Service:
    sdl: str = strawberry.field(description="The schema with the directives of Federation.")


@strawberry.type(name="Query", description=Query.__strawberry_definition__.description)  # type: ignore[attr-defined]
class FederatedQuery(Query):
    @strawberry.field(name="_service", description="This subgraph, for routers.", graphql_type=Service)
    def service(self) -> Service:
        return Service(sdl=subgraph_sdl())

    @strawberry.field(
        name="_entities",
        description="Objects by their references, for routers: null for an object that the key does not cover.",
        graphql_type=list[_AnyEntity | None],
    )
    async def entities(
        self,
        info: Info[QueryContext, None],
        representations: Annotated[
            list[EntityReference],
            strawberry.argument(description="References to accounts, transactions and charges: at most 1000."),
        ],
    ) -> list[Entity | None]:
        return await entities.entities(info.context, representations)


@cache
def subgraph_sdl() -> str:
    """Returns the SDL for composition. PageInfo is shareable: other subgraphs have it, too."""
    entity = rf"^(type (?:{'|'.join(TYPES)}) implements Node) {{"
    text = re.sub(entity, r'\1 @key(fields: "id") {', sdl(), flags=re.MULTILINE)
    text = re.sub(r"^type PageInfo {", "type PageInfo @shareable {", text, flags=re.MULTILINE)
    return f'extend schema @link(url: "{SPECIFICATION}", import: ["@key", "@shareable"])\n\n{text}'


@cache
def federated_schema() -> GraphQLSchema:
    """Returns the schema of a subgraph: that of `graphql_schema` with what routers ask for."""
    schema = schema_of(FederatedQuery, {**SCALARS, EntityReference: REFERENCE_SCALAR})
    return schema._schema  # noqa: SLF001
