"""A session: one answer for each recipient whatever the server does, and nothing on the wire that makes no sense."""

import io
import socket
import threading
from collections.abc import Callable, Sequence

import pytest

from smartrelay.config import Timeouts
from smartrelay.mail.envelope import Facts
from smartrelay.smtp.client import SMTPClient
from smartrelay.smtp.dialogue import Answer, Phase, Trouble
from smartrelay.smtp.session import Policy, Session, Transaction, open_session
from tests.support.certificates import Certificates
from tests.support.smtp_server import Action, Pieces, ScriptedServer

Start = Callable[..., ScriptedServer]
TEXT = b"Subject: x\n\n.body\n"
R1, R2, R3 = "r1@b.example", "r2@b.example", "r3@b.example"
KEYWORDS = {True: ["PIPELINING"], False: []}
BOTH = pytest.mark.parametrize("pipelining", [True, False])


def policy(**changes: object) -> Policy:
    return Policy("client.example.test", Timeouts(command=20, data=20, data_end=20), **changes)  # type: ignore[arg-type]


def opened(server: ScriptedServer, **changes: object) -> Session:
    session = open_session("localhost", server.port, policy(**changes))
    assert isinstance(session, Session), session
    return session


def refusal(server: ScriptedServer, **changes: object) -> Answer:
    answer = open_session("localhost", server.port, policy(**changes))
    assert isinstance(answer, Answer)
    return answer


def message(recipients: Sequence[str] = (R1, R2), sender: str = "s@a.example", text: bytes = TEXT, **more: str) -> Transaction:
    octets = len(text) + text.count(b"\n")
    facts = Facts(len(text), octets, 80, int(not text.isascii()))
    wanted = [(recipient, more.get("notify", ""), more.get("orcpt", "")) for recipient in recipients]
    return Transaction(sender, wanted, lambda: io.BytesIO(text), facts, more.get("ret", ""), more.get("envid", ""))


def codes(answers: list[Answer]) -> list[tuple[Phase, int]]:
    return [(answer.phase, answer.reply.code if answer.reply and answer.trouble is None else 0) for answer in answers]


def verbs(server: ScriptedServer) -> list[str]:
    return [line.split(b" ")[0].decode() for line in server.commands if not line.startswith((b"EHLO", b"QUIT"))]


@BOTH
def test_all_recipients_get_the_answer_to_the_message(smtp_server: Start, pipelining: bool) -> None:  # A-040 A-041 A-057
    server = smtp_server(keywords=KEYWORDS[pipelining])
    session = opened(server)
    assert codes(session.transact(message())) == [(Phase.END, 250)] * 2
    assert codes(session.transact(message([R3], sender=""))) == [(Phase.END, 250)]
    session.close()
    first, second = server.accepted
    assert (first.mail_from, first.recipients) == (b"MAIL FROM:<s@a.example>", [b"<r1@b.example>", b"<r2@b.example>"])
    assert second.mail_from == b"MAIL FROM:<>"
    assert first.content == TEXT.replace(b"\n", b"\r\n")
    assert (session.completed, session.over) == (2, True)
    assert server.commands[-1] == b"QUIT"


@BOTH
@pytest.mark.parametrize("code", [550, 451, 354])
def test_a_no_to_mail_is_everybodys(smtp_server: Start, pipelining: bool, code: int) -> None:  # A-026 A-050
    server = smtp_server(keywords=KEYWORDS[pipelining], replies={"MAIL": b"%d no" % code})
    session = opened(server)
    assert codes(session.transact(message())) == [(Phase.MAIL, code)] * 2
    if not pipelining:
        assert verbs(server) == ["MAIL"]
    server.replies.clear()
    assert codes(session.transact(message([R1]))) == [(Phase.END, 250)]  # A-015 A-016
    assert verbs(server)[-4:] == ["RSET", "MAIL", "RCPT", "DATA"]
    session.close()


@BOTH
def test_each_recipient_has_its_own_answer(smtp_server: Start, pipelining: bool) -> None:  # A-051 A-059
    replies = {"RCPT TO:<R2": b"550 5.1.1 no", "RCPT TO:<R3": b"450 4.2.1 later", "DOT": b"451 4.3.0 disk"}
    server = smtp_server(keywords=KEYWORDS[pipelining], replies=replies)
    session = opened(server)
    assert codes(session.transact(message([R1, R2, R3]))) == [(Phase.END, 451), (Phase.RCPT, 550), (Phase.RCPT, 450)]
    session.close()


