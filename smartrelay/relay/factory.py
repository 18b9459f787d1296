"""Factories know how to reach one next hop, and build relayers on its connections."""

import threading
from typing import TYPE_CHECKING

from smartrelay.config import Config
from smartrelay.relay.course import Stop
from smartrelay.relay.relayer import ESMTPManagedRelayer, SMTPManagedRelayer
from smartrelay.routing.candidates import Candidate
from smartrelay.routing.relays import NextHop
from smartrelay.smtp.connector import Connector, Target, connect
from smartrelay.smtp.dialogue import Answer
from smartrelay.smtp.opening import Policy, open_session
from smartrelay.smtp.session import Session
from smartrelay.smtp.transcript import Listener

if TYPE_CHECKING:
    from smartrelay.relay.attempt import _AttemptManager
    from smartrelay.relay.from_policy import FromPolicy


class SMTPManagedRelayerFactory:
    """Opens sessions of plain SMTP to the hosts of one next hop. live: the sessions that stand now. listener: who reads their
    dialogues along."""

    relayer: type[SMTPManagedRelayer] = SMTPManagedRelayer

    def __init__(
        self,
        hop: NextHop,
        config: Config,
        stopping: threading.Event,
        connector: Connector = connect,
        listener: Listener | None = None,
    ) -> None:
        self._hop = hop
        self._config = config
        self._stopping = stopping
        self._connector = connector
        self._listener = listener
        self._authors = from_policy(config, hop)
        self.live: set[Session] = set()

    def policy(self, candidate: Candidate) -> Policy:
        """How this next hop is spoken to at `candidate`."""
        endpoint = candidate.endpoint
        auth, relay = self._hop.auth, self._hop.relay
        return Policy(
            hostname=self._config.hostname,
            timeouts=self._config.timeouts,
            tls=endpoint.tls,
            ca_file=relay.ca_file,
            signs_in=auth is not None,
            user=auth.user if auth else "",
            secret=self._hop.secret,
            mechanism=auth.mechanism if auth else "auto",
            extended=self.relayer.extended,
            lmtp=endpoint.lmtp,
            window=relay.pipeline_window or self._config.limits.pipeline_window,
            certificate=relay.client_certificate,
            key=relay.client_key,
            exchanger=candidate.exchanger,
            listener=self._listener,
        )

    def open_session(self, candidate: Candidate) -> Session | Answer:
        """A session with `candidate`, or the answer that says why there is none. Raises ConfigError (unusable files)."""
        endpoint = candidate.endpoint
        target = Target(
            endpoint.host, endpoint.port, endpoint.path, self._hop.relay.source_address, addresses=candidate.addresses
        )
        return open_session(target, self.policy(candidate), connector=self._connector)

    def build_relayer(self, stop: Stop, manager: "_AttemptManager") -> SMTPManagedRelayer | Answer:
        """A relayer on a new connection, or the answer that says why there is none. Raises ConfigError (unusable files)."""
        session = self.open_session(stop[1])
        if isinstance(session, Answer):
            return session
        self.live.add(session)
        session.on_close = self.live.discard
        session.client.wire.on_wait = manager.connections.pace.note
        most = self._config.limits.max_messages_per_connection
        return self.relayer(session, manager, stop, most, self._stopping, self._authors)


class ESMTPManagedRelayerFactory(SMTPManagedRelayerFactory):
    """Opens ESMTP sessions."""

    relayer = ESMTPManagedRelayer


def from_policy(config: Config, hop: NextHop) -> "FromPolicy | None":
    """The From policy for what goes to this next hop, None for none."""
    own = hop.relay.from_rules
    rules = config.submit.from_rules if own is None else own
    if not rules:
        return None
    from smartrelay.relay.from_policy import FromPolicy

    return FromPolicy(rules, hop.relay.original_from or config.submit.original_from)


def factory_for(
    hop: NextHop,
    config: Config,
    stopping: threading.Event,
    listener: Listener | None = None,
    connector: Connector = connect,
) -> SMTPManagedRelayerFactory:
    """The factory that speaks what a next hop's rule asks for."""
    kind = ESMTPManagedRelayerFactory if hop.protocol == "esmtp" else SMTPManagedRelayerFactory
    return kind(hop, config, stopping, connector, listener)
