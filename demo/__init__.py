"""The demo's data: three accounts with an invented history, which is the same each time."""
