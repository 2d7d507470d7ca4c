"""The demo's data: three accounts with a past that is made up, the same at every telling."""
