"""All connections have their fields from one definition."""

from __future__ import annotations

from graphql import GraphQLObjectType
from strawberry.types.field import StrawberryField

from schema import connection
from schema.build import graphql_schema

SHARED = ["edges", "nodes", "page_info"]


def _resolvers(kind: GraphQLObjectType) -> dict[str, object]:
    fields: list[StrawberryField] = kind.extensions["strawberry-definition"].fields
    return {field.python_name: field.base_resolver and field.base_resolver.wrapped_func for field in fields}


def test_connections_share_their_resolvers() -> None:
    kinds = [kind for name, kind in graphql_schema().type_map.items() if name.endswith("Connection")]
    assert len(kinds) == 12
    for kind in kinds:
        assert isinstance(kind, GraphQLObjectType)
        found = _resolvers(kind)
        assert list(found)[:4] == [*SHARED, "total_count"]
        assert [found[name] for name in SHARED] == [getattr(connection, name) for name in SHARED]
