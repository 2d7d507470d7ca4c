from __future__ import annotations

from functools import cache

import strawberry
from graphql import (
    GraphQLArgument,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    Undefined,
)
from strawberry.schema.config import StrawberryConfig
from strawberry.types.scalar import ScalarDefinition

from schema.account import Account
from schema.charge import Charge
from schema.mutation import Mutation
from schema.query import Query
from schema.scalars import SCALARS
from schema.spend_limit import SpendLimit
from schema.subscription import Subscription
from schema.transaction import Transaction


def _drop_null_defaults(schema: GraphQLSchema) -> None:
    """Removes `= null` defaults, which would be noise in the SDL: a nullable type already says that it may be
    omitted."""
    for kind in schema.type_map.values():
        inputs: list[GraphQLArgument | GraphQLInputField] = []
        if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType):
            inputs += [argument for field in kind.fields.values() for argument in field.args.values()]
        elif isinstance(kind, GraphQLInputObjectType):
            inputs += kind.fields.values()
        for one in inputs:
            if one.default_value is None:
                one.default_value = Undefined


@cache
def build_schema() -> strawberry.Schema:
    return schema_of(Query, SCALARS)


def schema_of(query: type, scalars: dict[object, ScalarDefinition]) -> strawberry.Schema:
    schema = strawberry.Schema(
        query=query,
        mutation=Mutation,
        subscription=Subscription,
        types=[Account, Transaction, Charge, SpendLimit],
        config=StrawberryConfig(scalar_map=scalars),
    )
    _drop_null_defaults(schema._schema)  # noqa: SLF001
    return schema


def graphql_schema() -> GraphQLSchema:
    """Returns the schema that graphql-core executes."""
    return build_schema()._schema  # noqa: SLF001


def sdl() -> str:
    return build_schema().as_str() + "\n"
