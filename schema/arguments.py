"""The arguments that all connections share, described once."""

from __future__ import annotations

from typing import Annotated

import strawberry

First = Annotated[
    int | None,
    strawberry.argument(description="How many of the newest rows: 1 to 1000. 50 if neither first nor last is given."),
]
After = Annotated[
    str | None,
    strawberry.argument(description="Only rows older than this cursor's. (In subscriptions `after` means newer.)"),
]
Last = Annotated[
    int | None,
    strawberry.argument(
        description="How many of the oldest rows: 1 to 1000, still printed newest first. Not together with first."
    ),
]
Before = Annotated[
    str | None,
    strawberry.argument(
        description="Only rows newer than this cursor's. (In REST `before` means older.) With after: the range between."
    ),
]
