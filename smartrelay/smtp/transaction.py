"""One mail transaction (RFC 5321 section 3.3): what is wanted, what is sent for it, and what was said to it. No socket.

The envelope carries the parameters that the server has offered and no others. Addresses leave here in a form that the
server can take: a domain that is not ASCII as A-labels, where that is enough (RFC 6531 section 3.2).
"""

from collections.abc import Callable, Iterable

from smartrelay.mail.envelope import Facts
from smartrelay.mail.international import NoSuchDomainName, a_label_path
from smartrelay.smtp import content
from smartrelay.smtp.dialogue import Answer, Phase, Reply, Trouble, path_command, xtext

Line = tuple[Phase, bytes]
_NEEDS_UTF8 = "5.6.7"


class Transaction:
    """One message for some recipients, as the caller wants it. recipients: (canonical address, NOTIFY value, ORCPT value
    or ""). cargo: whatever the caller knows it by."""

    __slots__ = ("cargo", "envid", "facts", "recipients", "ret", "reverse_path", "text")

    def __init__(
        self,
        reverse_path: str,
        recipients: list[tuple[str, str, str]],
        text: Callable[[], Iterable[bytes]],
        facts: Facts,
        ret: str = "",
        envid: str = "",
        cargo: object = None,
    ) -> None:
        self.reverse_path = reverse_path
        self.recipients = recipients
        self.text = text
        self.facts = facts
        self.ret = ret
        self.envid = envid
        self.cargo = cargo


class Flight:
    """A transaction for the recipients with these indices, under way with one server.

    answers: what stands for a recipient already (it was refused, or cannot be named there). held_over: recipients that the
    server had no more room for in this transaction, to be sent in the next.
    """

    __slots__ = ("_asked", "accepted", "answers", "content", "held_over", "mail", "recipients", "refused", "wanted")

    def __init__(
        self,
        wanted: Transaction,
        text: content.Content,
        mail: bytes,
        recipients: list[tuple[int, bytes]],
        answers: dict[int, Answer],
    ) -> None:
        self.wanted = wanted
        self.content = text
        self.mail = mail
        self.recipients = recipients
        self.answers = answers
        self.held_over: list[int] = []
        self.refused: Answer | None = None
        self.accepted: list[int] = []
        self._asked = 0

    def lines(self) -> list[Line]:
        """MAIL and RCPT."""
        return [(Phase.MAIL, self.mail), *((Phase.RCPT, line) for _, line in self.recipients)]

    def take(self, answer: Answer) -> None:
        """The answer to MAIL or to the next RCPT."""
        if answer.phase is Phase.MAIL:
            self.refused = None if answer.good else answer
            return
        index = self.recipients[self._asked][0]
        self._asked += 1
        if self.refused is not None:
            return  # a no to MAIL is everybody's, whatever is said to what was pipelined behind it
        if answer.good:
            self.accepted.append(index)
        elif self.accepted and answer.reply is not None and _too_many(answer.reply):
            self.held_over.append(index)
        else:
            self.answers[index] = answer

    @property
    def wants_text(self) -> bool:
        """Whether anybody is there to send the text to."""
        return self.refused is None and bool(self.accepted)

    @property
    def is_one_too_many(self) -> bool:
        """Whether the server found too many recipients before it was told of any: it means messages in this session."""
        reply = self.refused.reply if self.refused is not None else None
        return reply is not None and (reply.code, reply.enhanced) == (452, "4.5.3")

    def end(self, answer: Answer) -> dict[int, Answer]:
        """What came of it: `answer` for all for whom nothing stands yet. Who was refused before stays refused, even when
        the session breaks behind that (RFC 5321 section 3.8)."""
        whole = self.refused or answer
        found = {index: self.answers.get(index, whole) for index, _ in self.recipients}
        found |= self.answers
        for index in self.held_over:
            found.pop(index, None)
        return found


def _too_many(reply: Reply) -> bool:
    """Whether the server only has no room for more recipients in this transaction (RFC 5321 section 4.5.3.1.10): 452, and
    552 where nothing says that it means a mailbox or a size."""
    return reply.code == 452 or (reply.code == 552 and reply.enhanced in ("5.0.0", "5.5.3"))


def prepare(wanted: Transaction, indices: Iterable[int], offered: dict[str, str]) -> Flight:
    """Makes a transaction ready for a server with these extensions. Raises content.NotSendable."""
    utf8 = "SMTPUTF8" in offered
    sender, international = _path(wanted.reverse_path, utf8)
    text, raw = _text(wanted, offered)
    international = international or raw
    refused: dict[int, Answer] = {}
    paths = []
    for index in indices:
        try:
            path, special = _path(wanted.recipients[index][0], utf8)
        except content.NotSendable as error:
            refused[index] = unsendable(error)
            continue
        paths.append((index, path))
        international = international or special
    if not paths:
        return Flight(wanted, text, b"", [], refused)
    mail = path_command("MAIL FROM", sender, _mail_parameters(wanted, text, offered, international))
    dsn = "DSN" in offered
    lines = [(index, path_command("RCPT TO", path, _wishes(wanted, index) if dsn else [])) for index, path in paths]
    return Flight(wanted, text, mail, lines, refused)


def _text(wanted: Transaction, offered: dict[str, str]) -> tuple[content.Content, bool]:
    """The text, and whether an address in its header needs SMTPUTF8 (RFC 6531 section 3.4). Raises content.NotSendable."""
    try:
        return content.prepare(wanted.text, wanted.facts, eight_bit="8BITMIME" in offered), False
    except content.NotSendable as error:
        if error.dsn != _NEEDS_UTF8 or "SMTPUTF8" not in offered:
            raise
    # whoever offers SMTPUTF8 takes 8-bit data (section 3.1)
    return content.prepare(wanted.text, wanted.facts, eight_bit=True, utf8=True), True


def unsendable(error: content.NotSendable) -> Answer:
    """The answer that stands for a text or address that this server cannot be given."""
    return Answer(Phase.MAIL, trouble=Trouble.CONTENT, text=f"{error.dsn} {error.reason}")


def unreadable(error: OSError) -> Answer:
    """The answer that stands for a text that cannot be read from the spool."""
    return Answer(Phase.BODY, text=f"the stored text cannot be read: {error.strerror or error}")


def _path(address: str, utf8: bool) -> tuple[str, bool]:
    """An address for the wire, and whether it needs SMTPUTF8. Raises content.NotSendable."""
    if address.isascii():
        return address, False
    try:
        path = a_label_path(address)
    except NoSuchDomainName as error:
        raise content.NotSendable(str(error), "5.1.2") from error
    if path.isascii():
        return path, False
    if not utf8:
        raise content.NotSendable("the server does not take internationalised addresses (SMTPUTF8)", _NEEDS_UTF8)
    return path, True


def _mail_parameters(wanted: Transaction, text: content.Content, offered: dict[str, str], international: bool) -> list[str]:
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
    if "DSN" in offered and wanted.reverse_path:
        parameters += _given(("RET", wanted.ret), ("ENVID", xtext(wanted.envid)))
    return parameters


def _wishes(wanted: Transaction, index: int) -> list[str]:
    _, notify, orcpt = wanted.recipients[index]
    return _given(("NOTIFY", notify), ("ORCPT", orcpt))


def _given(*parameters: tuple[str, str]) -> list[str]:
    """The parameters that have a value: what was not asked for is never invented (RFC 3461 section 5.2.1)."""
    return [f"{name}={value}" for name, value in parameters if value]
