"""What a host is called: names, address literals, and the name under which it is remembered."""

import socket

from smartrelay.routing.trouble import BadLiteral

_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")


def normal(name: str) -> str:
    """A name as it is compared: in lower case, without trailing dot (B-026)."""
    return name.removesuffix(".").lower()


def is_host_name(name: str) -> bool:
    """Whether a name in lower case can be that of a host (RFC 1123 section 2.1; underscores are tolerated), and is no address
    written as a name."""
    labels = name.split(".")
    sound = all(0 < len(label) <= 63 and _CHARACTERS.issuperset(label) and "-" not in (label[0], label[-1]) for label in labels)
    return sound and len(name) <= 253 and not labels[-1].isdigit()


def parse_literal(domain: str) -> str:
    """The address in `[192.0.2.1]` or `[IPv6:2001:db8::1]` (RFC 5321 section 4.1.3). Raises BadLiteral."""
    inside = domain.removeprefix("[").removesuffix("]")
    tagged = inside[:5].lower() == "ipv6:"
    family = socket.AF_INET6 if tagged else socket.AF_INET
    try:
        if domain != f"[{inside}]":
            raise ValueError
        return socket.inet_ntop(family, socket.inet_pton(family, inside[5:] if tagged else inside))
    except (OSError, ValueError):
        raise BadLiteral(f"{domain!a} is no address; write [192.0.2.1] or [IPv6:2001:db8::1]") from None


def host_key(host: str, port: int) -> str:
    """The name under which a host is remembered, whatever its case: "mx.example.org:25", "[2001:db8::1]:25"."""
    host = normal(host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
