"""The configuration, read strictly: every key is known and of its type, or the sentence names file, key and what is right.

The enqueue path reads the same file through `settings`, leniently and for a few keys only. Relay URLs and secrets are
judged by their own rooms (`routing.relays`, `secret`).

An idle pass reads it too: named tuples, because a dataclass takes eight times as long to make, half a Python start for all.
"""

import os
import re
import tomllib
from collections.abc import Callable
from typing import Any, NamedTuple

from smartrelay import duration, settings
from smartrelay.errors import ConfigError

RELAY_VARIABLE = "SMARTRELAY_RELAY"


class Auth(NamedTuple):
    """How to sign in. secret: a reference (`secret.resolve`), or the secret itself where it came with a relay URL, or "" for
    EXTERNAL."""

    user: str = ""
    secret: str = ""
    mechanism: str = "auto"
    any_mode: bool = False
    literal: bool = False


class Rate(NamedTuple):
    """At most so many messages in any so many seconds."""

    messages: int
    seconds: float

    def __str__(self) -> str:
        """As a configuration has it: "500/h", "20/30s"."""
        span = duration.exact(self.seconds)
        return f"{self.messages}/{span[1:] if span[0] == '1' and span[1:].isalpha() else span}"


class Relay(NamedTuple):
    """One `[[relay]]` rule. sender, recipient: globs over envelope addresses. hosts: relay URLs or "mx", in groups of equals,
    tried in order. source_address: own addresses to connect from, of either family. pipeline_window: 0 for that of [limits].
    port: where the URL names none, 0 for the usual one. max_connections: at once for all that this rule sends, 0 for no more
    than [limits] has. rate: its own budget, beside that of [limits]. tls: what mail exchangers must do."""

    name: str
    hosts: tuple[tuple[str, ...], ...]
    where: str
    sender: tuple[str, ...] = ("*",)
    recipient: tuple[str, ...] = ("*",)
    auth: Auth | None = None
    ca_file: str = ""
    protocol: str = "esmtp"
    client_certificate: str = ""
    client_key: str = ""
    source_address: tuple[str, ...] = ()
    pipeline_window: int = 0
    port: int = 0
    max_connections: int = 0
    tls: str = "opportunistic"
    rate: Rate | None = None


class Limits(NamedTuple):
    """How much at once, and how much in what time. max_received: Received fields from which on a message is taken to go
    round in a loop."""

    max_connections: int = 20
    max_connections_per_host: int = 20
    max_messages_per_connection: int = 100
    pipeline_window: int = 1
    rate: Rate | None = None
    max_received: int = 100


class MX(NamedTuple):
    """How mail exchangers are found and remembered. nameservers: "address:port", () for the system's."""

    bad_host_timeout: float = 3600.0
    canonical_chain_limit: int = 3
    fallback_to_domain: bool = True
    address_family: str = "any"
    port: int = 25
    nameservers: tuple[str, ...] = ()


class Timeouts(NamedTuple):
    """Seconds for each phase (RFC 5321 section 4.5.3.2)."""

    lookup: float = 30.0
    connect: float = 30.0
    greeting: float = 300.0
    command: float = 300.0
    data: float = 120.0
    data_block: float = 180.0
    data_end: float = 600.0
    quit: float = 10.0


RETRY = (60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 10800.0)


class Config(NamedTuple):
    """All settings. file: where they come from. direct: whether the caller named the spool (may be made, never refused
    for being another's default). retry: seconds between attempts, the last repeats."""

    file: str
    spool: str
    direct: bool
    hostname: str
    domain: str
    max_message_size: int
    max_recipients: int
    min_free_space: int
    relays: tuple[Relay, ...] = ()
    retry: tuple[float, ...] = RETRY
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()
    mx: MX = MX()

    @property
    def horizon(self) -> float:
        """Seconds beyond which no next attempt is ever set, and one that is found is a clock's mistake."""
        return max(86400.0, 2 * max(self.retry))


def load(file: str = "", spool: str = "") -> Config:
    """The configuration for these `--config` and `--spool` options ("" for none). Raises ConfigError."""
    found = settings.load(file, spool)
    table = _table(found.file, named=bool(file or settings.environment("SMARTRELAY_CONFIG")))
    reader = _Reader(found.file)
    top = reader.section(table, "", _TOP, tables=("relay", "queue", "limits", "mx", "timeouts"))
    relays = _relays(reader, table)
    forced = os.environ.get(RELAY_VARIABLE)
    if forced:
        relays = (Relay("environment", ((forced,),), f"${RELAY_VARIABLE}"),)
    retry = reader.section(_sub(reader, table, "queue"), "[queue] ", {"retry": _durations}).get("retry", RETRY)
    return Config(
        file=found.file,
        spool=found.spool,
        direct=found.direct,
        hostname=found.hostname,
        domain=found.domain,
        max_message_size=top.get("max_message_size", found.max_message_size),
        max_recipients=top.get("max_recipients", found.max_recipients),
        min_free_space=top.get("min_free_space", found.min_free_space),
        relays=relays,
        retry=retry,
        limits=Limits(**reader.section(_sub(reader, table, "limits"), "[limits] ", _LIMITS)),
        mx=MX(**reader.section(_sub(reader, table, "mx"), "[mx] ", _MX)),
        timeouts=Timeouts(
            **reader.section(_sub(reader, table, "timeouts"), "[timeouts] ", dict.fromkeys(Timeouts._fields, _duration))
        ),
    )


