"""Whose address a request comes from: the other end of the connection, or what trusted proxies say of it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from aiohttp import hdrs, web

Address = IPv4Address | IPv6Address
Networks = tuple[IPv4Network | IPv6Network, ...]

MAX_HOPS: Final = 16


def parse_networks(text: str) -> Networks:
    """Raises ValueError. Separated by commas; an address is a network of one."""
    return tuple(ip_network(one.strip()) for one in text.split(",") if one.strip())


@lru_cache(maxsize=4096)
def parse_address(text: str) -> Address | None:
    """None for what is no address. IPv4 that comes over IPv6 is IPv4."""
    try:
        address = ip_address(text.strip())
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def is_within(address: Address | None, networks: Networks) -> bool:
    return address is not None and any(address in network for network in networks)


def _forwarded(given: Sequence[str]) -> list[Address | None]:
    """The nearest first."""
    hops = ",".join(given).rsplit(",", MAX_HOPS)[-MAX_HOPS:]
    return [parse_address(hop) for hop in reversed(hops)]


def client_address(request: web.BaseRequest, trusted: Networks) -> Address | None:
    """The nearest address that is no trusted proxy's: what lies before it in `X-Forwarded-For` is anyone's claim."""
    address = parse_address(request.remote or "")
    if hdrs.X_FORWARDED_FOR not in request.headers:
        return address
    for hop in _forwarded(request.headers.getall(hdrs.X_FORWARDED_FOR)):
        if hop is None or not is_within(address, trusted):
            break
        address = hop
    return address
