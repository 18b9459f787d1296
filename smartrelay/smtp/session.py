"""A session with one server: opened according to policy, then one transaction after another.

All that the peer or the network does comes back as answers, one for each recipient; nothing is raised for it.
"""

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from smartrelay.config import Timeouts
from smartrelay.mail.envelope import Facts
from smartrelay.smtp import content, tls
from smartrelay.smtp.client import SessionBroken, SMTPClient
from smartrelay.smtp.connector import Connector, connect
from smartrelay.smtp.dialogue import Answer, Phase, Trouble, path_command, xtext


@dataclass(frozen=True, slots=True)
class Policy:
    """How to speak to a server. tls: "none", "opportunistic", "starttls" or "implicit"; the last two are verified.

    user "": no sign-in. extended: EHLO and all extensions, or HELO and none.
    """

    hostname: str
    timeouts: Timeouts
    tls: str = "opportunistic"
    ca_file: str = ""
    user: str = ""
    secret: str = field(default="", repr=False)
    mechanism: str = "auto"
    extended: bool = True


@dataclass(frozen=True, slots=True)
class Transaction:
    """One message for some recipients. recipients: (canonical address, NOTIFY value, ORCPT value or "")."""

    reverse_path: str
    recipients: list[tuple[str, str, str]]
    open_text: Callable[[], BinaryIO]
    facts: Facts
    ret: str = ""
    envid: str = ""


class Session:
    """One connection that is open and ready for transactions. peer: "host[address]:port" for logs and notices."""

    def __init__(self, client: SMTPClient, peer: str) -> None:
        self.client = client
        self.peer = peer
        self.over = False
        self.completed = 0
        self.on_close: Callable[[Session], None] = lambda session: None
        self._fresh = True

    @property
    def phase(self) -> Phase:
        """What is being done right now (read by another thread that wants to end it)."""
        return self.client.phase

    def transact(self, wanted: Transaction) -> list[Answer]:
        """Hands the message over; one answer for each recipient, in order."""
        answers: list[Answer | None] = [None] * len(wanted.recipients)
        try:
            whole = self._transact(wanted, answers)
        except SessionBroken as broken:
            self.over = True
            self.client.close()
            whole = broken.answer
        if whole.reply is not None and whole.reply.code == 421:
            self.over = True  # the server is about to close (RFC 5321 section 3.8)
        return [whole if answer is None else answer for answer in answers]

    def _transact(self, wanted: Transaction, answers: list[Answer | None]) -> Answer:
        """Fills in the answers of recipients that were refused; returns the answer for all the others."""
        client = self.client
        try:
            text = content.prepare(wanted.open_text, wanted.facts, eight_bit="8BITMIME" in client.extensions)
            lines = self._envelope(wanted, text)
        except content.NotSendable as error:
            return Answer(Phase.MAIL, trouble=Trouble.CONTENT, text=f"{error.dsn} {error.reason}")
        if not self._fresh:
            reset = client.command(b"RSET\r\n", Phase.RSET)
            if reset.kind != 2:
                self.over = True
                return Answer(Phase.RSET, reset)
        self._fresh = False
        given: list[Answer] = []
        try:
            client.group(lines, given)
        except SessionBroken:
            if not given or given[0].good:
                raise
            # the server said no to MAIL and hung up on what was pipelined behind it: its no is the answer
            self.over = True
            client.close()
            return given[0]
        finally:
            # who was refused stays refused, even when the session broke behind that (RFC 5321 section 3.8)
            if given and given[0].good:
                for index, answer in enumerate(given[1 : len(answers) + 1]):
                    answers[index] = None if answer.good else answer
        accepted = given[0].good and any(answer is None for answer in answers)
        asked = given[-1].phase is Phase.DATA and given[-1].kind == 3
        if not accepted or not asked:
            return self._wind_up(given[-1] if given[0].good else given[0], asked=asked)
        end = Answer(Phase.END, client.send_content(text.wire()))
        self._fresh = True
        self.completed += 1
        return end

    def _wind_up(self, verdict: Answer, *, asked: bool) -> Answer:
        """Ends a transaction that goes nowhere. A server that asked for a message for nobody gets an empty one, and what it
        says to that counts for nothing (RFC 2920 section 3.1)."""
        if asked:
            try:
                self.client.transmit(content.END, Phase.END, self.client.timeouts.data_block)
                self.client.reply(Phase.END, self.client.timeouts.data_end)
            except SessionBroken:
                self.over = True
                self.client.close()
        if verdict.kind == 2:  # 2yz where 354 was due: whatever the server thinks, no message was sent
            self.over = True
            return Answer(verdict.phase, verdict.reply, Trouble.PROTOCOL, "the server did not ask for the message after DATA")
        return verdict

    def _envelope(self, wanted: Transaction, text: content.Content) -> list[tuple[Phase, bytes]]:
        """MAIL, RCPT and DATA with the parameters that the server offered, and no others."""
        offered = self.client.extensions
        addresses = [wanted.reverse_path, *(address for address, _, _ in wanted.recipients)]
        international = not all(address.isascii() for address in addresses)
        if international and "SMTPUTF8" not in offered:
            raise content.NotSendable("the server does not take internationalised addresses", "5.6.7")
        parameters = []
        if "SIZE" in offered:
            limit = offered["SIZE"].strip()
            if limit.isdecimal() and 0 < int(limit) < text.octets:
                raise content.NotSendable(f"the message has {text.octets} octets, the server takes {int(limit)}", "5.3.4")
            parameters.append(f"SIZE={text.octets}")
        if text.eight_bit and "8BITMIME" in offered:
            parameters.append("BODY=8BITMIME")
        if international:
            parameters.append("SMTPUTF8")
        dsn = "DSN" in offered
        if dsn and wanted.reverse_path:
            parameters += _given(("RET", wanted.ret), ("ENVID", xtext(wanted.envid)))
        lines = [(Phase.MAIL, path_command("MAIL FROM", wanted.reverse_path, parameters))]
        for address, notify, orcpt in wanted.recipients:
            wishes = _given(("NOTIFY", notify), ("ORCPT", orcpt)) if dsn else []
            lines.append((Phase.RCPT, path_command("RCPT TO", address, wishes)))
        return [*lines, (Phase.DATA, b"DATA\r\n")]

    def close(self) -> None:
        """Ends the session, politely where it still stands."""
        if self.over:
            self.client.close()
        else:
            self.over = True
            self.client.goodbye()
        self.on_close(self)


