"""`SMTPClient` against a real server that does what it likes: time limits, replies in pieces, and the way in."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from smartrelay.config import Timeouts
from smartrelay.smtp import tls
from smartrelay.smtp.client import SMTPClient
from smartrelay.smtp.dialogue import Answer, Phase, Reply, Trouble
from smartrelay.smtp.wire import SessionBroken
from tests.support.certificates import Certificates
from tests.support.smtp_server import Action, Gate, Pieces, ScriptedServer

Start = Callable[..., ScriptedServer]
NAME = "client.example.test"
SHORT = 0.15


@contextmanager
def connected(server: ScriptedServer, timeouts: Timeouts | None = None) -> Iterator[SMTPClient]:
    client = SMTPClient(socket.create_connection((server.address, server.port)), NAME, timeouts or Timeouts())
    try:
        yield client
    finally:
        client.close()


def greeted(client: SMTPClient) -> Answer:
    assert client.wire.greeting().kind == 2
    return client.hello(extended=True)


def broken(call: Callable[[], object]) -> Answer:
    with pytest.raises(SessionBroken) as caught:
        call()
    assert caught.value.answer.text.isprintable()
    return caught.value.answer


def mail(client: SMTPClient) -> Answer:
    return client.wire.command(Phase.MAIL, b"MAIL FROM:<>\r\n")


def code(answer: Answer) -> int:
    assert answer.reply is not None and answer.trouble is None
    return answer.reply.code


# Time limits


@pytest.mark.parametrize(
    ("point", "phase", "limit"),
    [("GREETING", Phase.GREETING, "greeting"), ("EHLO", Phase.EHLO, "command"), ("MAIL", Phase.MAIL, "command")],
)
def test_each_step_has_a_limit_of_its_own(
    smtp_server: Start, point: str, phase: Phase, limit: str
) -> None:  # A-007 A-030 A-080
    server = smtp_server(replies={point: Action.SILENCE})
    with connected(server, Timeouts()._replace(**{limit: SHORT})) as client:

        def talk() -> None:
            greeted(client)
            mail(client)

        answer = broken(talk)
    assert (answer.phase, answer.trouble, answer.text) == (phase, Trouble.TIMEOUT, f"timed out while {phase}")


def test_a_server_that_drips_holds_nobody() -> None:  # A-083 G-037
    """The limit is for the whole reply: each octet in time is not enough."""
    ours, theirs = socket.socketpair()
    over = threading.Event()

    def drip() -> None:
        while not over.wait(SHORT / 5):
            theirs.sendall(b"2")

    thread = threading.Thread(target=drip)
    thread.start()
    client = SMTPClient(ours, NAME, Timeouts(greeting=SHORT))
    started = time.monotonic()
    answer = broken(client.wire.greeting)
    assert time.monotonic() - started < 10 * SHORT
    over.set()
    thread.join()
    client.close()
    theirs.close()
    assert answer.trouble is Trouble.TIMEOUT


# Replies


@pytest.mark.parametrize("there", [True, False])
def test_each_answer_tells_once_whether_it_was_waited_for(there: bool) -> None:
    """By the part that is waited for, a next hop gets its connections: one that counted as both would never get a second."""
    ours, theirs = socket.socketpair()
    told: list[bool] = []

    def tell(waited: bool) -> None:
        told.append(waited)
        if waited:
            theirs.sendall(b"220 here\r\n")

    client = SMTPClient(ours, NAME, Timeouts(greeting=20))
    client.wire.on_wait = tell
    if there:
        theirs.sendall(b"220 here\r\n")
    assert client.wire.greeting().kind == 2
    client.close()
    theirs.close()
    assert told == [not there]


def test_a_reply_may_come_in_any_pieces(smtp_server: Start) -> None:  # A-001 A-020
    gate = Gate()
    server = smtp_server(replies={"GREETING": Pieces([b"2", b"20-", b"a\r", b"\n22", gate, b"0", b" b\r\n"])})
    with connected(server, Timeouts(greeting=20)) as client:
        gate.wait_reached()
        gate.open()
        answer = client.wire.greeting()
    assert answer == Answer(Phase.GREETING, Reply(220, ("a", "b")))
    assert server.commands == []  # nothing was said before the whole greeting was there


@pytest.mark.parametrize("half", [b"", b"250", b"250 2.0.0 ok", b"250 2.0.0 ok\r", b"250-a\r\n"])
def test_half_a_reply_and_the_end_is_a_lost_connection(half: bytes) -> None:
    ours, theirs = socket.socketpair()
    client = SMTPClient(ours, NAME, Timeouts())
    client.wire.send([(Phase.END, b"text\r\n.\r\n")])
    assert theirs.recv(100)
    theirs.sendall(half)
    theirs.close()
    answer = broken(lambda: client.wire.answer(20))
    client.close()
    assert (answer.phase, answer.trouble) == (Phase.END, Trouble.LOST)


def test_a_reset_is_a_lost_connection_that_names_the_phase(smtp_server: Start) -> None:
    server = smtp_server(replies={"MAIL": Action.RESET})
    with connected(server) as client:
        greeted(client)
        answer = broken(lambda: mail(client))
    assert (answer.trouble, answer.text) == (Trouble.LOST, "connection lost while sending MAIL FROM")


def refused_with(*pieces: bytes | Gate) -> dict[str, Pieces]:
    """MAIL is refused, so that another MAIL may follow it, and then more is said."""
    return {"MAIL": Pieces([b"450 later\r\n", *pieces])}


def waits_unread(client: SMTPClient) -> None:
    sock = client.wire.connected()
    sock.settimeout(20)
    assert sock.recv(1, socket.MSG_PEEK)


@pytest.mark.parametrize("late", [b"250 late\r\n", b"2", b"\r\n"])
def test_a_reply_that_comes_a_moment_later_is_never_taken_for_the_next_commands(
    smtp_server: Start, late: bytes
) -> None:
    gate = Gate()
    server = smtp_server(replies=refused_with(gate, late))
    with connected(server) as client:
        greeted(client)
        assert code(mail(client)) == 450
        gate.open()
        waits_unread(client)
        answer = broken(lambda: mail(client))
    assert answer.trouble is Trouble.PROTOCOL
    assert server.commands.count(b"MAIL FROM:<>") == 1


def test_421_may_come_at_any_time(smtp_server: Start) -> None:
    gate = Gate()
    server = smtp_server(replies=refused_with(gate, b"421 4.4.2 idle for too long\r\n"))
    with connected(server) as client:
        greeted(client)
        assert code(mail(client)) == 450
        gate.open()
        waits_unread(client)
        answer = broken(lambda: mail(client))
    assert (answer.phase, answer.trouble) == (Phase.MAIL, None)
    assert answer.reply == Reply(421, ("4.4.2 idle for too long",))
    assert server.commands.count(b"MAIL FROM:<>") == 1


def test_a_server_that_has_hung_up_is_noticed_before_anything_is_sent(smtp_server: Start) -> None:  # G-046
    server = smtp_server(replies={"QUIT": b"221 bye"})
    with connected(server) as client:
        greeted(client)
        assert code(client.wire.command(Phase.QUIT, b"QUIT\r\n")) == 221
        server.wait_for(lambda: server.sessions[0].closed)
        answer = broken(lambda: mail(client))
    assert (answer.phase, answer.trouble) == (Phase.MAIL, Trouble.LOST)


def test_a_whole_reply_counts_whatever_nonsense_follows(smtp_server: Start) -> None:
    """The reply to the final dot is the verdict: to lose it would be a duplicate."""
    server = smtp_server(replies={"MAIL": Pieces([b"450 later\r\nnonsense\r\n"])})
    with connected(server) as client:
        greeted(client)
        assert mail(client) == Answer(Phase.MAIL, Reply(450, ("later",)))
        assert broken(lambda: mail(client)).trouble is Trouble.PROTOCOL


# EHLO and HELO


def test_ehlo_comes_first_and_its_offers_are_known(smtp_server: Start) -> None:  # A-010 A-013
    server = smtp_server(keywords=["size 1000", "PipeLining", "X-FOO a=b"])
    with connected(server) as client:
        assert greeted(client).good
        assert client.extensions == {"SIZE": "1000", "PIPELINING": "", "X-FOO": "a=b"}
    assert server.commands == [b"EHLO client.example.test"]


def test_a_second_ehlo_forgets_what_the_first_one_offered(smtp_server: Start) -> None:  # A-151 G-015
    server = smtp_server(
        on=lambda point, _, session: b"502 no" if session.commands.count(b"EHLO client.example.test") > 1 else None
    )
    with connected(server) as client:
        greeted(client)
        assert client.extensions
        client.hello(extended=True)
        assert client.extensions == {}


def test_an_ipv6_address_is_tagged() -> None:  # A-008 A-028
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        connection = socket.create_connection(listener.getsockname()[:2])
        peer, _ = listener.accept()
        client = SMTPClient(connection, "box", Timeouts())
        peer.sendall(b"250 hello\r\n")
        waits_unread(client)
        assert broken(lambda: client.hello(extended=True)).trouble is Trouble.PROTOCOL  # nobody had asked
        client.close()
        assert peer.recv(1000) == b""
        peer.close()
        connection = socket.create_connection(listener.getsockname()[:2])
        peer, _ = listener.accept()
        client = SMTPClient(connection, "box", Timeouts())
        answers: list[bytes] = []

        def serve() -> None:
            answers.append(peer.recv(1000))
            peer.sendall(b"250 hello\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        assert client.hello(extended=True).good
        thread.join()
        client.close()
        peer.close()
    assert answers == [b"EHLO [IPv6:::1]\r\n"]


# TLS


def test_tls_forgets_what_was_offered_in_clear(smtp_server: Start, certificates: Certificates) -> None:  # A-151 A-153 A-169
    server = smtp_server(certificate=certificates.server)
    with connected(server) as client:
        greeted(client)
        assert "STARTTLS" in client.extensions
        assert client.start_tls(tls.verified(certificates.ca_file), "localhost").trouble is None
        assert client.extensions == {} and client.tls.startswith("TLSv1.")
        assert client.hello(extended=True).good
        assert code(mail(client)) == 250  # the look for early replies is at home in TLS too
    assert server.commands == [b"EHLO client.example.test", b"STARTTLS", b"EHLO client.example.test", b"MAIL FROM:<>"]


# The end


@pytest.mark.parametrize("end", [b"221 bye", b"500 what?", b"nonsense", Action.CLOSE, Action.RESET, Action.SILENCE])
def test_quit_never_raises_and_never_takes_long(smtp_server: Start, end: bytes | Action) -> None:  # A-062 G-027
    server = smtp_server(replies={"QUIT": end})
    with connected(server, Timeouts(quit=SHORT)) as client:
        greeted(client)
        started = time.monotonic()
        client.goodbye()
        assert time.monotonic() - started < 10 * SHORT
        assert client.wire.sock is None
        client.goodbye()
    assert server.commands[-1] == b"QUIT"
