"""A session: what the server is told of a message, octet by octet, and who is asked nothing more."""

import io
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence

import pytest

from smartrelay.config import Timeouts
from smartrelay.mail.envelope import Facts
from smartrelay.smtp.client import SMTPClient
from smartrelay.smtp.connector import Target
from smartrelay.smtp.dialogue import Answer, Phase, Trouble
from smartrelay.smtp.opening import Policy, open_session
from smartrelay.smtp.session import Session
from smartrelay.smtp.transaction import Transaction
from tests.support.smtp_server import ScriptedServer

Start = Callable[..., ScriptedServer]
TEXT = b"Subject: x\n\n.body\n"
R1, R2, R3 = "r1@b.example", "r2@b.example", "r3@b.example"
KEYWORDS = {True: ["PIPELINING"], False: []}
BOTH = pytest.mark.parametrize("pipelining", [True, False])
TIMES = Timeouts(command=20, data=20, data_end=20)


def opened(server: ScriptedServer) -> Session:
    session = open_session(Target("localhost", server.port), Policy("client.example.test", TIMES))
    assert isinstance(session, Session), session
    return session


def message(recipients: Sequence[str] = (R1, R2), sender: str = "s@a.example", text: bytes = TEXT, **more: str) -> Transaction:
    octets = len(text) + text.count(b"\n")
    facts = Facts(len(text), octets, 80, int(not text.isascii()))
    wanted = [(recipient, more.get("notify", ""), more.get("orcpt", "")) for recipient in recipients]
    return Transaction(sender, wanted, lambda: io.BytesIO(text), facts, more.get("ret", ""), more.get("envid", ""))


def sent(session: Session, wanted: Transaction) -> list[Answer]:
    """One answer for each recipient, none told twice; the session stays open for the next."""
    waiting, found = deque([wanted]), dict[int, Answer]()

    def tell(told: Transaction, answers: dict[int, Answer]) -> None:
        assert told is wanted and not found.keys() & answers.keys()
        found.update(answers)

    session.relay(lambda: waiting.popleft() if waiting else None, tell)
    assert sorted(found) == list(range(len(wanted.recipients)))
    return [found[index] for index in sorted(found)]


def codes(answers: list[Answer]) -> list[tuple[Phase, int]]:
    return [(answer.phase, answer.reply.code if answer.reply and answer.trouble is None else 0) for answer in answers]


def verbs(server: ScriptedServer) -> list[str]:
    return [line.split(b" ")[0].decode() for line in server.commands if not line.startswith((b"EHLO", b"QUIT"))]


@BOTH
def test_a_354_to_mail_is_everybodys_and_the_next_message_does_not_suffer(
    smtp_server: Start, pipelining: bool
) -> None:  # A-015 A-016 A-026 A-050
    """It is no SMTP: that session ends without a word of text, and the next takes over."""
    server = smtp_server(keywords=KEYWORDS[pipelining], replies={"MAIL": b"354 no"})
    session = opened(server)
    assert codes(sent(session, message())) == [(Phase.MAIL, 354)] * 2
    assert session.over
    session.close()
    if not pipelining:
        assert verbs(server) == ["MAIL"]
    assert b"Subject" not in b"".join(chunk for who, chunk in server.sessions[0].transcript if who == "C")
    server.replies.clear()
    session = opened(server)
    assert codes(sent(session, message([R1]))) == [(Phase.END, 250)]
    session.close()
    assert verbs(server)[-3:] == ["MAIL", "RCPT", "DATA"]
    assert len(server.accepted) == 1


@BOTH
def test_any_3yz_to_data_asks_for_the_message(pipelining: bool) -> None:  # A-026 A-058
    """RFC 5321 section 4.2.1: the first digit decides."""
    ours, theirs = socket.socketpair()
    heard = bytearray()
    if pipelining:
        steps = [(b"DATA\r\n", b"250 ok\r\n250 ok\r\n300 go\r\n")]
    else:
        steps = [(b"MAIL FROM:<s@a.example>\r\n", b"250 ok\r\n"), (b"RCPT TO:<r1@b.example>\r\n", b"250 ok\r\n")]
        steps.append((b"DATA\r\n", b"300 go\r\n"))

    def serve() -> None:
        for awaited, reply in [*steps, (b"\r\n.\r\n", b"250 taken\r\n"), (b"QUIT\r\n", b"221 bye\r\n")]:
            while not heard.endswith(awaited):
                heard.extend(theirs.recv(1000))
            theirs.sendall(reply)
        theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    client = SMTPClient(ours, "client.example.test", TIMES)
    client.extensions = dict.fromkeys(KEYWORDS[pipelining], "")
    session = Session(client, "peer")
    assert codes(sent(session, message([R1]))) == [(Phase.END, 250)]
    session.close()
    thread.join()
    assert bytes(heard).endswith(b"DATA\r\nSubject: x\r\n\r\n..body\r\n.\r\nQUIT\r\n")


