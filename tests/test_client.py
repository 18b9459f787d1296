"""`SMTPClient` against a real server that does what it likes: time limits, replies in pieces, and the way in."""

import base64
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from smartrelay.config import Timeouts
from smartrelay.smtp.client import SessionBroken, SMTPClient
from smartrelay.smtp.dialogue import Answer, Phase, Reply, Trouble
from tests.support.certificates import Certificates
from tests.support.smtp_server import Action, Gate, Pieces, ScriptedServer

Start = Callable[..., ScriptedServer]
SHORT = 0.15


@contextmanager
def connected(
    server: ScriptedServer, hostname: str = "client.example.test", timeouts: Timeouts | None = None
) -> Iterator[SMTPClient]:
    client = SMTPClient(hostname, timeouts or Timeouts())
    client.attach(socket.create_connection((server.address, server.port)))
    try:
        yield client
    finally:
        client.close()


def greeted(client: SMTPClient, *, extended: bool = True) -> Answer:
    assert client.reply(Phase.GREETING, client.timeouts.greeting).kind == 2
    return client.hello(extended=extended)


def broken(call: Callable[[], object]) -> Answer:
    with pytest.raises(SessionBroken) as caught:
        call()
    assert caught.value.answer.text.isprintable()
    return caught.value.answer


def noop(client: SMTPClient) -> Reply:
    return client.command(b"NOOP\r\n", Phase.MAIL)


# Time limits


@pytest.mark.parametrize(
    ("point", "phase", "limit"),
    [("GREETING", Phase.GREETING, "greeting"), ("EHLO", Phase.EHLO, "command"), ("NOOP", Phase.MAIL, "command")],
)
def test_each_step_has_a_limit_of_its_own(
    smtp_server: Start, point: str, phase: Phase, limit: str
) -> None:  # A-007 A-030 A-080
    server = smtp_server(replies={point: Action.SILENCE})
    with connected(server, timeouts=Timeouts()._replace(**{limit: SHORT})) as client:

        def talk() -> None:
            greeted(client)
            noop(client)

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
    client = SMTPClient("c.example", Timeouts())
    client.attach(ours)
    started = time.monotonic()
    answer = broken(lambda: client.reply(Phase.GREETING, SHORT))
    assert time.monotonic() - started < 10 * SHORT
    over.set()
    thread.join()
    client.close()
    theirs.close()
    assert answer.trouble is Trouble.TIMEOUT


def test_a_block_that_nobody_takes_has_its_limit(smtp_server: Start) -> None:
    server = smtp_server()
    gate = server.gate("MAIL")
    with connected(server) as client:
        greeted(client)
        client.transmit(b"MAIL FROM:<>\r\n", Phase.MAIL, 5)
        gate.wait_reached()
        answer = broken(lambda: client.transmit(b"x" * (64 << 20), Phase.BODY, SHORT))
        assert (answer.phase, answer.trouble) == (Phase.BODY, Trouble.TIMEOUT)
        gate.open()


# Replies


def test_a_reply_may_come_in_any_pieces(smtp_server: Start) -> None:  # A-001 A-020
    gate = Gate()
    server = smtp_server(replies={"GREETING": Pieces([b"2", b"20-", b"a\r", b"\n22", gate, b"0", b" b\r\n"])})
    with connected(server) as client:
        gate.wait_reached()
        gate.open()
        reply = client.reply(Phase.GREETING, 20)
    assert reply == Reply(220, ("a", "b"))
    assert server.commands == []  # nothing was said before the whole greeting was there


@pytest.mark.parametrize("half", [b"", b"250", b"250 2.0.0 ok", b"250 2.0.0 ok\r", b"250-a\r\n"])
def test_half_a_reply_and_the_end_is_a_lost_connection(half: bytes) -> None:
    ours, theirs = socket.socketpair()
    theirs.sendall(half)
    theirs.close()
    client = SMTPClient("c.example", Timeouts())
    client.attach(ours)
    answer = broken(lambda: client.reply(Phase.END, 20))
    client.close()
    assert (answer.phase, answer.trouble) == (Phase.END, Trouble.LOST)


def test_a_reset_is_a_lost_connection_that_names_the_phase(smtp_server: Start) -> None:
    server = smtp_server(replies={"NOOP": Action.RESET})
    with connected(server) as client:
        greeted(client)
        answer = broken(lambda: noop(client))
    assert (answer.trouble, answer.text) == (Trouble.LOST, "connection lost while sending MAIL FROM")


