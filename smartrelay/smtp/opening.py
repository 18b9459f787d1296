"""Opening a session according to policy: connect, greet, secure, sign in."""

import time
from collections.abc import Callable
from typing import NamedTuple

from smartrelay.config import Timeouts
from smartrelay.mail.international import NoSuchDomainName, a_labels
from smartrelay.smtp import tls
from smartrelay.smtp.client import SMTPClient
from smartrelay.smtp.connector import Connector, Target, connect
from smartrelay.smtp.dialogue import Answer, Phase, Trouble
from smartrelay.smtp.sasl import Account
from smartrelay.smtp.session import Session
from smartrelay.smtp.transcript import Listener, Transcript
from smartrelay.smtp.wire import SessionBroken

ADDRESSES = 5
"""Addresses of one host that a session is tried with: each may take a whole time limit."""

_THIS_ADDRESS = (Phase.CONNECT, Phase.GREETING, Phase.EHLO, Phase.TLS)
"""Where a session that fails says something of one address; what comes after is known of the host."""


class Policy(NamedTuple):
    """How to speak to a server. tls: "none", "opportunistic", "starttls" or "implicit"; the last two are verified.

    user "": no sign-in, unless the mechanism is EXTERNAL. extended: EHLO and all extensions, or HELO and none. window:
    messages in doubt at once. certificate, key: PEM files that say who we are, or "". exchanger: of the recipient's domain; if
    it calls itself as we do, it is this host, and mail for it goes round. listener: who reads the dialogue along.
    """

    hostname: str
    timeouts: Timeouts
    tls: str = "opportunistic"
    ca_file: str = ""
    signs_in: bool = False
    user: str = ""
    secret: str = ""
    mechanism: str = "auto"
    extended: bool = True
    lmtp: bool = False
    window: int = 1
    certificate: str = ""
    key: str = ""
    exchanger: bool = False
    listener: Listener | None = None

    def __repr__(self) -> str:
        return f"Policy(hostname={self.hostname!r}, tls={self.tls!r}, user={self.user!r})"  # never the secret


def open_session(
    target: Target, policy: Policy, *, connector: Connector = connect, clock: Callable[[], float] = time.monotonic
) -> Session | Answer:
    """The session, or the answer that ended the try. Raises ConfigError for files of the policy that cannot be used.

    A host of several addresses is tried at each of them, as long as it is this one address that fails us (RFC 5321 section
    5.1): up to `ADDRESSES` that let us connect and then no further.
    """
    try:
        # neither the resolver nor TLS knows IDNA 2008: they would take `faß.example` for `fass.example`, another's host
        target = target._replace(host=a_labels(target.host))
    except NoSuchDomainName as error:
        return Answer(Phase.LOOKUP, trouble=Trouble.NO_HOST, text=str(error))
    answer: Answer | None = None
    tried: list[str] = []
    without: list[str] = []
    while len(tried) < ADDRESSES:
        seen = len(tried)
        opened = _open_at_one(target._replace(without=without), policy, connector, clock, tried)
        if not isinstance(opened, Answer):
            return opened
        if len(set(tried)) == seen:
            return answer or opened  # no address is left that has not been tried
        without += tried[seen:]
        answer = opened
        host_wide = opened.trouble in (Trouble.CERTIFICATE, Trouble.LOOP)
        if target.path or host_wide or opened.phase not in _THIS_ADDRESS:
            break
    return answer or Answer(Phase.CONNECT, trouble=Trouble.NO_HOST, text=f"host {target.host} has no address")


def _open_at_one(
    target: Target, policy: Policy, connector: Connector, clock: Callable[[], float], tried: list[str]
) -> Session | Answer:
    """A session with one address of the host, which is added to `tried`.

    A second connection is made, once, to a server that hangs up on EHLO (it gets HELO), and to one whose TLS fails where TLS
    was only better than nothing (it is spoken to in clear: RFC 3207 section 4.1). Never where TLS or a sign-in is required.
    """
    opened = _open(target, policy, connector, clock, tried)
    if not isinstance(opened, Answer) or policy.tls in ("starttls", "implicit") or policy.signs_in:
        return opened
    again = target if target.path else target._replace(addresses=tuple(tried[-1:]), without=None)
    if opened.phase is Phase.TLS and policy.tls == "opportunistic":
        return _open(again, policy._replace(tls="none"), connector, clock, [])
    if opened.phase is Phase.EHLO and opened.trouble is Trouble.LOST and policy.extended and not policy.lmtp:
        return _open(again, policy._replace(extended=False), connector, clock, [])
    return opened


