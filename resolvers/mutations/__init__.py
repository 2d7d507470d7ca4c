"""Mutations: take plain arguments and a MutationContext, return outcomes. No GraphQL types, no HTTP."""