def test_a_second_reply_is_never_taken_for_the_next_commands(smtp_server: Start) -> None:
    server = smtp_server(replies={"NOOP": Pieces([b"250 ok\r\n250 ok\r\n"])})
    with connected(server) as client:
        greeted(client)
        assert noop(client).code == 250
        answer = broken(lambda: noop(client))
    assert answer.trouble is Trouble.PROTOCOL
    assert server.commands.count(b"NOOP") == 1


def waits_unread(client: SMTPClient) -> None:
    assert client.sock is not None
    client.sock.settimeout(20)
    assert client.sock.recv(1, socket.MSG_PEEK)


def test_nor_is_one_that_comes_a_moment_later(smtp_server: Start) -> None:
    gate = Gate()
    server = smtp_server(replies={"NOOP": Pieces([b"250 ok\r\n", gate, b"250 late\r\n"])})
    with connected(server) as client:
        greeted(client)
        assert noop(client).code == 250
        gate.open()
        waits_unread(client)
        answer = broken(lambda: noop(client))
    assert answer.trouble is Trouble.PROTOCOL
    assert server.commands.count(b"NOOP") == 1


def test_421_may_come_at_any_time(smtp_server: Start) -> None:
    gate = Gate()
    server = smtp_server(replies={"NOOP": Pieces([b"250 ok\r\n", gate, b"421 4.4.2 idle for too long\r\n"])})
    with connected(server) as client:
        greeted(client)
        assert noop(client).code == 250
        gate.open()
        waits_unread(client)
        answer = broken(lambda: noop(client))
    assert (answer.phase, answer.trouble) == (Phase.MAIL, None)
    assert answer.reply == Reply(421, ("4.4.2 idle for too long",))


def test_a_server_that_has_hung_up_is_noticed_before_anything_is_sent(smtp_server: Start) -> None:  # G-046
    server = smtp_server(replies={"QUIT": b"221 bye"})
    with connected(server) as client:
        greeted(client)
        client.command(b"QUIT\r\n", Phase.RSET)
        server.wait_for(lambda: server.sessions[0].closed)
        answer = broken(lambda: noop(client))
    assert (answer.phase, answer.trouble) == (Phase.MAIL, Trouble.LOST)


def test_a_whole_reply_counts_whatever_nonsense_follows(smtp_server: Start) -> None:
    """The reply to the final dot is the verdict: to lose it would be a duplicate."""
    server = smtp_server(replies={"NOOP": Pieces([b"250 queued\r\nnonsense\r\n"])})
    with connected(server) as client:
        greeted(client)
        assert noop(client) == Reply(250, ("queued",))
        assert broken(lambda: noop(client)).trouble is Trouble.PROTOCOL


def test_a_reply_to_the_message_cannot_come_before_the_message(smtp_server: Start) -> None:
    server = smtp_server(replies={"NOOP": Pieces([b"354 go\r\n250 got it\r\n"])})
    with connected(server) as client:
        greeted(client)
        assert noop(client).code == 354
        answer = broken(lambda: client.send_content([b"text\r\n.\r\n"]))
    assert (answer.phase, answer.trouble) == (Phase.BODY, Trouble.PROTOCOL)


def test_what_is_no_reply_ends_the_session_only(smtp_server: Start) -> None:
    server = smtp_server(replies={"GREETING": b"SSH-2.0-x"})
    with connected(server) as client:
        answer = broken(lambda: client.reply(Phase.GREETING, 20))
    assert (answer.phase, answer.trouble) == (Phase.GREETING, Trouble.PROTOCOL)


# EHLO and HELO


def test_ehlo_comes_first_and_its_offers_are_known(smtp_server: Start) -> None:  # A-010 A-013
    server = smtp_server(keywords=["size 1000", "PipeLining", "X-FOO a=b"])
    with connected(server) as client:
        assert greeted(client).good
        assert (client.esmtp, client.extensions) == (True, {"SIZE": "1000", "PIPELINING": "", "X-FOO": "a=b"})
    assert server.commands == [b"EHLO client.example.test"]


@pytest.mark.parametrize("code", [500, 501, 502, 504, 550])
def test_a_server_that_does_not_know_ehlo_gets_helo(smtp_server: Start, code: int) -> None:  # A-010 G-015
    replies = {"EHLO": b"%d what?" % code}
    server = smtp_server(replies=replies)
    with connected(server) as client:
        assert greeted(client).good
        assert (client.esmtp, client.extensions) == (False, {})
    assert server.commands == [b"EHLO client.example.test", b"HELO client.example.test"]


