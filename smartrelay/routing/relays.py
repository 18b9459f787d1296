"""Relay rules and relay URLs: which hosts a recipient's mail is handed to, and how they are to be spoken to.

Rules are looked up at each attempt, never frozen at enqueue: a changed configuration holds for all that is queued.
"""

from fnmatch import fnmatchcase
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from smartrelay.config import Auth, Config, Relay
from smartrelay.errors import ConfigError
from smartrelay.mail.address import domain_of

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
    a local socket instead of a host (LMTP only). exchangers: not `host` itself is meant but its mail exchangers; of the
    recipient's domain, where `host` is ""."""

    host: str
    port: int
    tls: str
    lmtp: bool = False
    path: str = ""
    exchangers: bool = False

    def __str__(self) -> str:
        if self.path:
            return self.path
        name = f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
        return f"MX of {name}" if self.exchangers else name


class NextHop:
    """Where a rule sends mail: its endpoints, in groups of equals that are tried in order, and how to speak to each of them.

    A rule has one of these, or one for each recipient's domain where that decides (`domain`, else ""). relay: the rule's other
    settings. secret: the resolved secret for `auth`, never shown.
    """

    __slots__ = ("auth", "domain", "groups", "relay", "secret")

    def __init__(
        self,
        relay: Relay,
        groups: tuple[tuple[Endpoint, ...], ...],
        auth: Auth | None,
        secret: str,
        domain: str = "",
    ) -> None:
        self.relay = relay
        self.groups = groups
        self.auth = auth
        self.secret = secret
        self.domain = domain

    def of_domain(self, domain: str) -> "NextHop":
        """The same for the mail of one domain."""
        return NextHop(self.relay, self.groups, self.auth, self.secret, domain)

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """All endpoints, in the order in which they are written."""
        return tuple(endpoint for group in self.groups for endpoint in group)

    @property
    def name(self) -> str:
        """The rule's name."""
        return self.relay.name

    @property
    def title(self) -> str:
        """What the log calls it: the rule, and the domain where that decides."""
        return f"{self.relay.name} for {self.domain}" if self.domain else self.relay.name

    @property
    def protocol(self) -> str:
        """ "esmtp", or "smtp" for HELO and no extension."""
        return self.relay.protocol

    def __repr__(self) -> str:
        return f"NextHop({self.title!r})"


class Rule(NamedTuple):
    """One `[[relay]]` with its URLs understood."""

    relay: Relay
    groups: tuple[tuple[Endpoint, ...], ...]
    auth: Auth | None

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """All endpoints, in the order in which they are written."""
        return tuple(endpoint for group in self.groups for endpoint in group)

    @property
    def is_by_domain(self) -> bool:
        """Whether the recipient's domain decides where its mail goes."""
        return any(endpoint.exchangers and not endpoint.host for endpoint in self.endpoints)

    def matches(self, sender: str, recipient: str) -> bool:
        """Whether this rule is for that envelope sender and recipient (globs, without case)."""
        return _any_glob(self.relay.sender, sender) and _any_glob(self.relay.recipient, recipient)

    @property
    def matches_all(self) -> bool:
        """Whether this rule is for whatever sender and recipient."""
        return "*" in self.relay.sender and "*" in self.relay.recipient


class Routes:
    """The rules of a configuration, ready for use. only: the next hop of all mail, where the first rule takes any and sends
    it all to the same hosts."""

    def __init__(self, rules: tuple[Rule, ...], hops: tuple[NextHop, ...]) -> None:
        self._rules = rules
        self.hops = hops
        self.only = hops[0] if rules and rules[0].matches_all and not rules[0].is_by_domain else None
        self._by_domain: dict[tuple[int, str], NextHop] = {}

    @classmethod
    def of(cls, config: Config, *, secrets: bool = True) -> "Routes":
        """The routes of `config`, with each relay's secret read now (or not). Raises ConfigError."""
        rules = tuple(_rule(relay, config.mx.port) for relay in config.relays)
        return cls(rules, tuple(_hop(rule, secrets=secrets) for rule in rules))

    @property
    def ask_for_exchangers(self) -> bool:
        """Whether any rule sends mail to mail exchangers."""
        return any(endpoint.exchangers for rule in self._rules for endpoint in rule.endpoints)

    def next_hop(self, sender: str, recipient: str) -> NextHop | None:
        """The next hop of the first rule that matches, None where none does.

        sender: "" for the null reverse-path, which every notice has: it takes the way that its addressee's own mail takes.
        """
        for number, rule in enumerate(self._rules):
            if rule.matches(sender or recipient, recipient):
                return self._of_domain(number, domain_of(recipient)) if rule.is_by_domain else self.hops[number]
        return None

    def _of_domain(self, number: int, domain: str) -> NextHop:
        # two spellings of one domain are one next hop (RFC 5321 section 2.4)
        found = self._by_domain.get((number, domain))
        if found is None:
            found = self._by_domain[number, domain] = self.hops[number].of_domain(domain)
        return found


def _any_glob(globs: tuple[str, ...], address: str) -> bool:
    lower = address.lower()
    return any(glob == "*" or fnmatchcase(lower, glob) for glob in globs)