@BOTH
def test_a_message_for_nobody_is_not_sent(smtp_server: Start, pipelining: bool) -> None:
    server = smtp_server(keywords=KEYWORDS[pipelining], replies={"RCPT TO:<R1": b"550 no", "RCPT TO:<R2": b"450 no"})
    session = opened(server)
    assert codes(session.transact(message())) == [(Phase.RCPT, 550), (Phase.RCPT, 450)]
    assert "DATA" not in verbs(server) or pipelining
    assert codes(session.transact(message([R3]))) == [(Phase.END, 250)]
    session.close()
    assert len(server.accepted) == 1


def test_a_server_that_asks_for_a_message_for_nobody_gets_an_empty_one() -> None:
    """What it says to that is no delivery."""
    ours, theirs = socket.socketpair()
    heard = bytearray()

    def serve() -> None:
        for awaited, reply in (
            (b"DATA\r\n", b"250 ok\r\n550 no\r\n550 no\r\n354 go\r\n"),
            (b"\r\n.\r\n", b"250 taken\r\n"),
            (b"QUIT\r\n", b"221 bye\r\n"),
        ):
            while not heard.endswith(awaited):
                heard.extend(theirs.recv(1000))
            theirs.sendall(reply)
        theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    client = SMTPClient("client.example.test", Timeouts())
    client.attach(ours)
    client.extensions = {"PIPELINING": ""}
    session = Session(client, "peer")
    assert codes(session.transact(message())) == [(Phase.RCPT, 550)] * 2
    session.close()
    thread.join()
    assert bytes(heard).endswith(b"DATA\r\n.\r\nQUIT\r\n")


@BOTH
@pytest.mark.parametrize("code", [503, 554, 451, 250, 300])
def test_no_content_is_sent_before_a_354(smtp_server: Start, pipelining: bool, code: int) -> None:  # A-026 A-058
    server = smtp_server(keywords=KEYWORDS[pipelining], replies={"DATA": b"%d no" % code})
    session = opened(server)
    answers = session.transact(message())
    session.close()
    sent = b"".join(chunk for who, chunk in server.sessions[0].transcript if who == "C")
    if code == 300:
        return  # any 3yz asks for the message (RFC 5321 section 4.2.1); the server here does not think so
    assert b"Subject" not in sent
    expected = (Phase.DATA, 0 if code == 250 else code)
    assert codes(answers) == [expected] * 2
    assert (answers[0].trouble is Trouble.PROTOCOL) == (code == 250)


@BOTH
@pytest.mark.parametrize("end", [b"421 4.3.2 bye", Action.CLOSE, Action.RESET])
@pytest.mark.parametrize("point", ["RCPT TO:<R2", "DATA", "DOT"])
def test_who_was_refused_stays_refused_when_the_session_breaks(
    smtp_server: Start, pipelining: bool, end: bytes | Action, point: str
) -> None:  # A-029 A-030 G-024
    if end is Action.RESET and pipelining:
        end = Action.CLOSE  # a reset takes along what was said before, if nobody has read it yet
    server = smtp_server(keywords=KEYWORDS[pipelining], replies={"RCPT TO:<R1": b"550 5.1.1 no", point: end})
    session = opened(server)
    first, second, third = session.transact(message([R1, R2, R3]))
    assert codes([first]) == [(Phase.RCPT, 550)]
    for answer in (second, third):
        assert answer.trouble is Trouble.LOST or (answer.reply is not None and answer.reply.code == 421)
    assert session.over
    session.close()
    assert "QUIT" not in verbs(server)


@BOTH
def test_a_closing_server_is_asked_nothing_more(smtp_server: Start, pipelining: bool) -> None:
    server = smtp_server(keywords=KEYWORDS[pipelining], replies={"MAIL": b"421 4.3.2 bye"})
    session = opened(server)
    assert codes(session.transact(message())) == [(Phase.MAIL, 421)] * 2 or pipelining
    assert session.over
    session.close()
    if not pipelining:
        assert verbs(server) == ["MAIL"]


