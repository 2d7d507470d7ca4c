"""Addresses and networks, as settings list them. Needs no server: every command reads settings."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

from access.addresses import Address as Address
from access.addresses import Networks as Networks
from access.addresses import is_within as is_within


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
