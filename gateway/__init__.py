"""The process: configuration, keys at the door, GraphQL and REST over HTTP, the command line."""
