"""The configuration, read strictly: every key is known and of its type, or the sentence names file, key and what is right.

The enqueue path reads the same file through `settings`, leniently and for a few keys only. Relay URLs and secrets are
judged by their own rooms (`routing.relays`, `secret`).

An idle pass reads it too: named tuples, because a dataclass takes eight times as long to make, half a Python start for all.
"""

import tomllib
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from smartrelay import settings, values
from smartrelay.errors import ConfigError
from smartrelay.values import FromRules, Rate

RELAY_VARIABLE = "SMARTRELAY_RELAY"


class Auth(NamedTuple):
    """How to sign in. secret: a reference (`secret.resolve`), or the secret itself where it came with a relay URL, or "" for
    EXTERNAL."""

    user: str = ""
    secret: str = ""
    mechanism: str = "auto"
    any_mode: bool = False
    literal: bool = False


class Relay(NamedTuple):
    """One `[[relay]]` rule. sender, recipient: globs over envelope addresses. hosts: relay URLs or "mx", in groups of equals,
    tried in order. source_address: own addresses to connect from, of either family. pipeline_window: 0 for that of [limits].
    port: where the URL names none, 0 for the usual one. max_connections: at once for all that this rule sends, 0 for no more
    than [limits] has. rate: its own budget, beside that of [limits]. tls: what mail exchangers must do. from_rules,
    original_from: as in [submit], for what goes this way; None and "" for those. where: the beginning of a sentence about
    it."""

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
    from_rules: FromRules | None = None
    original_from: str = ""


class Submit(NamedTuple):
    """How mail comes in besides the sendmail command, and how that of this host presents itself. listen: addresses and ports
    of SMTP for this host's programs. from_rules: (pattern, address), the first that is for an address counts. original_from:
    the field that keeps the first author: "none", "reply-to" or "x-original-from"."""

    listen: tuple[tuple[str, int], ...] = ()
    from_rules: FromRules = ()
    original_from: str = "none"


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


class AlertCommand(NamedTuple):
    """What is run when mail is stuck, or a relay does not let us in. command: its words. after: seconds for which mail may wait
    before it counts as stuck."""

    command: tuple[str, ...]
    after: float = 4 * 3600.0


RETRY = (60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 10800.0)


class Config(NamedTuple):
    """All settings. file: where they come from. direct: whether the caller named the spool (may be made, never refused
    for being another's default). retry: seconds between attempts, the last repeats. lifetime: seconds of age at which mail
    is given up. warn_after: ages at which its sender is told of the delay. postmaster: who is told of what has no sender.
    status_file: where passes tell everyone how it stands, "" for nowhere. log: where the mail log goes (`sinks.open_sink`)."""

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
    lifetime: float = 5 * 86400.0
    warn_after: tuple[float, ...] = (4 * 3600.0,)
    postmaster: str = ""
    log: str = "auto"
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()
    mx: MX = MX()
    submit: Submit = Submit()
    status_file: str = ""
    alert: AlertCommand | None = None

    @property
    def horizon(self) -> float:
        """Seconds beyond which no next attempt is ever set, and one that is found is a clock's mistake."""
        return max(86400.0, 2 * max(self.retry))


def load(file: str = "", spool: str = "") -> Config:
    """The configuration for these `--config` and `--spool` options ("" for none). Raises ConfigError."""
    found = settings.load(file, spool)
    table = _table(found.file, named=bool(file or settings.environment("SMARTRELAY_CONFIG")))
    reader = _Reader(found.file)
    top = reader.section(table, "", _TOP, tables=("relay", "queue", "limits", "mx", "timeouts", "submit", "alert"))
    relays = _relays(reader, table)
    forced = settings.environment(RELAY_VARIABLE)
    if forced:
        relays = (Relay("environment", ((forced,),), f"${RELAY_VARIABLE}"),)
    queue = reader.section(_sub(reader, table, "queue"), "[queue] ", _QUEUE)
    status_file = top.get("status_file", found.status_file)
    if status_file.startswith(f"{found.spool}/"):
        raise reader.error("status_file", f"must be outside the spool {found.spool}, which nobody else may look into")
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
        **queue,
        postmaster=top.get("postmaster", ""),
        log=top.get("log", found.log),
        limits=Limits(**reader.section(_sub(reader, table, "limits"), "[limits] ", _LIMITS)),
        submit=Submit(**reader.section(_sub(reader, table, "submit"), "[submit] ", _SUBMIT)),
        mx=MX(**reader.section(_sub(reader, table, "mx"), "[mx] ", _MX)),
        timeouts=Timeouts(
            **reader.section(_sub(reader, table, "timeouts"), "[timeouts] ", dict.fromkeys(Timeouts._fields, values.span))
        ),
        status_file=status_file,
        alert=_alert(reader, table),
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
        from smartrelay.mistake import no_toml

        raise ConfigError(f"{path} is not valid TOML: {no_toml(error)}") from error


