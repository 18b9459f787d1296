"""Factories know how to reach one next hop, and build relayers on its connections."""

import threading
from typing import TYPE_CHECKING

from smartrelay.config import Config
from smartrelay.relay.relayer import ESMTPManagedRelayer, SMTPManagedRelayer
from smartrelay.routing.relays import Endpoint, NextHop
from smartrelay.smtp.connector import Connector, connect
from smartrelay.smtp.dialogue import Answer
from smartrelay.smtp.session import Policy, Session, open_session

if TYPE_CHECKING:
    from smartrelay.relay.attempt import _AttemptManager


class SMTPManagedRelayerFactory:
    """Opens sessions of plain SMTP to the hosts of one next hop. live: the sessions that stand now."""

    relayer: type[SMTPManagedRelayer] = SMTPManagedRelayer

    def __init__(self, hop: NextHop, config: Config, stopping: threading.Event, connector: Connector = connect) -> None:
        self._hop = hop
        self._config = config
        self._stopping = stopping
        self._connector = connector
        self.live: set[Session] = set()

    def policy(self, endpoint: Endpoint) -> Policy:
        """How this next hop is spoken to at `endpoint`."""
        auth = self._hop.auth
        return Policy(
            hostname=self._config.hostname,
            timeouts=self._config.timeouts,
            tls=endpoint.tls,
            ca_file=self._hop.ca_file,
            user=auth.user if auth else "",
            secret=self._hop.secret,
            mechanism=auth.mechanism if auth else "auto",
            extended=self.relayer.extended,
        )

    def build_relayer(self, endpoint: Endpoint, manager: "_AttemptManager") -> SMTPManagedRelayer | Answer:
        """A relayer on a new connection, or the answer that says why there is none. Raises ConfigError (ca_file)."""
        session = open_session(endpoint.host, endpoint.port, self.policy(endpoint), connector=self._connector)
        if isinstance(session, Answer):
            return session
        self.live.add(session)
        session.on_close = self.live.discard
        return self.relayer(session, manager, self._config.limits.max_messages_per_connection, self._stopping)


class ESMTPManagedRelayerFactory(SMTPManagedRelayerFactory):
    """Opens ESMTP sessions."""

    relayer = ESMTPManagedRelayer
