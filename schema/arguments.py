"""The arguments that all connections share, described once."""

from __future__ import annotations

from typing import Annotated

import strawberry

First = Annotated[
    int | None,
    strawberry.argument(
        description="Number of rows to return from the newest end: 1 to 1000. The default is 50 if neither `first`"
        " nor `last` is given."
    ),
]
After = Annotated[
    str | None,
    strawberry.argument(
        description="Returns only rows older than this cursor. (In subscriptions, `after` means newer.)"
    ),
]
Last = Annotated[
    int | None,
    strawberry.argument(
        description="Number of rows to return from the oldest end: 1 to 1000. They are still listed newest first."
        " Cannot be combined with `first`."
    ),
]
Before = Annotated[
    str | None,
    strawberry.argument(
        description="Returns only rows newer than this cursor. (In REST, `before` means older.) Together with"
        " `after`, returns the rows between the two cursors."
    ),
]
