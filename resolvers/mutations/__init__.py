"""Writes: plain arguments and a MutationContext in, outcomes out. No GraphQL types, no HTTP."""
