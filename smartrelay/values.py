"""Single settings: each function takes what TOML gave and returns what it means, or raises ValueError with what is right.

The sentences are the end of one that begins with file and key.
"""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from smartrelay import duration, settings
from smartrelay.errors import AddressError


class Rate(NamedTuple):
    """At most so many messages in any so many seconds."""

    messages: int
    seconds: float

    def __str__(self) -> str:
        """As a configuration has it: "500/h", "20/30s"."""
        span = duration.exact(self.seconds)
        return f"{self.messages}/{span[1:] if span[0] == '1' and span[1:].isalpha() else span}"


FromRules = tuple[tuple[str, str], ...]
"""Rules for the author of mail: (a user's name or a glob over addresses, the address that stands for what matches)."""


def text(value: object) -> str:
    if not isinstance(value, str) or not value.isprintable():
        # not repeated: there may be a password in it
        raise ValueError("must be a string of printable characters")
    return value


def name(value: object) -> str:
    name = text(value)
    if not name or any(char in name for char in ' <>()@",;') or len(name) > 255:
        raise ValueError(f"must be a name without blanks and brackets, not {value!r}")
    return name


def domain(value: object) -> str:
    name = text(value)
    if not settings.is_domain(name):
        raise ValueError(f"must be a host or domain name, not {value!r}")
    return name


def path(value: object) -> str:
    path = text(value)
    if path and not path.startswith("/"):
        raise ValueError(f"must be an absolute path, not {value!r}")
    return path


def log(value: object) -> str:
    where = text(value)
    is_file = where.startswith("file:/") and where[-1] != "/"
    if where not in ("auto", "stderr", "syslog") and not is_file:
        raise ValueError(f'must be "auto", "stderr", "syslog" or "file:/a/path", not {value!r}')
    return where


def texts(value: object, example: str = "*@example.org") -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError(f'must be a list of strings such as ["{example}"]')
    return tuple(text(item) for item in value)


def command(value: object) -> tuple[str, ...]:
    """The words of a command, in a list, or in a string that is split as a shell would, and nothing more."""
    if isinstance(value, str):
        import shlex

        value = text(value)
        try:
            value = shlex.split(value)
        except ValueError as error:
            raise ValueError(f"cannot be split into words ({str(error).lower()})") from None
    # a word may have any character but NUL: a script for `sh -c` has several lines
    if isinstance(value, list) and value and value[0] and all(isinstance(word, str) and "\0" not in word for word in value):
        return tuple(value)
    raise ValueError('must be a command such as "/usr/local/bin/page ops", or a list of its words')


def hosts(value: object) -> tuple[tuple[str, ...], ...]:
    """Relay URLs in the order in which they are tried; a list in the list: equals, whose order is drawn by lot."""
    groups = [item if isinstance(item, list) else [item] for item in value] if isinstance(value, list) else []
    if not groups or not all(group and all(isinstance(url, str) for url in group) for group in groups):
        raise ValueError('must be a list of strings such as ["smtp+tls://smtp.example.org"], or of lists of equals')
    return tuple(texts(group) for group in groups)


def nameservers(value: object) -> tuple[str, ...]:
    """Addresses with or without a port: "192.0.2.1", "127.0.0.1:5300", "[::1]:53"; [] is the system's."""
    found = []
    for text in [] if value == [] else texts(value, "192.0.2.1"):
        address, port = _address_and_port(text, "53")
        if not port:
            raise ValueError(f'must be addresses such as "192.0.2.1" or "127.0.0.1:5300", not {text!r}')
        found.append(f"[{address}]:{port}" if ":" in address else f"{address}:{port}")
    return tuple(found)


def listeners(value: object) -> tuple[tuple[str, int], ...]:
    """Addresses with their ports, to wait for connections at: "127.0.0.1:25", "[::1]:587"; [] is none."""
    found = []
    for text in [] if value == [] else texts(value, "127.0.0.1:25"):
        address, port = _address_and_port(text, "")
        if not port:
            raise ValueError(f'must be addresses with ports such as "127.0.0.1:25" or "[::1]:25", not {text!r}')
        found.append((address, int(port)))
    return tuple(found)


def _address_and_port(text: str, usual: str) -> tuple[str, str]:
    """usual: the port where none is written. The port is "" where the text is no address, or has no port that can be."""
    import ipaddress  # few configurations have any

    address, port = text, usual
    if text.startswith("["):
        address, _, port = text[1:].partition("]")
        port = port.removeprefix(":") or usual
    elif text.count(":") == 1:
        address, _, port = text.partition(":")
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return address, ""
    return address, port if port.isascii() and port.isdecimal() and 0 < int(port[:6]) < 65536 else ""


