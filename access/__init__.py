"""Access control: API keys, their authentication, and tokens that stand for a key for a short time."""
