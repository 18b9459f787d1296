"""Opening a session according to policy: connect, greet, secure, sign in."""

import time
from collections.abc import Callable
from typing import NamedTuple

from smartrelay.config import Timeouts
from smartrelay.smtp import tls
from smartrelay.smtp.client import SMTPClient
from smartrelay.smtp.connector import Connector, Target, connect
from smartrelay.smtp.dialogue import Answer, Phase, Trouble
from smartrelay.smtp.session import Session
from smartrelay.smtp.wire import SessionBroken


class Policy(NamedTuple):
    """How to speak to a server. tls: "none", "opportunistic", "starttls" or "implicit"; the last two are verified.

    user "": no sign-in, unless the mechanism is EXTERNAL. extended: EHLO and all extensions, or HELO and none. window:
    messages in doubt at once. certificate, key: PEM files that say who we are, or "".
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

    def __repr__(self) -> str:
        return f"Policy(hostname={self.hostname!r}, tls={self.tls!r}, user={self.user!r})"  # never the secret


def open_session(
    target: Target, policy: Policy, *, connector: Connector = connect, clock: Callable[[], float] = time.monotonic
) -> Session | Answer:
    """The session, or the answer that ended the try. Raises ConfigError for files of the policy that cannot be used.

    A second connection is made, once, to a server that hangs up on EHLO (it gets HELO), and to one whose TLS fails where TLS
    was only better than nothing (it is spoken to in clear: RFC 3207 section 4.1). Never where TLS or a sign-in is required.
    """
    opened = _open(target, policy, connector, clock)
    if not isinstance(opened, Answer) or policy.tls in ("starttls", "implicit") or policy.signs_in:
        return opened
    if opened.phase is Phase.TLS and policy.tls == "opportunistic":
        return _open(target, policy._replace(tls="none"), connector, clock)
    if opened.phase is Phase.EHLO and opened.trouble is Trouble.LOST and policy.extended and not policy.lmtp:
        return _open(target, policy._replace(extended=False), connector, clock)
    return opened


def _open(target: Target, policy: Policy, connector: Connector, clock: Callable[[], float]) -> Session | Answer:
    connection = connector(target, policy.timeouts)
    if isinstance(connection, Answer):
        return connection
    try:
        peer = target.path or f"{target.host}[{connection.getpeername()[0]}]:{target.port}"
    except OSError:
        connection.close()
        return Answer(Phase.GREETING, trouble=Trouble.LOST, text=f"{Trouble.LOST} while {Phase.GREETING}")
    client = SMTPClient(connection, policy.hostname, policy.timeouts, lmtp=policy.lmtp, clock=clock)
    try:
        answer = _introduce(client, target.host, policy)
    except SessionBroken as broken:
        client.close()
        return broken.answer
    except BaseException:
        client.close()
        raise
    if answer is not None:
        client.goodbye()
        return answer
    return Session(client, peer, window=policy.window)


def _introduce(client: SMTPClient, host: str, policy: Policy) -> Answer | None:
    """From the connection to the first MAIL; None when all went as the policy wants it."""
    if policy.tls == "implicit":
        answer = client.secure(tls.verified(policy.ca_file, policy.certificate, policy.key), host)
        if answer.trouble is not None:
            return answer
    answer = client.wire.greeting()
    if not answer.good:
        return answer
    answer = client.hello(extended=policy.extended)
    if not answer.good:
        return answer
    if policy.tls in ("starttls", "opportunistic") and (trouble := _upgrade(client, host, policy)) is not None:
        return trouble
    if policy.signs_in:
        certificate = bool(policy.certificate and client.tls)
        answer = client.authenticate(policy.user, policy.secret, policy.mechanism, certificate=certificate)
        if not answer.good:
            return answer
    return None


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
