"""`smartrelay route`: by which rule and to which hosts mail for an address goes, and why."""

import encodings.idna  # noqa: F401  # the system's resolver needs it, when root may be the spool's owner already
import json
import os
import pwd
import threading
import time

import click

from smartrelay import config as configuration
from smartrelay import settings
from smartrelay.cli.caller import Common
from smartrelay.cli.options import common_options
from smartrelay.cli.route_report import Place, Report
from smartrelay.cli.way import Host, Ways, memory_of
from smartrelay.config import Config
from smartrelay.errors import (
    EX_CONFIG,
    EX_NOUSER,
    EX_OK,
    EX_TEMPFAIL,
    AddressError,
    ConfigError,
    NoMailbox,
    SmartRelayError,
    UsageError,
)
from smartrelay.mail import header
from smartrelay.mail.address import canonical, qualified
from smartrelay.relay.factory import factory_for, from_policy
from smartrelay.relay.from_policy import user_id
from smartrelay.routing.bad_hosts import BadHosts
from smartrelay.routing.candidates import Candidate
from smartrelay.routing.relays import NextHop, Routes
from smartrelay.routing.resolver import DNSResolver, Recorder, Reply
from smartrelay.routing.resolver import load as load_resolver
from smartrelay.smtp.connector import Target, addresses_of
from smartrelay.smtp.dialogue import Answer
from smartrelay.smtp.opening import Policy
from smartrelay.submit.aliases import Expansion


@click.command("route")
@click.argument("addresses", nargs=-1, required=True, metavar="ADDRESS...")
@click.option("--sender", metavar="A", help="The envelope sender, '' for that of notices; else you.")
@click.option("--json", "json_wanted", is_flag=True, help="One JSON object a line.")
@common_options
def route(addresses: tuple[str, ...], sender: str | None, json_wanted: bool, common: Common) -> int:
    """Say by which rule and to which hosts mail for an address goes, and why. Sends nothing, and touches no queue.

    \b
    Examples:
      smartrelay route bob@example.org
      smartrelay route --sender news@example.com bob@example.org
    """
    config = configuration.load(common.config, common.spool)
    routes = Routes.of(config, secrets=False)
    if not routes.hops:
        raise ConfigError(f"no relay is configured, so all mail is kept; add a [[relay]] to {config.file}")
    wanted = [_parsed(text, "an address") for text in addresses]
    reverse_path = _sender(sender, config.domain)
    uid = _author(sender)
    _load()
    router = _Router(config, routes, _memory(common, config), uid)
    aliases = Expansion(settings.load(common.config, common.spool))
    code, gap = EX_OK, ""
    for written in wanted:
        try:
            recipients = aliases.of(written)
        except NoMailbox as error:
            common.say(str(error))
            code = code or EX_NOUSER
            continue
        for recipient in recipients:
            report = router.report(reverse_path, recipient, written)
            click.echo(json.dumps(report.as_dict()) if json_wanted else gap + report.as_text(time.time()))
            code, gap = code or _code(report), "\n"
    return code


def _load() -> None:
    """Imports what is needed later while root can: the interpreter may lie where the spool's owner cannot read it."""
    import smartrelay.mail.address_list  # noqa: F401

    load_resolver()


def _parsed(text: str, what: str) -> str:
    """One address as submission takes it. Raises AddressError."""
    parsed = header.addresses(text)
    if len(parsed) != 1:
        raise AddressError(f"{what} must be one address, not {text!a}")
    return parsed[0]


def _sender(text: str | None, domain: str) -> str:
    """The envelope sender: what was given, or whom `sendmail` would take the caller for. Raises AddressError, UsageError."""
    if text is not None:
        return "" if text in ("", "<>") else qualified(_parsed(text, "the sender (--sender)"), domain)
    try:
        login = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        raise UsageError(f"uid {os.getuid()} has no name on this host; give the sender with --sender") from None
    return qualified(canonical(login), domain)


def _author(sender: str | None) -> int:
    """The uid whose mail it would be: of the user who is named as the sender, else the caller's."""
    found = user_id(sender) if sender else None
    return os.getuid() if found is None else found


def _memory(common: Common, config: Config) -> BadHosts | None:
    """The bad-host memory, to look at; None for a caller who may not, who is told."""
    try:
        spool = common.enter_spool().spool
    except SmartRelayError as error:
        common.say(f"the bad-host memory is left out: {error}")
        return None
    return memory_of(spool, common.say, config.mx.bad_host_timeout)


def _code(report: Report) -> int:
    """0 where there is a way, else what keeps the mail."""
    if report.way.hop is None:
        return EX_CONFIG
    if report.way.trouble is not None:
        return EX_NOUSER if report.way.trouble.permanent else EX_TEMPFAIL
    return EX_OK if any(place.can_be_reached for place in report.places) else EX_TEMPFAIL


class _Router:
    """Finds ways; what the DNS and the system have answered is not asked again. uid: whose mail it would be."""

    def __init__(self, config: Config, routes: Routes, memory: BadHosts | None, uid: int) -> None:
        self._config = config
        self._uid = uid
        self._remembers = memory is not None
        self._recorder = Recorder(DNSResolver(config.mx.nameservers, config.timeouts.lookup))
        nothing = BadHosts("", None, warn=lambda sentence: None)
        self._ways = Ways(config, routes, self._recorder, nothing if memory is None else memory)
        self._replies: dict[NextHop | None, tuple[Reply, ...]] = {}
        self._looked_up: dict[Target, tuple[tuple[str, ...], str]] = {}

    def report(self, sender: str, recipient: str, written: str) -> Report:
        """What there is to say of mail from `sender` to `recipient`, who gets what is for `written`."""
        way = self._ways.to(sender, recipient)
        replies = self._replies.setdefault(way.hop, tuple(self._recorder.replies))
        self._recorder.replies.clear()
        relays, before = self._config.relays, len(self._config.relays)
        places: list[Place] = []
        sent_as = sender
        if way.hop is not None:
            before = relays.index(way.hop.relay)
            authors = from_policy(self._config, way.hop)
            sent_as = authors.address(sender, self._uid) if authors is not None and sender else sender
            factory = factory_for(way.hop, self._config, threading.Event())
            pairs = zip(way.hosts, way.candidates, strict=True)
            places = [self._place(host, candidate, factory.policy(candidate)) for host, candidate in pairs]
        return Report(
            recipient,
            sender,
            way,
            relays[:before],
            replies,
            tuple(places),
            self._config.limits.rate,
            remembers=self._remembers,
            written=written,
            sent_as=sent_as,
        )

    def _place(self, host: Host, candidate: Candidate, policy: Policy) -> Place:
        endpoint = candidate.endpoint
        if endpoint.path or candidate.addresses:
            return Place(host, endpoint, policy, candidate.addresses)
        target = Target(endpoint.host, endpoint.port)
        if target not in self._looked_up:
            self._looked_up[target] = self._look_up(target)
        return Place(host, endpoint, policy, *self._looked_up[target])

    def _look_up(self, target: Target) -> tuple[tuple[str, ...], str]:
        """The addresses of a host that the configuration names, or why there are none."""
        found = addresses_of(target, self._config.timeouts.lookup)
        if isinstance(found, Answer):
            return (), found.text
        return tuple(dict.fromkeys(str(where[0]) for _, where in found)), ""