def _rule(relay: Relay, mx_port: int) -> Rule:
    """Understands a relay's URLs; a user and password may stand in the only one (the form for $SMARTRELAY_RELAY)."""
    groups, auth, urls = [], relay.auth, [url for group in relay.hosts for url in group]
    for group in relay.hosts:
        endpoints = []
        for url in group:
            endpoint, own = _exchangers(relay, mx_port) if url == "mx" else parse_url(url, relay.where, relay.port)
            if own is not None:
                if len(urls) > 1 or auth is not None:
                    raise ConfigError(f"{relay.where}a user in a relay URL stands alone; use auth = {{ user, secret }} instead")
                auth = own
            endpoints.append(endpoint)
        groups.append(tuple(endpoints))
    rule = Rule(relay, tuple(groups), auth)
    _must_be_sound(rule)
    return rule


def _exchangers(relay: Relay, port: int) -> tuple[Endpoint, None]:
    """ "mx": the mail exchangers of each recipient's domain."""
    return Endpoint("", relay.port or port, relay.tls, exchangers=True), None


def _must_be_sound(rule: Rule) -> None:
    relay = rule.relay
    if rule.is_by_domain and rule.auth is not None:
        raise ConfigError(f"{relay.where}auth would give the secret to the exchangers of any domain; take it out")
    if not rule.is_by_domain and relay.tls != OPPORTUNISTIC:
        raise ConfigError(f'{relay.where}tls is for hosts = ["mx"]; with a relay URL the scheme says it')
    for endpoint in rule.endpoints:
        if rule.auth is not None and endpoint.lmtp and not endpoint.path:
            raise ConfigError(f"{relay.where}lmtp:// with auth would send the secret in clear to {endpoint}; take out auth")
        if rule.auth is not None and endpoint.tls == OPPORTUNISTIC:
            raise ConfigError(
                f"{relay.where}smtp:// with auth would give the secret to whoever strips STARTTLS from {endpoint}; "
                "use smtp+tls:// or smtps:// (or smtp+notls:// if the way is safe)"
            )


def _hop(rule: Rule, *, secrets: bool) -> NextHop:
    secret = ""
    if rule.auth is not None and rule.auth.secret and secrets:
        if rule.auth.literal:
            secret = rule.auth.secret
        else:
            from smartrelay.secret import resolve

            secret = resolve(rule.auth.secret, f"{rule.relay.where}auth.secret", any_mode=rule.auth.any_mode)
    auth = rule.auth._replace(secret="") if rule.auth is not None else None
    return NextHop(rule.relay, rule.groups, auth, secret)


def _meant(scheme: str) -> str:
    """The beginning of a sentence, where somebody has mistyped a scheme."""
    import difflib

    near = difflib.get_close_matches(scheme, _SCHEMES, n=1)
    return f"did you mean {near[0]}://? " if near and near[0] != scheme else ""


def parse_url(url: str, where: str, port: int = 0) -> tuple[Endpoint, Auth | None]:
    """A relay URL as OpenSMTPD writes them, with an optional `user:password@`; `mx+` before the scheme means the mail
    exchangers of that name. where: for the sentence. port: where the URL has none, 0 for the scheme's.

    Raises ConfigError without repeating the password.
    """
    exchangers = url.startswith("mx+")
    scheme, separator, _ = url.removeprefix("mx+").partition("://")
    if not separator or scheme not in _SCHEMES or (exchangers and scheme == "lmtp"):
        guess = _meant(scheme) if separator else ""
        raise ConfigError(
            f"{where}{guess}a relay is written smtp+tls://HOST, smtps://HOST, smtp://HOST, smtp+notls://HOST, "
            "lmtp://HOST:PORT, lmtp:///PATH, mx+smtp+tls://NAME (the mail exchangers of NAME) or "
            '"mx" (those of each recipient\'s domain)'
        )
    if scheme == "lmtp" and url.startswith("lmtp:///") and url != "lmtp:///" and url.isprintable():
        return Endpoint("localhost", 0, NO_TLS, lmtp=True, path=url.removeprefix("lmtp://")), None
    try:
        parts = urlsplit(url)
        host, own_port, user, password = parts.hostname, parts.port, parts.username, parts.password
    except ValueError:
        # the error's own words would repeat what may be a password
        raise ConfigError(f"{where}a relay URL cannot be read; it is {scheme}://HOST or {scheme}://HOST:PORT") from None
    if not host or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ConfigError(f"{where}a relay URL is {scheme}://HOST or {scheme}://HOST:PORT and nothing behind it")
    if any(ord(char) <= 32 or char in "<>\"'" for char in host) or own_port == 0:
        raise ConfigError(f"{where}a relay URL has no usable host or port")
    if exchangers and (":" in host or host.replace(".", "").isdigit()):
        raise ConfigError(f"{where}an address has no mail exchangers; leave out mx+ before {scheme}://")
    default, tls = _SCHEMES[scheme]
    auth = None
    if user is not None:
        if not user or not password:
            raise ConfigError(f"{where}the relay URL has a user or a password, but not both")
        auth = Auth(unquote(user), unquote(password), literal=True)
        if not auth.user.isprintable() or not auth.secret.isprintable():
            raise ConfigError(f"{where}the user or password in the relay URL has a control character, or is not UTF-8")
    return Endpoint(host, own_port or port or default, tls, lmtp=scheme == "lmtp", exchangers=exchangers), auth
