from __future__ import annotations

import strawberry

from schema.api_key_acts import KeyMutations
from schema.auto_recharge import AutoRechargeMutations
from schema.grant import GrantMutations
from schema.hold import HoldMutations
from schema.metering import MeteringMutations
from schema.operator import OperatorMutations
from schema.storage import StorageMutations
from schema.stripe_event import StripeMutations
from schema.top_up import TopUpMutations


@strawberry.type(
    description="Each field is one transaction, its payload read within it: where there is data, all of it was written,"
    " and where there is none, nothing of the field that has the error. Fields run one after the other: one that"
    " fails leaves those before it written, and those after it undone."
)
class Mutation(
    HoldMutations,
    MeteringMutations,
    GrantMutations,
    OperatorMutations,
    KeyMutations,
    TopUpMutations,
    AutoRechargeMutations,
    StorageMutations,
    StripeMutations,
):
    pass
