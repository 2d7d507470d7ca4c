"""Who may call: keys, their authentication, and the tokens that stand for a key for a short time."""
