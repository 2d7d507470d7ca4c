"""Who may read what: every kind of key, on its own account, on another one and on one that does not exist."""

from __future__ import annotations

import pytest

from access.keys import KeyScope, Principal
from db.database import Database
from ledger.errors import BadUserInput, Forbidden, NotFound
from resolvers.context import QueryContext
from resolvers.reads import accounts, charges, transactions
from tests.resolvers.ledgers import NOW, new_account, principal
from tests.resolvers.test_charge_pages import DRAFTS, new_charges

NOBODY = 10**15


async def _may_read(database: Database, asker: Principal, account_id: int) -> bool:
    """The account, its row and its charge: all or nothing."""
    async with database.snapshot() as snapshot:
        context = QueryContext(snapshot, asker, NOW)
        try:
            row = await accounts.account(context, f"acct_{account_id}")
        except NotFound:
            with pytest.raises(NotFound, match=r"^there is no such transaction$"):
                await transactions.transaction(context, f"txn_{account_id}_1")
            with pytest.raises(NotFound, match=r"^there is no such charge$"):
                await charges.charge(context, f"chg_{account_id}_1")
            return False
        assert row.id == account_id
        assert (await transactions.transaction(context, f"txn_{account_id}_1")).account_id == account_id
        assert (await charges.charge(context, f"chg_{account_id}_1")).account_id == account_id
        return True


async def test_key_reads_covered_accounts_and_gets_not_found_for_others(ledgers: Database) -> None:
    (own, _), (other, _) = await new_charges(ledgers, DRAFTS[:1]), await new_charges(ledgers, DRAFTS[:1])
    matrix = [
        (principal(KeyScope.READ, own), True, False),
        (principal(KeyScope.MANAGE, own), True, False),
        (principal(KeyScope.SERVICE, account_ids=frozenset({own})), True, False),
        (principal(KeyScope.SERVICE, account_ids=frozenset()), False, False),
        (principal(KeyScope.SERVICE), True, True),
        (principal(KeyScope.OPERATOR), True, True),
    ]
    for asker, reads_own, reads_other in matrix:
        found = [await _may_read(ledgers, asker, account_id) for account_id in (own, other, NOBODY)]
        assert found == [reads_own, reads_other, False], asker


@pytest.mark.parametrize("scope", [KeyScope.READ, KeyScope.MANAGE])
async def test_account_key_needs_no_account_id(ledgers: Database, scope: KeyScope) -> None:
    account = await new_account(ledgers)
    async with ledgers.snapshot() as snapshot:
        assert await accounts.account(QueryContext(snapshot, principal(scope, account.id), NOW), None) == account


@pytest.mark.parametrize("scope", [KeyScope.SERVICE, KeyScope.OPERATOR])
async def test_key_for_several_accounts_requires_an_account_id(ledgers: Database, scope: KeyScope) -> None:
    async with ledgers.snapshot() as snapshot:
        with pytest.raises(BadUserInput, match=r"^id is required"):
            await accounts.account(QueryContext(snapshot, principal(scope), NOW), None)


@pytest.mark.parametrize(
    "text",
    ["", "1", "acct_0", "acct_-1", "acct_1 ", "acct_٣", f"txn_{NOBODY}_1", "acct_9223372036854775808", "\x00"],
)
async def test_invalid_account_id_is_not_found(ledgers: Database, text: str) -> None:
    async with ledgers.snapshot() as snapshot:
        context = QueryContext(snapshot, principal(), NOW)
        with pytest.raises(NotFound):
            await accounts.account(context, text)
        with pytest.raises(NotFound):
            await transactions.transaction(context, text.replace("acct_", "txn_1_"))
        with pytest.raises(NotFound):
            await charges.charge(context, text.replace("acct_", "chg_1_"))


@pytest.mark.parametrize("scope", [KeyScope.READ, KeyScope.MANAGE, KeyScope.SERVICE])
async def test_only_operators_list_accounts(ledgers: Database, scope: KeyScope) -> None:
    async with ledgers.snapshot() as snapshot:
        with pytest.raises(Forbidden):
            await accounts.account_page(QueryContext(snapshot, principal(scope, 1), NOW), None, None, None)