def _table(path: str, *, named: bool) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except FileNotFoundError as error:
        if named:
            raise ConfigError(f"there is no configuration {path}") from error
        return {}
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error


def _sub(reader: "_Reader", table: dict[str, Any], name: str) -> dict[str, Any]:
    found = table.get(name, {})
    if not isinstance(found, dict):
        raise reader.error(name, f"must be a table; write [{name}] on a line of its own")
    return found


def _relays(reader: "_Reader", table: dict[str, Any]) -> tuple[Relay, ...]:
    rules = table.get("relay", [])
    if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
        raise reader.error("relay", "must be written [[relay]], with two brackets")
    relays: list[Relay] = []
    for number, rule in enumerate(rules, 1):
        title = f"[[relay]] {rule.get('name', number)!s}: "
        found = reader.section(rule, title, _RELAY)
        if not found.get("hosts"):
            raise reader.error(f"{title}hosts", 'is missing; write hosts = ["smtp+tls://smtp.example.org"]')
        auth = None
        if "auth" in found:
            auth = _auth(reader, found.pop("auth"), f"{title}auth.", certificate=bool(found.get("client_certificate")))
        name = found.setdefault("name", f"relay{number}")
        if any(relay.name == name for relay in relays):
            raise reader.error(f"{title}name", "is that of another [[relay]]; each needs its own")
        relays.append(Relay(**found, auth=auth, where=f"{reader.file}: {title}"))
    return tuple(relays)


def _auth(reader: "_Reader", table: dict[str, Any], title: str, *, certificate: bool) -> Auth:
    """How to sign in: with user and secret, or as whom a client certificate names (EXTERNAL)."""
    auth = Auth(**reader.section(table, title, _AUTH))
    if auth.mechanism == "external":
        if not certificate:
            raise reader.error(f"{title}mechanism", 'is "external", which needs client_certificate')
    elif not auth.user or not auth.secret:
        raise reader.error(f"{title}{'secret' if auth.user else 'user'}", "is missing")
    return auth


class _Reader:
    """Checks tables against what they may hold; every complaint names the file."""

    def __init__(self, file: str) -> None:
        self.file = file

    def error(self, key: str, problem: str) -> ConfigError:
        return ConfigError(f"{self.file}: {key} {problem}")

    def section(
        self,
        table: dict[str, Any],
        title: str,
        known: dict[str, Callable[[Any], Any]],
        *,
        tables: tuple[str, ...] = (),
        needed: tuple[str, ...] = (),
    ) -> dict[str, Any]:
        """The converted values of a table; keys that stand for fields of another name are given under that name."""
        found = {}
        for key, value in table.items():
            if key in tables:
                continue
            if key not in known:
                raise self.error(f"{title}{key}", f"is not a known key{_nearest(key, [*known, *tables])}")
            try:
                found[_FIELDS.get(key, key)] = known[key](value)
            except ValueError as error:
                raise self.error(f"{title}{key}", str(error)) from error
        for key in needed:
            if key not in found:
                raise self.error(f"{title}{key}", "is missing")
        return found


def _nearest(key: str, known: list[str]) -> str:
    import difflib

    near = difflib.get_close_matches(key, known, n=1)
    return f"; did you mean {near[0]}?" if near else f"; known are {', '.join(sorted(known))}"


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.isprintable():
        # not repeated: there may be a password in it
        raise ValueError("must be a string of printable characters")
    return value


def _name(value: object) -> str:
    name = _text(value)
    if not name or any(char in name for char in ' <>()@",;') or len(name) > 255:
        raise ValueError(f"must be a name without blanks and brackets, not {value!r}")
    return name


def _domain(value: object) -> str:
    name = _text(value)
    if not settings.is_domain(name):
        raise ValueError(f"must be a host or domain name, not {value!r}")
    return name


def _path(value: object) -> str:
    path = _text(value)
    if path and not path.startswith("/"):
        raise ValueError(f"must be an absolute path, not {value!r}")
    return path


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError('must be a list of strings such as ["*@example.org"]')
    return tuple(_text(item) for item in value)