def test_a_session_lost_behind_the_dot_says_so(smtp_server: Start) -> None:
    server = smtp_server(replies={"DOT": Action.KEEP_AND_CLOSE, "RCPT TO:<R1": b"550 no"})
    session = opened(server)
    first, second = session.transact(message())
    assert codes([first]) == [(Phase.RCPT, 550)]
    assert (second.phase, second.trouble) == (Phase.END, Trouble.LOST)
    session.close()


def test_half_a_reply_to_the_dot_is_no_success(smtp_server: Start) -> None:
    def on(point: str, argument: bytes, session: object) -> Pieces | Action | None:
        return Pieces([b"250 2.0.0 ok"]) if point == "DOT" else Action.CLOSE if point == "NOOP" else None

    server = smtp_server(on=on)
    session = opened(server)
    session.client.timeouts = Timeouts(data_end=0.1)
    (answer,) = session.transact(message([R1]))
    session.close()
    assert (answer.phase, answer.trouble) == (Phase.END, Trouble.TIMEOUT)


def test_a_failing_rset_ends_the_session(smtp_server: Start) -> None:  # A-063 G-025
    server = smtp_server(replies={"MAIL": b"550 no", "RSET": b"451 no"})
    session = opened(server)
    session.transact(message())
    assert codes(session.transact(message())) == [(Phase.RSET, 451)] * 2
    assert session.over
    session.close()
    assert verbs(server).count("MAIL") == 1


# Parameters


def test_only_what_is_offered_is_said(smtp_server: Start) -> None:  # A-014 A-111 A-113 G-009
    server = smtp_server(keywords=[])
    session = opened(server)
    session.transact(message([R1], notify="NEVER", orcpt="rfc822;x@y", ret="HDRS", envid="abc d"))
    session.close()
    (transaction,) = server.transactions
    assert (transaction.mail_from, transaction.rcpt_to) == (b"MAIL FROM:<s@a.example>", [b"RCPT TO:<r1@b.example>"])


def test_what_is_offered_is_used(smtp_server: Start) -> None:  # A-090 A-110 A-111 A-112
    server = smtp_server(keywords=["SIZE", "8BITMIME", "DSN"])
    session = opened(server)
    session.transact(message([R1], notify="NEVER", orcpt="rfc822;Foo+2Bbar@B.example", ret="HDRS", envid="abc d"))
    session.transact(message([R1]))
    session.transact(message([R1], sender="", ret="FULL", notify="NEVER"))
    session.close()
    full, bare, notice = server.transactions
    size = len(TEXT) + TEXT.count(b"\n")
    assert full.mail_from == b"MAIL FROM:<s@a.example> SIZE=%d RET=HDRS ENVID=abc+20d" % size
    assert full.rcpt_to == [b"RCPT TO:<r1@b.example> NOTIFY=NEVER ORCPT=rfc822;Foo+2Bbar@B.example"]
    assert bare.mail_from == b"MAIL FROM:<s@a.example> SIZE=%d" % size
    assert bare.rcpt_to == [b"RCPT TO:<r1@b.example>"]
    assert notice.mail_from == b"MAIL FROM:<> SIZE=%d" % size


@pytest.mark.parametrize(("limit", "sent"), [("17", False), ("0", True), ("foo", True), ("99999", True), ("", True)])
def test_a_message_over_the_limit_is_not_even_begun(smtp_server: Start, limit: str, sent: bool) -> None:  # A-091 G-017
    server = smtp_server(keywords=[f"SIZE {limit}"])
    session = opened(server)
    (answer,) = session.transact(message([R1]))
    session.close()
    if sent:
        assert codes([answer]) == [(Phase.END, 250)]
    else:
        assert answer.trouble is Trouble.CONTENT and answer.text.startswith("5.3.4 ") and "17" in answer.text
        assert verbs(server) == []


def test_an_internationalised_address_goes_only_where_it_is_understood(smtp_server: Start) -> None:  # A-097 A-098 G-010
    server = smtp_server(keywords=["8BITMIME"])
    session = opened(server)
    (answer,) = session.transact(message(["jörg@b.example"]))
    assert answer.trouble is Trouble.CONTENT and answer.text.startswith("5.6.7 ")
    assert codes(session.transact(message([R1]))) == [(Phase.END, 250)]
    session.close()
    server = smtp_server(keywords=["8BITMIME", "SMTPUTF8"])
    session = opened(server)
    session.transact(message(["jörg@b.example"]))
    session.transact(message([R1]))
    session.close()
    first, second = server.transactions
    assert first.mail_from.endswith(b" SMTPUTF8") and first.rcpt_to == ["RCPT TO:<jörg@b.example>".encode()]
    assert b"SMTPUTF8" not in second.mail_from


