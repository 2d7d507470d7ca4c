from __future__ import annotations

import strawberry


@strawberry.interface(description="Anything that has an id of its own.")
class Node:
    id: strawberry.ID = strawberry.field(
        description="The same everywhere: API, exports, support tickets. `acct_7`, `txn_7_1042`, `chg_7_129`."
    )