@pytest.mark.parametrize("code", [421, 450, 554, 521, 535])
def test_any_other_no_is_no_reason_for_helo(smtp_server: Start, code: int) -> None:  # A-011 G-014
    server = smtp_server(replies={"EHLO": b"%d no" % code})
    with connected(server) as client:
        answer = greeted(client)
    assert (answer.good, answer.reply and answer.reply.code) == (False, code)
    assert server.commands == [b"EHLO client.example.test"]


def test_a_second_ehlo_forgets_what_the_first_one_offered(smtp_server: Start) -> None:  # A-151 G-015
    server = smtp_server(
        on=lambda point, _, session: b"502 no" if session.commands.count(b"EHLO client.example.test") > 1 else None
    )
    with connected(server) as client:
        greeted(client)
        assert client.extensions
        client.hello(extended=True)
        assert (client.esmtp, client.extensions) == (False, {})


def test_plain_smtp_says_helo_and_takes_no_offer(smtp_server: Start) -> None:
    server = smtp_server()
    with connected(server) as client:
        assert greeted(client, extended=False).good
        assert client.extensions == {}
    assert server.commands == [b"HELO client.example.test"]


@pytest.mark.parametrize("hostname", ["box", "", "bücher.example"])
def test_a_host_without_a_full_name_gives_its_address(smtp_server: Start, hostname: str) -> None:  # A-008 A-009
    server = smtp_server()
    with connected(server, hostname) as client:
        greeted(client)
    assert server.commands == [b"EHLO [127.0.0.1]"]


def test_an_ipv6_address_is_tagged(smtp_server: Start) -> None:
    listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    connection = socket.create_connection(listener.getsockname()[:2])
    peer, _ = listener.accept()
    client = SMTPClient("box", Timeouts())
    client.attach(connection)
    peer.sendall(b"250 hello\r\n")
    assert broken(lambda: client.hello(extended=True)).trouble is Trouble.PROTOCOL  # nobody had asked
    client.close()
    peer.close()
    with socket.create_connection(listener.getsockname()[:2]) as connection:
        peer, _ = listener.accept()
        client = SMTPClient("box", Timeouts())
        client.attach(connection)
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
    listener.close()
    assert answers == [b"EHLO [IPv6:::1]\r\n"]


# Sign-in

USER, PASSWORD = "me@example.org", "pä$$wörd"


def sign_in(server: ScriptedServer, mechanism: str = "auto", password: str = PASSWORD) -> Answer:
    with connected(server) as client:
        greeted(client)
        return client.authenticate(USER, password, mechanism)


def test_plain_is_one_line_of_utf8(smtp_server: Start) -> None:  # A-120 A-123 G-031
    server = smtp_server(credentials=(USER, PASSWORD))
    assert sign_in(server).good
    initial = base64.b64encode(f"\0{USER}\0{PASSWORD}".encode())
    assert server.commands[1:] == [b"AUTH PLAIN " + initial]
    assert server.sessions[0].user == USER


def test_login_answers_prompts_whatever_they_say(smtp_server: Start) -> None:
    server = smtp_server(credentials=(USER, PASSWORD))
    assert sign_in(server, "login").good
    assert server.commands[1:] == [b"AUTH LOGIN"]
    assert server.sessions[0].user == USER


def test_a_third_prompt_is_cancelled(smtp_server: Start) -> None:
    server = smtp_server(
        keywords=["AUTH LOGIN"],
        on=lambda point, _, session: (
            b"501 cancelled" if point == "*" else b"334 eA==" if point not in ("GREETING", "EHLO") else None
        ),
    )
    answer = sign_in(server)
    assert (answer.phase, answer.trouble) == (Phase.AUTH, Trouble.PROTOCOL)
    assert server.commands[1] == b"AUTH LOGIN" and server.commands[-1] == b"*"
    assert len(server.commands) == 5


def test_a_challenge_that_is_no_base64_is_cancelled(smtp_server: Start) -> None:  # A-132 G-035
    server = smtp_server(keywords=["AUTH LOGIN"], replies={"AUTH": b"334 @@@", "*": b"501 cancelled"})
    assert sign_in(server).trouble is Trouble.PROTOCOL
    assert server.commands[1:] == [b"AUTH LOGIN", b"*"]