def _open(
    target: Target, policy: Policy, connector: Connector, clock: Callable[[], float], tried: list[str]
) -> Session | Answer:
    connection = connector(target, policy.timeouts)
    if isinstance(connection, Answer):
        return connection
    try:
        where = "" if target.path else connection.getpeername()[0]
    except OSError:
        connection.close()
        return Answer(Phase.GREETING, trouble=Trouble.LOST, text=f"{Trouble.LOST} while {Phase.GREETING}")
    tried.append(where)
    peer = target.path or f"{target.host}[{where}]:{target.port}"
    client = SMTPClient(connection, policy.hostname, policy.timeouts, lmtp=policy.lmtp, clock=clock)
    if policy.listener is not None:
        client.wire.transcript = Transcript(peer, policy.listener)
    try:
        answer = _introduce(client, target, policy)
    except SessionBroken as broken:
        client.close()
        return broken.answer
    except BaseException:
        client.close()
        raise
    if answer is not None:
        if answer.reply is not None and answer.reply.code == 421:
            client.close()  # the server is about to (RFC 5321 section 3.8)
        else:
            client.goodbye()
        return answer
    return Session(client, peer, window=policy.window)


def _introduce(client: SMTPClient, target: Target, policy: Policy) -> Answer | None:
    """From the connection to the first MAIL; None when all went as the policy wants it."""
    if policy.tls == "implicit":
        answer = client.secure(tls.verified(policy.ca_file, policy.certificate, policy.key), target.host)
        if answer.trouble is not None:
            return answer
    answer = _unless_ours(client.wire.greeting(), client, policy)
    if not answer.good:
        return answer
    answer = _unless_ours(client.hello(extended=policy.extended), client, policy)
    if not answer.good:
        return answer
    if policy.tls in ("starttls", "opportunistic") and (trouble := _upgrade(client, target.host, policy)) is not None:
        return trouble
    if policy.signs_in:
        certificate = bool(policy.certificate and client.tls)
        account = Account(policy.user, policy.secret, target.host, target.port)
        answer = client.authenticate(account, policy.mechanism, certificate=certificate)
        if not answer.good:
            return answer
    return None


def _unless_ours(answer: Answer, client: SMTPClient, policy: Policy) -> Answer:
    """The same answer, unless it is an exchanger's that calls itself as we do in its first word (RFC 5321 sections 4.2 and
    4.1.1.1): then it is this host, by an address that we did not know as ours.

    An address in brackets is no sign: behind a translating router two hosts may well have the same one.
    """
    if not policy.exchanger or not answer.good or answer.reply is None:
        return answer
    called = answer.reply.lines[0].partition(" ")[0]
    if called.startswith("[") or called.removesuffix(".").lower() != client.name().lower():
        return answer
    text = f"mail loops back to this host: the server calls itself {called}, as we do"
    return Answer(answer.phase, trouble=Trouble.LOOP, text=text)


def _upgrade(client: SMTPClient, host: str, policy: Policy) -> Answer | None:
    """STARTTLS where it is offered; where it is required, nothing else will do."""
    required = policy.tls == "starttls"
    if "STARTTLS" not in client.extensions:
        if required:
            return Answer(
                Phase.STARTTLS, trouble=Trouble.NO_TLS, text="TLS is required, but the server does not offer STARTTLS"
            )
        return None
    context = tls.verified(policy.ca_file, policy.certificate, policy.key) if required else tls.opportunistic()
    answer = client.start_tls(context, host)
    if answer.reply is not None:
        return answer if required or answer.reply.code == 421 else None
    if answer.trouble is not None:
        return answer
    answer = client.hello(extended=True)
    return None if answer.good else answer
