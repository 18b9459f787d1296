"""Relay rules and relay URLs: which hosts a recipient's mail is handed to, and how they are to be spoken to.

Rules are looked up at each attempt, never frozen at enqueue: a changed configuration holds for all that is queued.
"""

from fnmatch import fnmatchcase
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from smartrelay.config import Auth, Config, Relay
from smartrelay.errors import ConfigError

NO_TLS, OPPORTUNISTIC, STARTTLS, IMPLICIT = "none", "opportunistic", "starttls", "implicit"
_SCHEMES = {
    "smtp": (25, OPPORTUNISTIC),
    "smtp+tls": (587, STARTTLS),
    "smtp+notls": (25, NO_TLS),
    "smtps": (465, IMPLICIT),
    "lmtp": (24, NO_TLS),
}


class Endpoint(NamedTuple):
    """One host to speak to. tls: NO_TLS, OPPORTUNISTIC (if offered), STARTTLS or IMPLICIT (both required, verified). path:
    a local socket instead of a host (LMTP only)."""

    host: str
    port: int
    tls: str
    lmtp: bool = False
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class NextHop:
    """Where a rule sends mail: its endpoints in order, and how to speak to each of them. One rule has one of these.

    relay: the rule's other settings. secret: the resolved secret for `auth`, never shown.
    """

    __slots__ = ("auth", "endpoints", "relay", "secret")

    def __init__(self, relay: Relay, endpoints: tuple[Endpoint, ...], auth: Auth | None, secret: str) -> None:
        self.relay = relay
        self.endpoints = endpoints
        self.auth = auth
        self.secret = secret

    @property
    def name(self) -> str:
        """The rule's name."""
        return self.relay.name

    @property
    def protocol(self) -> str:
        """ "esmtp", or "smtp" for HELO and no extension."""
        return self.relay.protocol

    def __repr__(self) -> str:
        return f"NextHop({self.name!r})"


class Rule(NamedTuple):
    """One `[[relay]]` with its URLs understood."""

    relay: Relay
    endpoints: tuple[Endpoint, ...]
    auth: Auth | None

    def matches(self, sender: str, recipient: str) -> bool:
        """Whether this rule is for that envelope sender and recipient (globs, without case)."""
        return _any_glob(self.relay.sender, sender) and _any_glob(self.relay.recipient, recipient)

    @property
    def matches_all(self) -> bool:
        """Whether this rule is for whatever sender and recipient."""
        return "*" in self.relay.sender and "*" in self.relay.recipient


class Routes:
    """The rules of a configuration, ready for use. only: the next hop of all mail, where the first rule takes any."""

    def __init__(self, rules: tuple[Rule, ...], hops: tuple[NextHop, ...]) -> None:
        self._rules = rules
        self.hops = hops
        self.only = hops[0] if rules and rules[0].matches_all else None

    @classmethod
    def of(cls, config: Config, *, secrets: bool = True) -> "Routes":
        """The routes of `config`, with each relay's secret read now (or not). Raises ConfigError."""
        rules = tuple(_rule(relay) for relay in config.relays)
        return cls(rules, tuple(_hop(rule, secrets=secrets) for rule in rules))

    def next_hop(self, sender: str, recipient: str) -> NextHop | None:
        """The next hop of the first rule that matches, None where none does."""
        for rule, hop in zip(self._rules, self.hops, strict=True):
            if rule.matches(sender, recipient):
                return hop
        return None


def _any_glob(globs: tuple[str, ...], address: str) -> bool:
    lower = address.lower()
    return any(glob == "*" or fnmatchcase(lower, glob) for glob in globs)


def _rule(relay: Relay) -> Rule:
    """Understands a relay's URLs; a user and password may stand in the only one (the form for $SMARTRELAY_RELAY)."""
    endpoints, auth = [], relay.auth
    for url in relay.hosts:
        endpoint, own = parse_url(url, relay.where)
        if own is not None:
            if len(relay.hosts) > 1 or auth is not None:
                raise ConfigError(f"{relay.where} a user in a relay URL stands alone; use auth = {{ user, secret }} instead")
            auth = own
        endpoints.append(endpoint)
    for endpoint in endpoints:
        if auth is not None and endpoint.tls == OPPORTUNISTIC:
            raise ConfigError(
                f"{relay.where} smtp:// with auth would give the secret to whoever strips STARTTLS from {endpoint}; "
                "use smtp+tls:// or smtps:// (or smtp+notls:// if the way is safe)"
            )
    return Rule(relay, tuple(endpoints), auth)


def _hop(rule: Rule, *, secrets: bool) -> NextHop:
    secret = ""
    if rule.auth is not None and rule.auth.secret and secrets:
        if rule.auth.literal:
            secret = rule.auth.secret
        else:
            from smartrelay.secret import resolve

            secret = resolve(rule.auth.secret, f"{rule.relay.where}auth.secret", any_mode=rule.auth.any_mode)
    auth = rule.auth._replace(secret="") if rule.auth is not None else None
    return NextHop(rule.relay, rule.endpoints, auth, secret)


def parse_url(url: str, where: str) -> tuple[Endpoint, Auth | None]:
    """A relay URL as OpenSMTPD writes them, with an optional `user:password@`. where: for the sentence.

    Raises ConfigError without repeating the password.
    """
    if url == "mx":
        raise ConfigError(
            f'{where} "mx" (the mail exchangers of each recipient\'s domain) is not in this version; name a relay'
        )
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in _SCHEMES:
        raise ConfigError(
            f"{where} a relay is written smtp+tls://HOST, smtps://HOST, smtp://HOST, smtp+notls://HOST, lmtp://HOST:PORT or "
            "lmtp:///PATH"
        )
    if scheme == "lmtp" and url.startswith("lmtp:///") and url != "lmtp:///" and url.isprintable():
        return Endpoint("localhost", 0, NO_TLS, lmtp=True, path=url.removeprefix("lmtp://")), None
    try:
        parts = urlsplit(url)
        host, port, user, password = parts.hostname, parts.port, parts.username, parts.password
    except ValueError:
        # the error's own words would repeat what may be a password
        raise ConfigError(f"{where} a relay URL cannot be read; it is {scheme}://HOST or {scheme}://HOST:PORT") from None
    if not host or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ConfigError(f"{where} a relay URL is {scheme}://HOST or {scheme}://HOST:PORT and nothing behind it")
    if any(ord(char) <= 32 or char in "<>\"'" for char in host) or port == 0:
        raise ConfigError(f"{where} a relay URL has no usable host or port")
    default, tls = _SCHEMES[scheme]
    auth = None
    if user is not None:
        if not user or not password:
            raise ConfigError(f"{where} the relay URL has a user or a password, but not both")
        auth = Auth(unquote(user), unquote(password), literal=True)
        if not auth.user.isprintable() or not auth.secret.isprintable():
            raise ConfigError(f"{where} the user or password in the relay URL has a control character, or is not UTF-8")
    return Endpoint(host, port or default, tls, lmtp=scheme == "lmtp"), auth
