"""One host, tried as a pass would: looked up, connected to, greeted, secured, signed in at; and then QUIT."""

import threading
import time
from socket import socket

from smartrelay.checks.finding import FAIL, OK, WARN, Finding
from smartrelay.checks.remedy import remedy
from smartrelay.config import Config, Timeouts
from smartrelay.errors import ConfigError
from smartrelay.mail.status import visible
from smartrelay.relay.factory import factory_for
from smartrelay.routing.candidates import Candidate
from smartrelay.routing.relays import IMPLICIT, STARTTLS, NextHop
from smartrelay.smtp.connector import Connector, Target, connect
from smartrelay.smtp.dialogue import Answer, Phase, Trouble
from smartrelay.smtp.opening import Policy
from smartrelay.smtp.session import Session
from smartrelay.smtp.transcript import Listener

RENEWAL = 14
"""Days before its end at which a certificate should have been renewed: with thirty at most, all who renew by machine have."""


def impatient(config: Config, seconds: float) -> Config:
    """The same configuration, with no time limit longer than that."""
    return config._replace(timeouts=Timeouts(*(min(each, seconds) for each in config.timeouts)))


def within(seconds: float) -> Connector:
    """A connector that begins with no address more once so many seconds are over."""
    end = time.monotonic() + seconds

    def connector(target: Target, timeouts: Timeouts) -> socket | Answer:
        if time.monotonic() >= end:
            return Answer(Phase.CONNECT, trouble=Trouble.TIMEOUT, text=f"no time was left to connect to {target}")
        return connect(target, timeouts)

    return connector


def try_host(
    hop: NextHop, candidate: Candidate, config: Config, seconds: float, now: float, listener: Listener | None = None
) -> list[Finding]:
    """What came of it: the session, and the certificate where one was verified. now: Unix seconds."""
    factory = factory_for(hop, impatient(config, seconds), threading.Event(), listener, within(seconds))
    relay, host = hop.name, str(candidate)
    try:
        opened = factory.open_session(candidate)
    except ConfigError as error:
        return [Finding(FAIL, "host", str(error), "name a PEM file that the spool's owner can read", relay, host)]
    if isinstance(opened, Answer):
        from_where = hop.relay.source_address and opened.trouble is Trouble.NO_NETWORK
        mend = "is source_address one of this machine's? if so, look at its network" if from_where else remedy(opened)
        return [Finding(FAIL, "host", refusal(opened), mend, relay, host)]
    words, certificate = _standing(opened, factory.policy(candidate)), opened.client.certificate
    opened.close()
    found = [Finding(OK, "host", words, "", relay, host)]
    if certificate is not None:
        found.append(_certificate(certificate.subject, certificate.issuer, certificate.ends, now, relay, host))
    return found


def late(hop: NextHop, candidate: Candidate, seconds: float) -> Finding:
    """A host that was not through with all of it in time."""
    words = f"it was not through after {seconds:g} s"
    return Finding(FAIL, "host", words, "the server is very slow: try --timeout 1m", hop.name, str(candidate))


def refusal(answer: Answer) -> str:
    """Why no session stands, in the server's own words where it spoke."""
    if answer.trouble is None and answer.reply is not None:
        return visible(f"{answer.phase}: {answer.reply.text}")
    return visible(answer.text or str(answer.trouble))


def _standing(session: Session, policy: Policy) -> str:
    client = session.client
    protocol = "LMTP" if client.lmtp else "ESMTP" if client.extensions else "SMTP"
    verified = policy.tls in (STARTTLS, IMPLICIT)
    tls = f"{client.tls}, {'verified' if verified else 'the certificate not verified'}" if client.tls else "in clear"
    if policy.signs_in:
        sign_in = f"signed in as {policy.user}" if policy.user else "signed in by certificate"
    else:
        sign_in = "no sign-in" + (", though one is offered" if "AUTH" in client.extensions else "")
    size = client.extensions.get("SIZE", "")
    largest = [f"takes {int(size)} octets at most"] if size.isdecimal() and int(size) else []
    return visible("; ".join([session.peer, protocol, tls, sign_in, *largest]))


def _certificate(subject: str, issuer: str, ends: float, now: float, relay: str, host: str) -> Finding:
    days = int((ends - now) // 86400)
    date = time.strftime("%Y-%m-%d", time.gmtime(ends))
    words = visible(f"{subject}, issued by {issuer}, ends in {days} day{'' if days == 1 else 's'} ({date})")
    if days < RENEWAL:
        return Finding(WARN, "certificate", words, "whose server it is has to renew it", relay, host, ends)
    return Finding(OK, "certificate", words, "", relay, host, ends)
