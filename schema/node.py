from __future__ import annotations

import strawberry


@strawberry.interface(description="An object with an id of its own.")
class Node:
    id: strawberry.ID = strawberry.field(
        description="Id of the object, the same in the API, exports and support tickets: `acct_7`, `txn_7_1042`,"
        " `chg_7_129`, `limit_7_2`, `auth_7_3`."
    )
