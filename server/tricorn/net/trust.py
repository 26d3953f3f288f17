"""Which peers are proxies that we believe: --forwarded-allow-ips and --proxy-allow-from."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address, ip_network

MOST_KNOWN = 1024
"""Addresses that are remembered: a proxy's own are few, those of its clients many."""


class Trusted:
    """A set of peers, given as addresses, networks, "unix" or "*"."""

    def __init__(self, peers: Sequence[str]) -> None:
        everybody = "*" in peers
        self._everybody = everybody
        self._unix = everybody or "unix" in peers
        self._networks = [ip_network(each) for each in peers if each not in ("*", "unix")]
        self._known: dict[str, bool] = {}

    def has(self, host: str | None) -> bool:
        """Whether an address is one of them; None is the other end of a unix socket."""
        if host is None:
            return self._unix
        found = self._known.get(host)
        if found is None:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            found = self._known[host] = self._everybody or self._find(host)
        return found

    def _find(self, host: str) -> bool:
        try:
            address = ip_address(host)
        except ValueError:
            return False
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped  # as a dual-stack socket names IPv4 peers
        return any(address in network for network in self._networks)
