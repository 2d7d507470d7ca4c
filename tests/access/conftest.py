"""Keys and tokens are tried at the desk of the ledger's tests."""

from tests.ledger.conftest import desk as desk
