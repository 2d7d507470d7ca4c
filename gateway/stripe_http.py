"""How the `stripe` package's client reaches Stripe: over aiohttp, on the loop, with bounds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import stripe
from stripe import AIOHTTPClient, StripeClient

from gateway.settings import Settings
from ledger.stripe.api import StripeApi

if TYPE_CHECKING:
    from gateway.tracing import Tracing

CONNECT_SECONDS: Final = 10.0

# Telemetry would send the machine's platform, and keep a file in the home directory of the user who runs it.
stripe.enable_telemetry = False


class _Http(AIOHTTPClient):
    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        try:
            return await super().request_async(method, url, headers, post_data)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            # The package handles these errors until the headers are there, but not while the body is read.
            self._handle_request_error(error)


class _TracedHttp(_Http):
    def __init__(self, tracing: Tracing, **options: Any) -> None:
        super().__init__(**options)
        self._tracing = tracing

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        with self._tracing.call(method, url, headers) as carried:
            return await super().request_async(method, url, carried, post_data)


def build_stripe_api(settings: Settings, tracing: Tracing | None = None) -> StripeApi | None:
    """None where there is no key."""
    if settings.stripe_secret_key is None:
        return None
    seconds = settings.stripe_timeout_seconds
    timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=min(seconds, CONNECT_SECONDS))
    http = _Http(timeout=timeout) if tracing is None else _TracedHttp(tracing, timeout=timeout)
    client = StripeClient(
        settings.stripe_secret_key.get_secret_value(),
        base_addresses={"api": settings.stripe_api_base},
        max_network_retries=settings.stripe_retries,
        http_client=http,
    )
    return StripeApi(client, http)
