"""The client addresses that a key is restricted to: networks of IPv4 and IPv6."""

from __future__ import annotations

import json
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final

from ledger.errors import BadUserInput

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Networks = tuple[Network, ...]

MAX_NETWORKS: Final = 100

_MAX_SHOWN: Final = 60


def parse_networks(given: Sequence[str], what: str) -> Networks:
    """Sorted, each once. Raises BadUserInput, whose message begins with `what`."""
    if not 1 <= len(given) <= MAX_NETWORKS:
        msg = f"{what} must have 1 to {MAX_NETWORKS} addresses or networks, not {len(given)}"
        raise BadUserInput(msg)
    networks = {_network(one, what) for one in given}
    return tuple(sorted(networks, key=lambda one: (one.version, one.network_address, one.prefixlen)))


def _network(text: str, what: str) -> Network:
    try:
        network = ip_network(text)
    except ValueError:
        msg = f"{what} must be addresses or networks such as 203.0.113.7 or 203.0.113.0/24, not {text[:_MAX_SHOWN]!r}"
        raise BadUserInput(msg) from None
    if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped is not None:
        msg = f"{what} must have IPv4 addresses in dotted form, not as {text[:_MAX_SHOWN]!r}"
        raise BadUserInput(msg)
    return network


def texts_of(networks: Networks) -> list[str]:
    """An address without its `/32` or `/128`."""
    return [str(one.network_address if one.prefixlen == one.max_prefixlen else one) for one in networks]


def stored(networks: Networks | None) -> str | None:
    return None if networks is None else json.dumps(texts_of(networks))


def read(text: str | None) -> Networks | None:
    return None if text is None else tuple(map(ip_network, json.loads(text)))


def is_within(address: Address | None, networks: Networks) -> bool:
    return address is not None and any(address in network for network in networks)


def allows(networks: Networks | None, address: Address | None) -> bool:
    return networks is None or is_within(address, networks)


def are_within(networks: Networks | None, wider: Networks | None) -> bool:
    """Whether a key that is restricted to `networks` can be used nowhere else than one of `wider`."""
    if wider is None:
        return True
    return networks is not None and all(any(_is_subnet(one, other) for other in wider) for one in networks)


def _is_subnet(one: Network, other: Network) -> bool:
    if isinstance(one, IPv4Network):
        return isinstance(other, IPv4Network) and one.subnet_of(other)
    return isinstance(other, IPv6Network) and one.subnet_of(other)
