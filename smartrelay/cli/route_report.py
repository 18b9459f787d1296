"""What `smartrelay route` says of one address, for people and for programs."""

from typing import Any, NamedTuple

from smartrelay.cli.moment import moment
from smartrelay.cli.way import Host, Way, bad_dict, bad_words, trouble_dict, trouble_words
from smartrelay.config import Relay
from smartrelay.mail.status import visible
from smartrelay.routing.relays import IMPLICIT, NO_TLS, OPPORTUNISTIC, STARTTLS, Endpoint
from smartrelay.routing.resolver import Reply
from smartrelay.smtp.opening import Policy
from smartrelay.values import Rate

_TLS = {
    NO_TLS: "no TLS",
    OPPORTUNISTIC: "TLS if offered, the certificate not verified",
    STARTTLS: "STARTTLS required, the certificate verified",
    IMPLICIT: "TLS from the first octet, the certificate verified",
}


class Place(NamedTuple):
    """One host, and how it is spoken to. addresses: those that it is tried at. trouble: why there are none."""

    host: Host
    endpoint: Endpoint
    policy: Policy
    addresses: tuple[str, ...] = ()
    trouble: str = ""

    @property
    def can_be_reached(self) -> bool:
        """Whether there is anything to connect to."""
        return bool(self.endpoint.path or self.addresses)

    @property
    def tls(self) -> str:
        """One of the words of `routing.relays`: as it will be, for without EHLO nothing is offered."""
        plain = not self.policy.extended and self.policy.tls == OPPORTUNISTIC
        return NO_TLS if plain else self.policy.tls

    @property
    def protocol(self) -> str:
        """The one that is spoken."""
        if self.policy.lmtp:
            return "lmtp"
        return "esmtp" if self.policy.extended else "smtp"

    @property
    def mechanism(self) -> str | None:
        """How we sign in, None for not at all."""
        return self.policy.mechanism if self.policy.signs_in else None

    def lines(self, now: float) -> list[str]:
        """The host in a few lines."""
        if self.trouble:
            where = f": {self.trouble}"
        else:
            where = "" if self.addresses in ((), (self.endpoint.host,)) else f" at {', '.join(self.addresses)}"
        lines = [f"{self.host.name}{where}", ", ".join((self.protocol.upper(), *self._security(), self._sign_in()))]
        if self.host.bad is not None:
            behind = f"; tried after the good ones until {moment(self.host.bad.until)}"
            lines.append(bad_words(self.host.bad, now) + behind)
        return lines

    def _security(self) -> list[str]:
        policy, verified = self.policy, self.tls in (STARTTLS, IMPLICIT)
        return [
            _TLS[self.tls] + (f" by {policy.ca_file}" if verified and policy.ca_file else ""),
            *([f"client certificate {policy.certificate}"] if verified and policy.certificate else []),
        ]

    def _sign_in(self) -> str:
        if self.mechanism is None:
            return "no sign-in"
        by = "" if self.mechanism == "auto" else f" by {self.mechanism.upper()}"
        return f"sign-in{f' as {self.policy.user}' if self.policy.user else ''}{by}"

    def as_dict(self, *, remembers: bool) -> dict[str, Any]:
        """The host for programs; without "bad" where nothing is known of that."""
        verified = self.tls in (STARTTLS, IMPLICIT)
        found: dict[str, Any] = {
            "host": self.host.name,
            "addresses": list(self.addresses),
            "protocol": self.protocol,
            "port": self.endpoint.port or None,
            "tls": self.tls,
            "ca_file": (verified and self.policy.ca_file) or None,
            "client_certificate": (verified and self.policy.certificate) or None,
            "user": self.policy.user or None,
            "mechanism": self.mechanism,
            "trouble": self.trouble or None,
        }
        if remembers:
            found["bad"] = bad_dict(self.host.bad) if self.host.bad is not None else None
        return found


class Report(NamedTuple):
    """The way of mail from `sender` ("": the null sender) to `recipient`.

    passed: the rules before the one that matches. replies: what the DNS said. rate: the one for all relays. remembers:
    whether the bad-host memory could be looked at. written: the address of which the aliases made the recipient. sent_as: what
    the From policy makes of the sender.
    """

    recipient: str
    sender: str
    way: Way
    passed: tuple[Relay, ...]
    replies: tuple[Reply, ...]
    places: tuple[Place, ...]
    rate: Rate | None
    remembers: bool
    written: str
    sent_as: str

    def as_text(self, now: float) -> str:
        """For people: a label and a text in each line."""
        rows = [("Address", self.recipient), ("Sender", f"<{self.sender}>"), ("Rule", self._rule())]
        if self.written != self.recipient:
            rows.insert(1, ("Mail of", self.written))
        if self.sent_as != self.sender:
            rows.append(("Sent as", f"<{self.sent_as}>, in the envelope and in From"))
        rows += [("Passed over" if not number else "", _named(relay)) for number, relay in enumerate(self.passed)]
        rows += [("DNS" if not number else "", reply.text) for number, reply in enumerate(self.replies)]
        for number, place in enumerate(self.places, 1):
            rows += [(f"Host {number}" if not at else "", line) for at, line in enumerate(place.lines(now))]
        if self.way.trouble is not None:
            rows.append(("Hosts", f"none: {trouble_words(self.way.trouble)}"))
        if self.way.hop is not None and self.places:
            source = self.way.hop.relay.source_address
            rows += [("By lot", f"{' and '.join(names)}: each pass draws their order anew") for names in self._equals()]
            rows += [("Source", ", ".join(source))] if source else []
            rows += [("Rate", self._rates())] if self._rates() else []
        return "\n".join(visible(f"{label:<12} {text}") for label, text in rows)

    def _rule(self) -> str:
        if self.way.hop is None:
            return "none"
        return f"{_named(self.way.hop.relay)}, the first that matches"

    def _equals(self) -> list[list[str]]:
        """The hosts that the rule calls equal."""
        groups = self.way.hop.groups if self.way.hop is not None else ()
        return [[str(endpoint) for endpoint in group] for group in groups if len(group) > 1]

    def _rates(self) -> str:
        own = self.way.hop.relay.rate if self.way.hop is not None else None
        return ", ".join([*([f"{own} by this rule"] if own else []), *([f"{self.rate} by all rules"] if self.rate else [])])

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        hop = self.way.hop
        relay = hop.relay if hop is not None else None
        return {
            "address": self.recipient,
            "mail_of": self.written if self.written != self.recipient else None,
            "sender": self.sender,
            "sent_as": self.sent_as,
            "relay": relay.name if relay else None,
            "rule": {"sender": list(relay.sender), "recipient": list(relay.recipient)} if relay else None,
            "passed_over": [relay.name for relay in self.passed],
            "dns": [
                {"name": reply.question.name, "type": reply.question.kind, "outcome": reply.outcome, "text": reply.text}
                for reply in self.replies
            ],
            "hosts": [place.as_dict(remembers=self.remembers) for place in self.places],
            "by_lot": self._equals(),
            "source_address": list(relay.source_address) if relay else [],
            "rate": str(relay.rate) if relay and relay.rate else None,
            "rate_of_all": str(self.rate) if self.rate else None,
            "trouble": trouble_dict(self.way.trouble) if self.way.trouble is not None else None,
        }


def _named(relay: Relay) -> str:
    """A rule, and whom it is for."""
    return f"{relay.name} (sender {' '.join(relay.sender)}, recipient {' '.join(relay.recipient)})"
