"""Addresses as settings give them."""

from urllib.parse import urlsplit


def host_of(address: str) -> str:
    """The host of an address over http or https, without user, query or fragment; empty: it is no such address."""
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return ""
    plain = address.isascii() and address.isprintable() and not any(mark in address for mark in " ?#")
    return host if plain and host and parts.scheme in {"http", "https"} and "@" not in parts.netloc else ""