def _hosts(value: object) -> tuple[tuple[str, ...], ...]:
    """Relay URLs in the order in which they are tried; a list in the list: equals, whose order is drawn by lot."""
    if not isinstance(value, list) or not value:
        raise ValueError('must be a list of strings such as ["smtp+tls://smtp.example.org"], or of lists of equals')
    return tuple(_texts(item if isinstance(item, list) else [item]) for item in value)


def _nameservers(value: object) -> tuple[str, ...]:
    """Addresses with or without a port: "192.0.2.1", "127.0.0.1:5300", "[::1]:53"; [] is the system's."""
    import ipaddress

    if value == []:
        return ()
    found = []
    for text in _texts(value):
        address, port = text, "53"
        if text.startswith("["):
            address, _, port = text[1:].partition("]")
            port = port.removeprefix(":") or "53"
        elif text.count(":") == 1:
            address, _, port = text.partition(":")
        try:
            ipaddress.ip_address(address)
        except ValueError:
            port = ""
        if not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) < 65536):
            raise ValueError(f'must be addresses such as "192.0.2.1" or "127.0.0.1:5300", not {text!r}')
        found.append(f"[{address}]:{port}" if ":" in address else f"{address}:{port}")
    return tuple(found)


def _addresses(value: object) -> tuple[str, ...]:
    """One address to connect from, or one for each family."""
    import ipaddress  # few configurations have any

    found = _texts([value] if isinstance(value, str) else value)
    for address in found:
        try:
            ipaddress.ip_address(address)
        except ValueError:
            raise ValueError(f"must be an IP address such as 192.0.2.1, not {address!r}") from None
    return found


def _globs(value: object) -> tuple[str, ...]:
    return tuple(text.lower() for text in _texts(value))


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"must be a whole number of at least 1, not {value!r}")
    return value


def _port(value: object) -> int:
    number = _count(value)
    if number > 65535:
        raise ValueError(f"must be a port from 1 to 65535, not {value!r}")
    return number


def _received(value: object) -> int:
    number = _count(value)
    if number < 30:
        raise ValueError(f"must be at least 30, or mail that has come a long way is taken for a loop, not {value!r}")
    return number


def _switch(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, not {value!r}")
    return value


def _size(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if not isinstance(value, str):
        raise ValueError(f'must be a size such as "50M", not {value!r}')
    return settings.parse_size(value)


def _duration(value: object) -> float:
    if not isinstance(value, str):
        raise ValueError(f'must be a span of time such as "30s" or "5m", not {value!r}')
    seconds = duration.parse(value)
    if not 1 <= seconds <= duration.YEAR:
        raise ValueError(f"must be from 1s to 52w, not {value}")
    return seconds


def _durations(value: object) -> tuple[float, ...]:
    return tuple(_duration(text) for text in _texts(value))


def _rate(value: object) -> Rate | None:
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


def _one_of(*allowed: str) -> Callable[[object], str]:
    def check(value: object) -> str:
        if value not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}, not {value!r}")
        return str(value)

    return check


def _any_mode(value: object) -> bool:
    return _one_of("owner", "any")(value) == "any"


def _subtable(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError('must be a table such as { user = "me", secret = "file:/etc/smartrelay/secret" }')
    return value


_TOP: dict[str, Callable[[Any], Any]] = {
    "hostname": _domain,
    "domain": _domain,
    "spool": _path,
    "max_message_size": _size,
    "max_recipients": _count,
    "min_free_space": _size,
}
_RELAY: dict[str, Callable[[Any], Any]] = {
    "name": _name,
    "sender": _globs,
    "recipient": _globs,
    "hosts": _hosts,
    "auth": _subtable,
    "ca_file": _path,
    "protocol": _one_of("esmtp", "smtp"),
    "client_certificate": _path,
    "client_key": _path,
    "source_address": _addresses,
    "pipeline_window": _count,
    "port": _port,
    "max_connections": _count,
    "tls": _one_of("none", "opportunistic", "starttls"),
    "rate": _rate,
}
_MX: dict[str, Callable[[Any], Any]] = {
    "bad_host_timeout": _duration,
    "canonical_chain_limit": _count,
    "fallback_to_domain": _switch,
    "address_family": _one_of("any", "ipv4", "ipv6"),
    "port": _port,
    "nameservers": _nameservers,
}
_LIMITS: dict[str, Callable[[Any], Any]] = {**dict.fromkeys(Limits._fields, _count), "rate": _rate, "max_received": _received}
_AUTH: dict[str, Callable[[Any], Any]] = {
    "user": _text,
    "secret": _text,
    "mechanism": _one_of("auto", "plain", "login", "cram-md5", "scram-sha-1", "scram-sha-256", "external"),
    "secret_mode": _any_mode,
}
_FIELDS = {"secret_mode": "any_mode"}