def test_more_recipients_than_a_group_holds_are_all_answered(smtp_server: Start) -> None:
    recipients = [f"r{number}@b.example" for number in range(1000)]
    server = smtp_server(replies={"RCPT TO:<R500@": b"550 no"})
    session = opened(server)
    answers = codes(session.transact(message(recipients)))
    session.close()
    assert answers[500] == (Phase.RCPT, 550) and answers.count((Phase.END, 250)) == 999
    assert len(server.accepted[0].recipients) == 999


# The opening


@pytest.mark.parametrize("code", [421, 450, 521, 554])
def test_a_no_in_the_greeting_is_answered_with_quit_alone(smtp_server: Start, code: int) -> None:  # A-003 A-004 A-005
    server = smtp_server(replies={"GREETING": b"%d no" % code})
    answer = refusal(server)
    assert codes([answer]) == [(Phase.GREETING, code)]
    assert server.commands in ([], [b"QUIT"])


def test_a_host_without_address_and_a_closed_port_are_answers(smtp_server: Start) -> None:
    from tests.support.process import free_port

    unknown = open_session("no-such-host.invalid", 25, policy())
    assert isinstance(unknown, Answer) and unknown.trouble is Trouble.NO_HOST
    refused = open_session("127.0.0.1", free_port(), policy())
    assert isinstance(refused, Answer) and (refused.phase, refused.trouble) == (Phase.CONNECT, Trouble.NO_ROUTE)
    assert "refused" in refused.text


def test_required_tls_that_is_not_offered_ends_it(smtp_server: Start) -> None:  # A-121 A-155
    server = smtp_server(keywords=["AUTH PLAIN LOGIN"])
    answer = refusal(server, tls="starttls", user="me", secret="hunter2")
    assert (answer.phase, answer.trouble) == (Phase.STARTTLS, Trouble.NO_TLS)
    assert server.commands == [b"EHLO client.example.test", b"QUIT"]


def test_a_certificate_must_be_good_where_tls_is_required(
    smtp_server: Start, certificates: Certificates
) -> None:  # A-158 A-159
    for wrong in (certificates.expired, certificates.wrong_name, certificates.untrusted):
        for changes in ({"certificate": wrong}, {"certificate": wrong, "implicit_tls": True}):
            server = smtp_server(**changes)
            how = "implicit" if "implicit_tls" in changes else "starttls"
            answer = refusal(server, tls=how, ca_file=certificates.ca_file, user="me", secret="hunter2")
            assert (answer.phase, answer.trouble) == (Phase.TLS, Trouble.CERTIFICATE)
            assert not any(line.startswith((b"AUTH", b"MAIL")) for line in server.commands)


def test_where_tls_is_only_better_than_nothing_any_certificate_will_do(
    smtp_server: Start, certificates: Certificates
) -> None:
    server = smtp_server(certificate=certificates.untrusted)
    session = opened(server, tls="opportunistic")
    assert codes(session.transact(message([R1]))) == [(Phase.END, 250)]
    session.close()
    assert server.sessions[0].tls
    server = smtp_server(certificate=certificates.server, replies={"HANDSHAKE": Action.CLOSE})
    session = opened(server, tls="opportunistic")
    assert codes(session.transact(message([R1]))) == [(Phase.END, 250)]
    session.close()
    assert [each.tls for each in server.sessions] == [False, False]


def test_the_secret_goes_through_tls_only(smtp_server: Start, certificates: Certificates) -> None:  # A-122 A-133 A-138
    server = smtp_server(certificate=certificates.server, credentials=("me", "hunter2"))
    session = opened(server, tls="starttls", ca_file=certificates.ca_file, user="me", secret="hunter2")
    session.transact(message([R1]))
    session.transact(message([R2]))
    session.close()
    assert "hunter2" not in repr(policy(secret="hunter2"))
    assert len(server.accepted) == 2
    assert len([line for line in server.commands if line.startswith(b"AUTH")]) == 1
