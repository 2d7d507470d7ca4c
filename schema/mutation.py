from __future__ import annotations

import strawberry

from schema.api_key_mutations import KeyMutations
from schema.authorization import AuthorizationMutations
from schema.auto_recharge import AutoRechargeMutations
from schema.billing_portal import BillingPortalMutations
from schema.company_details import CompanyDetailsMutations
from schema.grant import GrantMutations
from schema.hold import HoldMutations
from schema.metering import MeteringMutations
from schema.operator import OperatorMutations
from schema.sign_in_link import SignInMutations
from schema.spend_limit import SpendLimitMutations
from schema.storage import StorageMutations
from schema.stripe_event import StripeMutations
from schema.top_up import TopUpMutations
from schema.usage_mark import UsageMarkMutations


@strawberry.type(
    description="Each field is one transaction, and its payload is read in that transaction. If the answer has data,"
    " everything was written; if it has none, nothing of the field with the error was written. Fields run one after"
    " the other. If one fails, the fields before it stay written, and the fields after it are not run."
)
class Mutation(
    HoldMutations,
    MeteringMutations,
    AuthorizationMutations,
    UsageMarkMutations,
    GrantMutations,
    OperatorMutations,
    KeyMutations,
    SignInMutations,
    TopUpMutations,
    BillingPortalMutations,
    AutoRechargeMutations,
    SpendLimitMutations,
    CompanyDetailsMutations,
    StorageMutations,
    StripeMutations,
):
    pass