def _given(*parameters: tuple[str, str]) -> list[str]:
    """The parameters that have a value: what was not asked for is never invented (RFC 3461 section 5.2.1)."""
    return [f"{name}={value}" for name, value in parameters if value]


def open_session(host: str, port: int, policy: Policy, *, connector: Connector = connect) -> Session | Answer:
    """Connects, greets, secures and signs in as `policy` wants; the session, or the answer that ended the try.

    Where TLS is only better than nothing and the hand-shake fails, one new connection does without (RFC 3207 section 4.1).
    """
    opened = _open(host, port, policy, connector)
    if policy.tls == "opportunistic" and isinstance(opened, Answer) and _broke_at_tls(opened):
        return _open(host, port, replace(policy, tls="none"), connector)
    return opened


def _broke_at_tls(answer: Answer) -> bool:
    return answer.phase is Phase.TLS or (answer.phase is Phase.STARTTLS and answer.trouble is Trouble.LOST)


def _open(host: str, port: int, policy: Policy, connector: Connector) -> Session | Answer:
    connection = connector(host, port, policy.timeouts)
    if isinstance(connection, Answer):
        return connection
    client = SMTPClient(policy.hostname, policy.timeouts)
    client.attach(connection)
    address = connection.getpeername()[0]
    try:
        answer = _introduce(client, host, policy)
    except SessionBroken as broken:
        client.close()
        return broken.answer
    if answer is not None:
        client.goodbye()
        return answer
    return Session(client, f"{host}[{address}]:{port}")


def _introduce(client: SMTPClient, host: str, policy: Policy) -> Answer | None:
    """From the connection to the first MAIL; None when all went as the policy wants it."""
    if policy.tls == "implicit":
        secured = client.secure(tls.verified(policy.ca_file), host)
        if secured.trouble is not None:
            return secured
    greeting = Answer(Phase.GREETING, client.reply(Phase.GREETING, policy.timeouts.greeting))
    if not greeting.good:
        return greeting
    answer = client.hello(extended=policy.extended)
    if not answer.good:
        return answer
    if policy.tls in ("starttls", "opportunistic") and (trouble := _upgrade(client, host, policy)) is not None:
        return trouble
    if policy.user:
        answer = client.authenticate(policy.user, policy.secret, policy.mechanism)
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
    context: ssl.SSLContext = tls.verified(policy.ca_file) if required else tls.opportunistic()
    answer = client.start_tls(context, host)
    if answer.reply is not None:
        return answer if required else None
    if answer.trouble is not None:
        return answer
    answer = client.hello(extended=True)
    return None if answer.good else answer
