"""All threats. `python -m tests.gateway.threats.page` prints the tables of docs/security.md."""

from __future__ import annotations

import sys
from typing import Final

from tests.gateway.threats.authentication import AUTHENTICATION
from tests.gateway.threats.browsers import BROWSERS
from tests.gateway.threats.cost import COST
from tests.gateway.threats.database import DATABASE
from tests.gateway.threats.documents import DOCUMENTS
from tests.gateway.threats.exports import EXPORTS
from tests.gateway.threats.framing import FRAMING
from tests.gateway.threats.keys import KEYS
from tests.gateway.threats.operators import OPERATORS
from tests.gateway.threats.parsing import PARSING
from tests.gateway.threats.secrets import SECRETS
from tests.gateway.threats.streams import STREAMS
from tests.gateway.threats.stripe import STRIPE
from tests.gateway.threats.tenancy import TENANCY
from tests.gateway.threats.webhooks import WEBHOOKS

GROUPS: Final = (
    AUTHENTICATION,
    TENANCY,
    KEYS,
    PARSING,
    DOCUMENTS,
    COST,
    FRAMING,
    STREAMS,
    EXPORTS,
    WEBHOOKS,
    STRIPE,
    BROWSERS,
    SECRETS,
    DATABASE,
    OPERATORS,
)


def tables() -> str:
    """The tables of docs/security.md."""
    head = "| threat | probe | answer | test |\n| --- | --- | --- | --- |"
    return "\n\n".join(
        "\n".join([f"## {group.heading}\n", head, *(threat.row() for threat in group.threats)]) for group in GROUPS
    )


if __name__ == "__main__":
    sys.stdout.write(f"{tables()}\n")
