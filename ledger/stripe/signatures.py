"""Signatures: checks that a webhook's body was sent by Stripe recently."""

from __future__ import annotations

from collections.abc import Sequence

from stripe import SignatureVerificationError, WebhookSignature

from ledger.errors import BadUserInput, Unauthenticated

_TOO_OLD = "Timestamp outside the tolerance zone"


def check_signature(body: bytes, header: str | None, secrets: Sequence[str], tolerance_seconds: int) -> None:
    """Checks that one of the secrets signed the body. Raises Unauthenticated, or BadUserInput if the header is not
    ASCII. Neither text contains anything that was sent."""
    if not header:
        raise Unauthenticated("the Stripe-Signature header is missing")
    if not header.isascii():
        # The comparison with our own signature takes ASCII only.
        raise BadUserInput("the Stripe-Signature header must be ASCII")
    problem = "the Stripe-Signature header does not match this body with any of the webhook's secrets"
    for secret in secrets:
        try:
            WebhookSignature.verify_header(body, header, secret, tolerance_seconds)
        except UnicodeDecodeError:
            break
        except SignatureVerificationError as error:
            if str(error).startswith(_TOO_OLD):
                problem = f"the signature is older than {tolerance_seconds} seconds"
        else:
            return
    raise Unauthenticated(problem)
