"""What an internet address stands for."""

from __future__ import annotations

from ipaddress import ip_address


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    if host.lower() == "localhost":
        return True
    return is_address(host) and ip_address(host).is_loopback


def is_everywhere(host: str) -> bool:
    """Whether the address stands for all of the machine's own."""
    return is_address(host) and ip_address(host).is_unspecified


def is_address(name: str) -> bool:
    """Whether a name is an address in digits."""
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