@pytest.mark.parametrize("code", [535, 503, 454, 421, 501])
def test_a_wrong_password_is_said_once_and_with_one_mechanism(smtp_server: Start, code: int) -> None:  # A-134 A-135 G-032 G-033
    server = smtp_server(keywords=["AUTH PLAIN LOGIN"], replies={"AUTH": b"%d 5.7.8 no" % code})
    answer = sign_in(server)
    assert not answer.good and answer.reply is not None and answer.reply.code == code
    assert len([line for line in server.commands if line.startswith(b"AUTH")]) == 1


@pytest.mark.parametrize("code", [504, 534])
def test_a_mechanism_that_is_not_for_us_is_followed_by_the_next(smtp_server: Start, code: int) -> None:
    server = smtp_server(credentials=(USER, PASSWORD), replies={"AUTH PLAIN": b"%d no" % code})
    assert sign_in(server).good
    assert [line.split()[1] for line in server.commands[1:]] == [b"PLAIN", b"LOGIN"]


def test_a_long_initial_response_waits_for_its_challenge(smtp_server: Start) -> None:
    password = "x" * 600
    server = smtp_server(credentials=(USER, password))
    assert sign_in(server, password=password).good
    assert server.commands[1:] == [b"AUTH PLAIN"]
    assert server.sessions[0].user == USER


@pytest.mark.parametrize(
    ("offer", "wanted"),
    [("", "auto"), ("AUTH", "auto"), ("AUTH CRAM-MD5", "auto"), ("AUTH PLAIN", "login"), ("AUTH=LOGIN", "plain")],
)
def test_no_usable_mechanism_says_what_is_offered_and_no_secret(smtp_server: Start, offer: str, wanted: str) -> None:
    server = smtp_server(keywords=[offer] if offer else [])
    answer = sign_in(server, wanted)
    assert answer.trouble is Trouble.NO_MECHANISM and PASSWORD not in answer.text
    assert len(server.commands) == 1


# TLS


def test_what_is_said_in_clear_behind_the_220_ends_the_session(
    smtp_server: Start, certificates: Certificates
) -> None:  # A-152 G-029
    from smartrelay.smtp import tls

    server = smtp_server(
        certificate=certificates.server, replies={"STARTTLS": Pieces([b"220 ok\r\n250-x\r\n250 AUTH PLAIN\r\n"])}
    )
    with connected(server) as client:
        greeted(client)
        answer = broken(lambda: client.start_tls(tls.verified(certificates.ca_file), "localhost"))
    assert (answer.phase, answer.trouble) == (Phase.STARTTLS, Trouble.PROTOCOL)


def test_tls_forgets_what_was_offered_in_clear(smtp_server: Start, certificates: Certificates) -> None:  # A-151 A-153 A-169
    from smartrelay.smtp import tls

    server = smtp_server(certificate=certificates.server)
    with connected(server) as client:
        greeted(client)
        assert "STARTTLS" in client.extensions
        assert client.start_tls(tls.verified(certificates.ca_file), "localhost").trouble is None
        assert client.extensions == {} and client.tls.startswith("TLSv1.")
        assert client.hello(extended=True).good
        assert noop(client).code == 250  # the look for early replies is at home in TLS too
    assert server.commands == [b"EHLO client.example.test", b"STARTTLS", b"EHLO client.example.test", b"NOOP"]


# The end


@pytest.mark.parametrize("end", [b"221 bye", b"500 what?", b"nonsense", Action.CLOSE, Action.RESET, Action.SILENCE])
def test_quit_never_raises_and_never_takes_long(smtp_server: Start, end: bytes | Action) -> None:  # A-062 G-027
    server = smtp_server(replies={"QUIT": end})
    with connected(server, timeouts=Timeouts(quit=SHORT)) as client:
        greeted(client)
        client.goodbye()
        assert client.sock is None
        client.goodbye()
    assert server.commands[-1] == b"QUIT"


def test_another_thread_can_end_a_session(smtp_server: Start) -> None:
    server = smtp_server()
    gate = server.gate("NOOP")
    with connected(server) as client:
        greeted(client)

        def end() -> None:
            gate.wait_reached()
            client.abort()

        thread = threading.Thread(target=end)
        thread.start()
        answer = broken(lambda: noop(client))
        thread.join()
        gate.open()
        client.close()
        client.abort()
    assert answer.trouble is Trouble.LOST
