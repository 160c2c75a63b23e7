"""Which IP addresses are on the public internet. No names, no sockets.

Written out because `ipaddress.is_global` differs between Python releases; both must agree. Sources: IANA's
special-purpose registries; RFC 6052 (NAT64), RFC 4380 (Teredo), RFC 3056 (6to4).
"""

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address
AddressRule = Callable[[Address], bool]

_CLOSED_V4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",  # carrier-grade NAT; a cloud keeps its metadata service here
            "127.0.0.0/8",
            "168.63.129.16/32",  # a cloud's host service on a public address
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",
            "240.0.0.0/4",
        ),
    )
)
_OPEN_V6 = IPv6Network("2000::/3")  # the only block open for unicast
_CLOSED_V6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocol assignments, Teredo among them
            "2001:db8::/32",
            "2002::/16",  # 6to4: can end at any IPv4 address
            "3fff::/20",
        ),
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")


def public_addresses_only(address: Address) -> bool:
    """The IPv4 inside a mapped or NAT64 address decides; other tunnels are not public."""
    carried = _carried(address)
    if isinstance(carried, IPv4Address):
        return carried.is_global and not any(carried in network for network in _CLOSED_V4)
    if carried not in _OPEN_V6 or any(carried in network for network in _CLOSED_V6):
        return False
    return carried.is_global


def _carried(address: Address) -> Address:
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address
