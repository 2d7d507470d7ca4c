"""Resolvers: what fields do, without GraphQL types or HTTP. `reads` is for queries, `mutations` for writes."""