def addresses(value: object) -> tuple[str, ...]:
    """One address to connect from, or one for each family."""
    import ipaddress  # few configurations have any

    found = texts([value] if isinstance(value, str) else value, "192.0.2.1")
    for address in found:
        try:
            ipaddress.ip_address(address)
        except ValueError:
            raise ValueError(f"must be an IP address such as 192.0.2.1, not {address!r}") from None
    return found


def globs(value: object) -> tuple[str, ...]:
    return tuple(text.lower() for text in texts(value))


def count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"must be a whole number of at least 1, not {value!r}")
    return value


def port(value: object) -> int:
    number = count(value)
    if number > 65535:
        raise ValueError(f"must be a port from 1 to 65535, not {value!r}")
    return number


def received(value: object) -> int:
    number = count(value)
    if number < 30:
        raise ValueError(f"must be at least 30, or mail that has come a long way is taken for a loop, not {value!r}")
    return number


def switch(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, not {value!r}")
    return value


def size(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if not isinstance(value, str):
        raise ValueError(f'must be a size such as "50M", not {value!r}')
    return settings.parse_size(value)


def span(value: object) -> float:
    if not isinstance(value, str):
        raise ValueError(f'must be a span of time such as "30s" or "5m", not {value!r}')
    seconds = duration.parse(value)
    if not 1 <= seconds <= duration.YEAR:
        raise ValueError(f"must be from 1s to 52w, not {value}")
    return seconds


def spans(value: object) -> tuple[float, ...]:
    return tuple(span(text) for text in texts(value, "5m"))


def rate(value: object) -> Rate | None:
    """ "500/h", "20/30s"; None for "none"."""
    if value == "none":
        return None
    count, _, span = value.partition("/") if isinstance(value, str) else ("", "", "")
    try:
        if re.fullmatch("[0-9]{1,9}", count):
            rate = Rate(int(count), duration.parse(span if span[:1].isdigit() else f"1{span}"))
            if rate.messages and 1 <= rate.seconds <= duration.YEAR:
                return rate
    except ValueError:
        pass  # the sentence below says it better
    right = 'a number of messages in a time from 1s to 52w such as "500/h", "10/m" or "20/30s", or "none"'
    raise ValueError(f"must be {right}, not {value!r}")


def delays(value: object) -> tuple[float, ...]:
    """Ages at which a sender is told of a delay; [] for never."""
    return () if value == [] else tuple(sorted(spans(value)))


def mailbox(value: object) -> str:
    from smartrelay.mail.address import canonical, split

    address = text(value)
    try:
        if address and split(canonical(address))[1] is not None:
            return canonical(address)
    except AddressError:
        pass
    raise ValueError(f"must be an address such as admin@example.org, not {value!r}")


def from_rules(value: object) -> FromRules:
    """One address for all mail, or a table of rules in their order; "" for none."""
    if isinstance(value, str):
        return (("*", _author(value)),) if value else ()
    if not isinstance(value, dict):
        raise ValueError('must be an address such as "web1@example.org", or a table such as { "root" = "alerts@example.org" }')
    return tuple((_author_pattern(pattern), _author(address) if address != "" else "") for pattern, address in value.items())


def _author_pattern(pattern: str) -> str:
    if pattern == "*" or "@" in pattern:
        return pattern.lower()
    if not pattern or any(char in pattern for char in "*?[") or not pattern.isprintable() or " " in pattern:
        raise ValueError(f'has {pattern!r}; write a user\'s name, a glob over addresses such as "*@example.org", or "*"')
    return pattern


def _author(value: object) -> str:
    address = text(value)
    if address.startswith("@"):
        if settings.is_domain(address[1:]):
            return address
        raise ValueError(f"must end in a domain, not {address!r}")
    return mailbox(address)


def original_from(value: object) -> str:
    return one_of("none", "reply-to", "x-original-from")(value)


def one_of(*allowed: str) -> Callable[[object], str]:
    def check(value: object) -> str:
        if value not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}, not {value!r}")
        return str(value)

    return check


def any_mode(value: object) -> bool:
    return one_of("owner", "any")(value) == "any"


def table(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError('must be a table such as { user = "me", secret = "file:/etc/smartrelay/secret" }')
    return value