@BOTH
def test_a_closing_server_is_asked_nothing_more(smtp_server: Start, pipelining: bool) -> None:
    server = smtp_server(keywords=KEYWORDS[pipelining], replies={"MAIL": b"421 4.3.2 bye"})
    session = opened(server)
    assert codes(sent(session, message())) == [(Phase.MAIL, 421)] * 2
    assert session.over
    session.close()
    assert not any(line.startswith(b"QUIT") for line in server.commands)
    if not pipelining:
        assert verbs(server) == ["MAIL"]


# Parameters


def test_only_what_is_offered_is_said(smtp_server: Start) -> None:  # A-014 A-111 A-113 G-009
    server = smtp_server(keywords=[])
    session = opened(server)
    sent(session, message([R1], notify="NEVER", orcpt="rfc822;x@y", ret="HDRS", envid="abc d"))
    session.close()
    (transaction,) = server.transactions
    assert (transaction.mail_from, transaction.rcpt_to) == (b"MAIL FROM:<s@a.example>", [b"RCPT TO:<r1@b.example>"])


def test_what_is_offered_is_used(smtp_server: Start) -> None:  # A-090 A-110 A-111 A-112
    server = smtp_server(keywords=["SIZE", "8BITMIME", "DSN"])
    session = opened(server)
    sent(session, message([R1], notify="NEVER", orcpt="rfc822;Foo+2Bbar@B.example", ret="HDRS", envid="abc d"))
    sent(session, message([R1]))
    sent(session, message([R1], sender="", ret="FULL", notify="NEVER"))
    session.close()
    full, bare, notice = server.transactions
    size = len(TEXT) + TEXT.count(b"\n")
    assert full.mail_from == b"MAIL FROM:<s@a.example> SIZE=%d RET=HDRS ENVID=abc+20d" % size
    assert full.rcpt_to == [b"RCPT TO:<r1@b.example> NOTIFY=NEVER ORCPT=rfc822;Foo+2Bbar@B.example"]
    assert bare.mail_from == b"MAIL FROM:<s@a.example> SIZE=%d" % size
    assert bare.rcpt_to == [b"RCPT TO:<r1@b.example>"]
    assert notice.mail_from == b"MAIL FROM:<> SIZE=%d" % size


@pytest.mark.parametrize(("limit", "goes"), [("17", False), ("0", True), ("foo", True), ("99999", True), ("", True)])
def test_a_message_over_the_limit_is_not_even_begun(smtp_server: Start, limit: str, goes: bool) -> None:  # A-091 G-017
    server = smtp_server(keywords=[f"SIZE {limit}"])
    session = opened(server)
    (answer,) = sent(session, message([R1]))
    session.close()
    if goes:
        assert codes([answer]) == [(Phase.END, 250)]
    else:
        assert answer.trouble is Trouble.CONTENT and answer.text.startswith("5.3.4 ") and "17" in answer.text
        assert verbs(server) == []


def test_an_internationalised_address_goes_only_where_it_is_understood(smtp_server: Start) -> None:  # A-097 A-098 G-010
    server = smtp_server(keywords=["8BITMIME"])
    session = opened(server)
    (answer,) = sent(session, message(["jörg@b.example"]))
    assert answer.trouble is Trouble.CONTENT and answer.text.startswith("5.6.7 ")
    assert codes(sent(session, message([R1]))) == [(Phase.END, 250)]
    session.close()
    server = smtp_server(keywords=["8BITMIME", "SMTPUTF8"])
    session = opened(server)
    sent(session, message(["jörg@b.example"]))
    sent(session, message([R1]))
    session.close()
    first, second = server.transactions
    assert first.mail_from.endswith(b" SMTPUTF8") and first.rcpt_to == ["RCPT TO:<jörg@b.example>".encode()]
    assert b"SMTPUTF8" not in second.mail_from


def test_more_recipients_than_a_group_holds_are_all_answered(smtp_server: Start) -> None:  # A-056 A-103
    recipients = [f"r{number}@b.example" for number in range(1000)]
    server = smtp_server(replies={"RCPT TO:<R500@": b"550 no"})
    session = opened(server)
    answers = codes(sent(session, message(recipients)))
    session.close()
    assert answers[500] == (Phase.RCPT, 550) and answers.count((Phase.END, 250)) == 999
    expected = [f"<{recipient}>".encode() for recipient in recipients if recipient != "r500@b.example"]
    assert [path for each in server.accepted for path in each.recipients] == expected