def _sub(reader: "_Reader", table: dict[str, Any], name: str) -> dict[str, Any]:
    found = table.get(name, {})
    if not isinstance(found, dict):
        raise reader.error(name, f"must be a table; write [{name}] on a line of its own")
    return found


def _alert(reader: "_Reader", table: dict[str, Any]) -> AlertCommand | None:
    if "alert" not in table:
        return None
    return AlertCommand(**reader.section(_sub(reader, table, "alert"), "[alert] ", _ALERT, needed=("command",)))


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
        if "client_key" in found and not found.get("client_certificate"):
            raise reader.error(f"{title}client_key", "is that of a client_certificate, which is missing")
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
                from smartrelay.mistake import unknown_key

                raise self.error(f"{title}{key}", unknown_key(key, [*known, *tables], _PLACES))
            try:
                found[_FIELDS.get(key, key)] = known[key](value)
            except ValueError as error:
                raise self.error(f"{title}{key}", str(error)) from error
        for key in needed:
            if key not in found:
                raise self.error(f"{title}{key}", "is missing")
        return found


_TOP: dict[str, Callable[[Any], Any]] = {
    "hostname": values.domain,
    "domain": values.domain,
    "spool": values.path,
    "max_message_size": values.size,
    "max_recipients": values.count,
    "min_free_space": values.size,
    "postmaster": values.mailbox,
    "log": values.log,
    "submit_socket": values.path,
    "submit_rate": values.rate,
    "aliases": values.path,
    "status_file": values.path,
}
_ALERT: dict[str, Callable[[Any], Any]] = {"command": values.command, "after": values.span}
_QUEUE: dict[str, Callable[[Any], Any]] = {"retry": values.spans, "lifetime": values.span, "warn_after": values.delays}
_RELAY: dict[str, Callable[[Any], Any]] = {
    "name": values.name,
    "sender": values.globs,
    "recipient": values.globs,
    "hosts": values.hosts,
    "auth": values.table,
    "ca_file": values.path,
    "protocol": values.one_of("esmtp", "smtp"),
    "client_certificate": values.path,
    "client_key": values.path,
    "source_address": values.addresses,
    "pipeline_window": values.count,
    "port": values.port,
    "max_connections": values.count,
    "tls": values.one_of("none", "opportunistic", "starttls"),
    "rate": values.rate,
    "from": values.from_rules,
    "original_from": values.original_from,
}
_SUBMIT: dict[str, Callable[[Any], Any]] = {
    "listen": values.listeners,
    "from": values.from_rules,
    "original_from": values.original_from,
}
_MX: dict[str, Callable[[Any], Any]] = {
    "bad_host_timeout": values.span,
    "canonical_chain_limit": values.count,
    "fallback_to_domain": values.switch,
    "address_family": values.one_of("any", "ipv4", "ipv6"),
    "port": values.port,
    "nameservers": values.nameservers,
}
_LIMITS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(Limits._fields, values.count),
    "rate": values.rate,
    "max_received": values.received,
}
_AUTH: dict[str, Callable[[Any], Any]] = {
    "user": values.text,
    "secret": values.text,
    "mechanism": values.one_of(
        "auto", "plain", "login", "cram-md5", "scram-sha-1", "scram-sha-256", "external", "oauthbearer", "xoauth2"
    ),
    "secret_mode": values.any_mode,
}
_PLACES: dict[str, Iterable[str]] = {
    "above the first table": _TOP,
    "in [queue]": _QUEUE,
    "in [limits]": _LIMITS,
    "in [mx]": _MX,
    "in [[relay]]": _RELAY,
    "in auth of a [[relay]]": _AUTH,
    "in [submit]": _SUBMIT,
    "in [alert]": _ALERT,
    "in [timeouts]": Timeouts._fields,
}
_FIELDS = {"secret_mode": "any_mode", "from": "from_rules"}
