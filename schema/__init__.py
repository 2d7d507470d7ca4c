"""The API surface: Strawberry types whose fields are thin methods over `resolvers`, one noun a file."""
