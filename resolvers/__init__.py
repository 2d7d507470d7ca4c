"""What fields do, without GraphQL types or HTTP: `reads` for queries, `mutations` for writes."""
