"""Opening a session: the greeting, EHLO or HELO, TLS by policy. No mail and no secret goes where it should not."""

import os
import re
import socket
import ssl
import struct
import threading
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from smartrelay.config import Timeouts
from smartrelay.errors import ConfigError
from smartrelay.relay.blame import Scope, judge
from smartrelay.smtp.client import SMTPClient
from smartrelay.smtp.connector import Connector, Target, connect
from smartrelay.smtp.dialogue import Answer, Phase, Trouble
from smartrelay.smtp.opening import Policy, open_session
from smartrelay.smtp.session import Session
from smartrelay.smtp.wire import SessionBroken
from tests.smtp.scene import (
    NAME,
    PATIENT,
    SHORT,
    TEXT,
    Start,
    codes,
    message,
    one,
    opened,
    policy,
    refusal,
    relay,
    said,
    target,
)
from tests.support.certificates import NAMES, Certificate, Certificates
from tests.support.clock import START, FakeClock
from tests.support.smtp_server import Action, Gate, Pieces, ScriptedServer
from tests.support.smtp_server import Session as Seen

SENT = [(Phase.END, 250)]
EHLO, QUIT = f"EHLO {NAME}".encode(), b"QUIT"


def kept(answer: Answer) -> None:
    """Whatever happens before MAIL, the mail waits."""
    assert judge(answer, "host").status.action == "deferred"


# The greeting


def test_nothing_is_said_before_the_whole_greeting(smtp_server: Start) -> None:  # A-001 A-002 A-020
    gate = Gate()
    server = smtp_server(replies={"GREETING": Pieces([b"2", b"20-go away,\r\n22", gate, b"0\r\n"])})
    found: list[Session] = []
    thread = threading.Thread(target=lambda: found.append(opened(server)))
    thread.start()
    gate.wait_reached()
    assert server.commands == []
    gate.open()
    thread.join()
    assert one(found[0], message())[0].good


@pytest.mark.parametrize("code", [421, 450, 521, 554])
def test_a_no_in_the_greeting_is_answered_with_quit_alone(smtp_server: Start, code: int) -> None:  # A-003 A-004 A-005 G-001
    server = smtp_server(replies={"GREETING": b"%d no" % code})
    answer = refusal(server)
    assert codes([answer]) == [(Phase.GREETING, code)]
    assert server.commands in ([], [QUIT])
    assert judge(answer, "host").scope is Scope.HOST
    kept(answer)


@pytest.mark.parametrize("end", [Action.CLOSE, Action.RESET, Action.SILENCE])
def test_no_greeting_names_the_phase(smtp_server: Start, end: Action) -> None:  # A-007 A-030
    server = smtp_server(replies={"GREETING": end})
    answer = refusal(server, timeouts=Timeouts(greeting=SHORT, quit=SHORT))
    assert answer.phase is Phase.GREETING
    assert answer.trouble is (Trouble.TIMEOUT if end is Action.SILENCE else Trouble.LOST)
    assert answer.text.endswith(" while waiting for the greeting")
    kept(answer)


def test_a_connection_that_is_reset_at_once_is_an_answer() -> None:
    """Whether or not it still has a peer when we ask for its name."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def connector(target: Target, timeouts: Timeouts) -> socket.socket:
            ours = socket.create_connection(listener.getsockname())
            theirs, _ = listener.accept()
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            theirs.close()
            return ours

        answer = open_session(Target("localhost", 25), policy(), connector=connector)
    assert isinstance(answer, Answer) and (answer.phase, answer.trouble) == (Phase.GREETING, Trouble.LOST)


@pytest.mark.parametrize("name", [NAME, f"{NAME.upper()}.", f"{NAME}  ESMTP ready"])
@pytest.mark.parametrize("point", ["GREETING", "EHLO"])
def test_an_exchanger_that_has_our_name_is_this_host(smtp_server: Start, point: str, name: str) -> None:  # B-019
    """No other address of it is tried; a relay that was chosen by name is who it was said to be."""
    code = b"220" if point == "GREETING" else b"250"
    server = smtp_server(replies={point: code + b" " + name.encode()})
    with smtp_server(address="127.0.0.2", port=server.port) as second:
        where = Target("mx.b.example", server.port, addresses=("127.0.0.1", "127.0.0.2"))
        answer = open_session(where, policy(exchanger=True))
        assert second.sessions == []
    assert isinstance(answer, Answer) and (answer.phase, answer.trouble) == (Phase[point], Trouble.LOOP)
    assert answer.text.startswith("mail loops back to this host: the server calls itself ")
    assert server.commands == ([QUIT] if point == "GREETING" else [EHLO, QUIT])
    kept(answer)
    assert codes(one(opened(server), message())) == [(Phase.END, 250)] * 2


@pytest.mark.parametrize(
    "greeting", [b"220", b"220 ", b"220 x" + NAME.encode(), b"220 ESMTP " + NAME.encode(), b"220 [127.0.0.1]"]
)
def test_an_exchanger_of_another_name_is_none_of_us(smtp_server: Start, greeting: bytes) -> None:  # B-019
    """Nor is one that calls itself by an address: behind address translation that may be two hosts'."""
    for hostname in (NAME, "box"):
        assert isinstance(opened(smtp_server(replies={"GREETING": greeting}), exchanger=True, hostname=hostname), Session)


@pytest.mark.parametrize(
    "greeting",
    [b"HTTP/1.1 400 Bad Request", b"SSH-2.0-x", b"600 x", b"199 x", b"220-a\r\n550 b", b"", b"\0" * 100, b"2_0 x", b"220ok"],
)
def test_what_is_no_smtp_ends_the_session_only(smtp_server: Start, greeting: bytes) -> None:  # A-006 A-022 G-011
    answer = refusal(smtp_server(replies={"GREETING": greeting}))
    assert (answer.phase, answer.trouble) == (Phase.GREETING, Trouble.PROTOCOL)
    status = judge(answer, "host").status
    assert (status.action, status.dsn) == ("deferred", "4.5.0")


@pytest.mark.parametrize("flood", [b"x" * (2 << 20), b"220-x\r\n" * 200_000, b"220-" + b"y" * (1 << 20)])
def test_a_flood_is_not_read_to_its_end(smtp_server: Start, flood: bytes) -> None:  # A-023 A-024 G-012
    answer = refusal(smtp_server(replies={"GREETING": Pieces([flood])}))
    assert answer.trouble is Trouble.PROTOCOL
    kept(answer)


# EHLO and HELO


@pytest.mark.parametrize("code", [500, 501, 502, 504, 550])
def test_a_server_that_does_not_know_ehlo_gets_helo(smtp_server: Start, code: int) -> None:  # A-010 G-009 G-014 G-015
    """On the same connection, and then no parameters."""
    server = smtp_server(replies={"EHLO": b"%d what?" % code})
    assert one(opened(server), message(notify="NEVER", ret="HDRS"))[0].good
    assert server.commands[:3] == [EHLO, f"HELO {NAME}".encode(), b"MAIL FROM:<s@a.example>"]


def test_who_needs_an_extension_gets_no_mail_by_helo(smtp_server: Start) -> None:  # A-098 G-009
    """It is not dropped without a word."""
    server = smtp_server(keywords=["SMTPUTF8"], replies={"EHLO": b"502 what?"})
    answers = one(opened(server), message(["r1@b.example", "jörg@b.example"]))
    assert codes(answers) == [(Phase.END, 250), (Phase.MAIL, 0)] and judge(answers[1], "h").status.dsn == "5.6.7"
    assert [line for line in server.commands if line.startswith(b"RCPT")] == [b"RCPT TO:<r1@b.example>"]


@pytest.mark.parametrize("code", [421, 450, 554, 521, 535, 354])
def test_any_other_no_is_no_reason_for_helo(smtp_server: Start, code: int) -> None:  # A-011 G-014
    server = smtp_server(replies={"EHLO": b"%d no" % code})
    answer = refusal(server)
    assert codes([answer]) == [(Phase.EHLO, code)]
    assert not any(line.startswith(b"HELO") for line in server.commands)
    kept(answer)


def test_a_no_to_helo_ends_it(smtp_server: Start) -> None:
    answer = refusal(smtp_server(replies={"EHLO": b"500 what?", "HELO": b"550 no"}))
    assert codes([answer]) == [(Phase.EHLO, 550)]
    kept(answer)


def hangs_up_on_ehlo(point: str, argument: bytes, session: Seen) -> Action | None:
    return Action.CLOSE if point == "EHLO" else None


def test_a_server_that_hangs_up_on_ehlo_gets_helo_on_a_second_connection(smtp_server: Start) -> None:
    server = smtp_server(on=hangs_up_on_ehlo)
    assert one(opened(server), message(notify="NEVER"))[0].good
    assert [session.commands[0] for session in server.sessions] == [EHLO, f"HELO {NAME}".encode()]


def test_but_no_third_one(smtp_server: Start) -> None:
    server = smtp_server(on=lambda point, _, session: Action.CLOSE if point in ("EHLO", "HELO") else None)
    answer = refusal(server)
    assert (answer.phase, answer.trouble) == (Phase.EHLO, Trouble.LOST)
    assert len(server.sessions) == 2


@pytest.mark.parametrize("changes", [{"tls": "starttls"}, {"tls": "none", "signs_in": True, "user": "me", "secret": "x"}])
def test_and_none_where_tls_or_a_sign_in_is_required(smtp_server: Start, changes: dict[str, object]) -> None:  # A-012 A-155
    server = smtp_server(on=hangs_up_on_ehlo)
    answer = refusal(server, **changes)
    assert (answer.phase, answer.trouble) == (Phase.EHLO, Trouble.LOST)
    assert server.commands == [EHLO]


def test_offers_are_understood_in_any_case_and_nonsense_is_passed_over(smtp_server: Start) -> None:  # A-013 A-101 G-017
    server = smtp_server(keywords=["size 1000", "PipeLining", "X-FOO a=b", "", "8bitmime", "limits x"])
    session = opened(server)
    assert session.client.extensions == {
        "SIZE": "1000", "PIPELINING": "", "X-FOO": "a=b", "8BITMIME": "", "LIMITS": "x"
    }  # fmt: skip
    assert one(session, message())[0].good


def test_plain_smtp_takes_no_offer(smtp_server: Start) -> None:
    server = smtp_server()
    assert one(opened(server, extended=False), message())[0].good
    assert server.commands[0] == f"HELO {NAME}".encode() and b"MAIL FROM:<s@a.example>" in server.commands


@pytest.mark.parametrize(
    ("hostname", "name"),
    [
        ("box", "[127.0.0.1]"),
        ("", "[127.0.0.1]"),
        ("localhost", "[127.0.0.1]"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("ü\u0378.example", "[127.0.0.1]"),
        ("A.Example", "A.Example"),
    ],
)
def test_we_give_a_full_name_in_ascii_or_our_address(smtp_server: Start, hostname: str, name: str) -> None:  # A-008 A-009 G-002
    server = smtp_server()
    one(opened(server, hostname=hostname), message())
    assert server.commands[0] == f"EHLO {name}".encode()


def test_an_ipv6_address_is_tagged(smtp_server: Start) -> None:  # A-008 G-002
    listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    with listener, socket.create_connection(listener.getsockname()[:2]) as ours, listener.accept()[0] as theirs:
        client = SMTPClient(ours, "box", PATIENT)
        client.wire.send([(Phase.EHLO, b"EHLO " + client.name().encode() + b"\r\n")])
        assert theirs.recv(100) == b"EHLO [IPv6:::1]\r\n"


# Replies


def test_a_reply_that_nobody_asked_for_ends_the_session(smtp_server: Start) -> None:
    """It would be taken for the answer to what comes next."""
    server = smtp_server(keywords=[], replies={"MAIL": Pieces([b"250 ok\r\n250 ok\r\n"])})
    (answer,) = one(opened(server), message(["r1@b.example"]))
    assert answer.trouble is Trouble.PROTOCOL
    assert judge(answer, "h").status.dsn == "4.5.0"
    assert server.commands[1:] == [b"MAIL FROM:<s@a.example>"]


def test_a_whole_reply_counts_whatever_nonsense_follows(smtp_server: Start) -> None:
    """The reply to the final dot is the verdict: to lose it would be a duplicate."""
    server = smtp_server(replies={"DOT": Pieces([b"250 queued\r\nnonsense\r\n"])})
    answers = relay(opened(server), message(), message())
    assert codes(answers[0]) == SENT * 2
    assert answers[1][0].trouble is Trouble.PROTOCOL or answers[1][0].trouble is Trouble.UNTOUCHED


@pytest.mark.parametrize("pipelining", [True, False])
def test_a_reply_to_the_message_cannot_come_before_the_message(smtp_server: Start, pipelining: bool) -> None:
    keywords = ["PIPELINING"] if pipelining else []
    server = smtp_server(keywords=keywords, replies={"DATA": Pieces([b"354 go\r\n250 got it\r\n"])})
    (answer,) = one(opened(server), message(["r1@b.example"]))
    assert (answer.phase, answer.trouble) == (Phase.BODY, Trouble.PROTOCOL)
    assert b"Subject" not in b"".join(said(server))


@pytest.mark.parametrize("reply", [b"250-a\r\n250-b\r\n250", b"250", b"250 " + b"x" * 4000, b"250-\r\n250 \x1b[31m\xff\0"])
def test_odd_replies_are_replies(smtp_server: Start, reply: bytes) -> None:  # A-002 A-020 A-023 A-027
    points = ("EHLO", "MAIL", "RCPT", "DOT", "RSET", "QUIT")
    server = smtp_server(keywords=[], replies=dict.fromkeys(points, reply))
    answers = relay(opened(server), message(), message())
    for answer in (each for pair in answers for each in pair):
        assert answer.good and answer.reply is not None and answer.reply.text.isprintable() and answer.reply.text.isascii()


def test_a_reply_is_bounded_in_time(smtp_server: Start) -> None:  # A-083 G-037
    """Each octet in time is not enough: the limit is for the whole of it."""
    ours, theirs = socket.socketpair()
    over = threading.Event()

    def drip() -> None:
        while not over.wait(SHORT / 5):
            theirs.sendall(b"2")

    thread = threading.Thread(target=drip)
    thread.start()
    client = SMTPClient(ours, NAME, Timeouts(greeting=SHORT))
    with pytest.raises(SessionBroken) as caught:
        client.wire.greeting()
    over.set()
    thread.join()
    client.close()
    theirs.close()
    assert caught.value.answer.trouble is Trouble.TIMEOUT


def test_a_hand_shake_is_bounded_in_time(certificates: Certificates) -> None:  # A-083 G-037
    """As a reply is: a record that comes octet by octet."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            theirs, _ = listener.accept()
            with theirs, suppress(OSError):
                theirs.sendall(b"\x16\x03\x03\x40\x00")  # a record of 16 KB is to come
                while not over.wait(SHORT / 5):
                    theirs.sendall(b"\x02")

        thread = threading.Thread(target=drip)
        thread.start()
        where = Target("localhost", listener.getsockname()[1])
        changes = {"tls": "implicit", "ca_file": certificates.ca_file, "timeouts": Timeouts(command=SHORT)}
        answer = open_session(where, policy(**changes))
        over.set()
        thread.join()
    assert isinstance(answer, Answer) and (answer.phase, answer.trouble) == (Phase.TLS, Trouble.TIMEOUT)


def test_each_step_has_a_limit_of_its_own_and_they_do_not_add_up(smtp_server: Start, clock: FakeClock) -> None:
    """Each answer comes after 0.8 of the limit."""
    limit = 100.0

    def on(point: str, argument: bytes, session: Seen) -> None:
        if point in ("GREETING", "EHLO", "MAIL", "RCPT", "DATA", "DOT"):
            clock.advance(limit * 0.8)

    server = smtp_server(keywords=[], on=on)
    times = Timeouts(greeting=limit, command=limit, data=limit, data_block=limit, data_end=limit)
    session = open_session(target(server), policy(timeouts=times), clock=clock)
    assert isinstance(session, Session), session
    assert one(session, message(["r1@b.example"]))[0].good
    assert clock() >= START + 6 * 0.8 * limit


def test_a_block_that_nobody_takes_has_its_limit() -> None:  # A-082 G-020
    ours, theirs = socket.socketpair()
    client = SMTPClient(ours, NAME, Timeouts(data_block=SHORT))
    with theirs, pytest.raises(SessionBroken) as caught:
        client.send_content([b"x" * 1000] * 100_000, [], [])
    client.close()
    assert (caught.value.answer.phase, caught.value.answer.trouble) == (Phase.BODY, Trouble.TIMEOUT)


@pytest.mark.parametrize("window", [1, 2])
def test_a_slow_reader_is_waited_for_as_long_as_it_takes_something(clock: FakeClock, window: int) -> None:
    """The limit is for a block: 8 MB at 64 KB in a tenth of it take ten times as long as it in all."""  # A-082 G-020
    limit = 100.0
    text = b"Subject: x\n\n" + (b"x" * 70 + b"\n") * 120_000 + b"end\n"
    ours, theirs = socket.socketpair()
    client = SMTPClient(ours, NAME, Timeouts(*[limit] * len(Timeouts._fields)), clock=clock)
    client.extensions = dict.fromkeys(["PIPELINING", "CHUNKING"], "")

    def serve() -> None:
        tail, taken = b"", 0
        if window == 1:
            assert theirs.recv(1000).endswith(b"DATA\r\n")
            theirs.sendall(b"250 ok\r\n250 ok\r\n354 go\r\n")
        while not tail.endswith(b"end\r\n.\r\n" if window == 1 else b"end\r\n"):
            data = theirs.recv(1 << 16)
            tail, taken = (tail + data)[-8:], taken + len(data)
            clock.advance(limit / 10 * (taken >> 16))
            taken %= 1 << 16
        theirs.sendall(b"250 ok\r\n" * (1 if window == 1 else 4))
        assert theirs.recv(1000) == b"QUIT\r\n"
        theirs.sendall(b"221 bye\r\n")

    thread = threading.Thread(target=serve)
    thread.start()
    (answer,) = one(Session(client, "peer", window=window), message(["r1@b.example"], text=text))
    thread.join()
    theirs.close()
    assert answer.good, answer
    assert clock() - START > 10 * limit


def test_a_window_of_messages_goes_by_the_clock_that_is_given(clock: FakeClock) -> None:
    """Half an answer when its time is over is none."""
    ours, theirs = socket.socketpair()
    client = SMTPClient(ours, NAME, PATIENT, clock=clock)
    client.extensions = dict.fromkeys(["PIPELINING", "CHUNKING"], "")

    def serve() -> None:
        heard = b""
        while not heard.endswith(b".body\r\n"):
            heard += theirs.recv(1000)
        clock.advance(PATIENT.data_end)
        theirs.sendall(b"250 o")

    thread = threading.Thread(target=serve)
    thread.start()
    (answer,) = one(Session(client, "peer", window=2), message(["r1@b.example"]))
    thread.join()
    theirs.close()
    assert (answer.phase, answer.trouble) == (Phase.CHUNK, Trouble.TIMEOUT)


def test_another_thread_can_end_a_session(smtp_server: Start) -> None:
    server = smtp_server()
    gate = server.gate("MAIL")
    session = opened(server)

    def end() -> None:
        gate.wait_reached()
        session.client.abort()

    thread = threading.Thread(target=end)
    thread.start()
    answers = one(session, message())
    thread.join()
    gate.open()
    session.client.abort()
    assert {answer.trouble for answer in answers} == {Trouble.LOST}


# TLS


def secured(server: ScriptedServer, certificates: Certificates, tls: str = "starttls", **changes: object) -> Session:
    return opened(server, tls=tls, ca_file=certificates.ca_file, **changes)


def test_after_the_hand_shake_everything_is_asked_again(smtp_server: Start, certificates: Certificates) -> None:
    """EHLO comes first, what was offered in clear is forgotten, and STARTTLS inside TLS is passed over."""
    # A-150 A-151 A-153 A-154 G-015

    def on(point: str, argument: bytes, session: Seen) -> bytes | None:
        if point == "EHLO":
            return (
                b"250-h\r\n250 STARTTLS"
                if session.tls
                else b"250-h\r\n250-STARTTLS\r\n250-SIZE\r\n250-DSN\r\n250 LIMITS RCPTMAX=1"
            )
        return None

    server = smtp_server(certificate=certificates.server, on=on)
    session = secured(server, certificates)
    assert one(session, message(notify="NEVER"))[0].good
    assert server.commands == [
        *[EHLO, b"STARTTLS", EHLO],
        *[b"MAIL FROM:<s@a.example>", b"RCPT TO:<r1@b.example>", b"RCPT TO:<r2@b.example>", b"DATA", QUIT],
    ]  # a limit from before TLS is none


def test_the_protocol_and_cipher_are_known(smtp_server: Start, certificates: Certificates) -> None:  # A-161 A-169
    session = secured(smtp_server(certificate=certificates.server), certificates)
    assert re.fullmatch(r"TLSv1\.[23] [A-Z0-9_-]+", session.client.tls)
    session.close()
    session = opened(smtp_server())
    assert session.client.tls == ""
    session.close()


@pytest.mark.parametrize("tls", ["starttls", "opportunistic"])
def test_what_is_said_in_clear_behind_the_220_ends_the_session(
    smtp_server: Start, certificates: Certificates, tls: str
) -> None:
    # A-152 G-029
    replies = {"STARTTLS": Pieces([b"220 ok\r\n250-x\r\n250 AUTH PLAIN\r\n"])}
    server = smtp_server(certificate=certificates.server, replies=replies)
    answer = refusal(server, tls=tls, ca_file=certificates.ca_file, signs_in=tls == "starttls", user="me", secret="hunter2")
    assert (answer.phase, answer.trouble) == (Phase.STARTTLS, Trouble.PROTOCOL)
    assert "before the TLS hand-shake" in answer.text and judge(answer, "host").status.dsn == "4.7.0"
    assert server.commands == [EHLO, b"STARTTLS"] and len(server.sessions) == 1
    kept(answer)


def test_required_tls_that_is_not_offered_ends_it(smtp_server: Start) -> None:  # A-121 A-155
    for replies in ({}, {"EHLO": b"502 what?"}):
        server = smtp_server(keywords=["AUTH PLAIN LOGIN"], replies=replies)
        answer = refusal(server, tls="starttls", signs_in=True, user="me", secret="hunter2")
        assert (answer.phase, answer.trouble) == (Phase.STARTTLS, Trouble.NO_TLS)
        assert [line for line in server.commands if not line.startswith(b"HELO")] == [EHLO, QUIT]
        assert judge(answer, "h").status.dsn == "4.7.4"


@pytest.mark.parametrize("say", [b"454 4.7.0 not now", b"501 no", b"554 5.7.1 no"])
def test_a_no_to_starttls_is_judged_by_policy(smtp_server: Start, certificates: Certificates, say: bytes) -> None:
    server = smtp_server(certificate=certificates.server, replies={"STARTTLS": say})
    answer = refusal(server, tls="starttls")
    assert codes([answer]) == [(Phase.STARTTLS, int(say[:3]))]
    assert server.commands == [EHLO, b"STARTTLS", QUIT]
    kept(answer)
    session = opened(server, tls="opportunistic")
    assert one(session, message())[0].good and len(server.sessions) == 2 and not server.sessions[1].tls


@pytest.mark.parametrize("tls", ["starttls", "opportunistic"])
def test_421_to_starttls_is_the_end(smtp_server: Start, certificates: Certificates, tls: str) -> None:
    server = smtp_server(certificate=certificates.server, replies={"STARTTLS": b"421 bye"})
    answer = refusal(server, tls=tls)
    assert codes([answer]) == [(Phase.STARTTLS, 421)]
    assert server.commands == [EHLO, b"STARTTLS"]


@pytest.mark.parametrize("point", ["GREETING", "EHLO", "HELO", "STARTTLS", "AUTH"])
def test_a_server_that_is_closing_is_told_nothing_more(smtp_server: Start, point: str) -> None:  # A-005 A-011 A-029
    """Not even QUIT, though it may wait for what we say (RFC 5321 section 3.8)."""
    replies = {point: Pieces([b"421 4.3.2 bye\r\n"])}
    if point == "HELO":
        replies["EHLO"] = Pieces([b"500 what?\r\n"])
    server = smtp_server(keywords=["STARTTLS", "AUTH PLAIN"], replies=replies)
    answer = refusal(server, tls="none" if point == "AUTH" else "starttls", signs_in=True, user="me", secret="hunter2")
    assert codes([answer]) == [(Phase.EHLO if point == "HELO" else Phase[point], 421)]
    server.wait_for(lambda: server.sessions[0].closed)
    assert QUIT not in server.commands
    kept(answer)


@pytest.mark.parametrize("tls", ["starttls", "implicit", "opportunistic"])
def test_a_hand_shake_that_fails_is_followed_by_clear_text_only_where_tls_was_a_favour(
    smtp_server: Start, certificates: Certificates, tls: str
) -> None:  # A-157 G-030 G-042
    server = smtp_server(certificate=certificates.server, implicit_tls=tls == "implicit", replies={"HANDSHAKE": Action.CLOSE})
    if tls == "opportunistic":
        assert one(opened(server, tls=tls), message())[0].good
        assert [session.tls for session in server.sessions] == [False, False]
        return
    answer = refusal(server, tls=tls, ca_file=certificates.ca_file)
    assert (answer.phase, answer.trouble) == (Phase.TLS, Trouble.TLS)
    assert len(server.sessions) == 1
    assert not any(line.startswith((b"MAIL", b"AUTH")) for line in server.commands)
    kept(answer)


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_a_session_that_did_not_come_about_leaves_no_socket(
    smtp_server: Start, certificates: Certificates, tls: str
) -> None:  # A-153 G-030 G-042
    implicit = tls == "implicit"
    servers = [
        smtp_server(certificate=certificates.server, implicit_tls=implicit, replies={"HANDSHAKE": Action.CLOSE}),
        smtp_server(certificate=certificates.server, implicit_tls=implicit, replies={"HANDSHAKE": Action.SILENCE}),
        smtp_server(certificate=certificates.untrusted, implicit_tls=implicit),
        smtp_server(certificate=certificates.server, implicit_tls=implicit, replies={"EHLO": b"554 no"}),
        smtp_server(replies={"GREETING": b"554 no"}),
        smtp_server(replies={"GREETING": Action.RESET}),
    ]

    def sockets() -> set[str]:
        return {link for link in map(linked, os.listdir("/proc/self/fd")) if link.startswith("socket:")}

    def linked(name: str) -> str:
        try:
            return os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            return ""  # the directory itself

    for server in servers:
        before = sockets()
        times = Timeouts(command=SHORT, greeting=20, quit=SHORT)
        refusal(server, tls=tls, ca_file=certificates.ca_file, timeouts=times)
        server.wait_for(lambda server=server: server.sessions[0].closed)  # type: ignore[misc]
        assert sockets() <= before


def test_a_hand_shake_that_hangs_has_its_limit(smtp_server: Start, certificates: Certificates) -> None:
    server = smtp_server(certificate=certificates.server, implicit_tls=True, replies={"HANDSHAKE": Action.SILENCE})
    answer = refusal(server, tls="implicit", ca_file=certificates.ca_file, timeouts=Timeouts(command=SHORT, quit=SHORT))
    assert (answer.phase, answer.trouble) == (Phase.TLS, Trouble.TIMEOUT)


@pytest.mark.parametrize("implicit", [True, False])
@pytest.mark.parametrize("wrong", ["expired", "wrong_name", "common_name_only", "untrusted"])
def test_a_certificate_must_be_good_where_tls_is_required(
    smtp_server: Start, certificates: Certificates, wrong: str, implicit: bool
) -> None:
    """Nothing is said after the hand-shake, least of all the secret."""  # A-158 A-159 A-162 A-163 G-005
    server = smtp_server(certificate=getattr(certificates, wrong), implicit_tls=implicit, credentials=("me", "hunter2"))
    answer = refusal(
        server,
        tls="implicit" if implicit else "starttls",
        ca_file=certificates.ca_file,
        signs_in=True,
        user="me",
        secret="hunter2",
    )
    assert (answer.phase, answer.trouble) == (Phase.TLS, Trouble.CERTIFICATE)
    assert server.commands == ([] if implicit else [EHLO, b"STARTTLS"])
    judgement = judge(answer, "h")
    assert (judgement.scope, judgement.status.action, judgement.status.dsn) == (Scope.ACCOUNT, "deferred", "4.7.5")


def test_the_name_to_verify_is_the_one_that_was_given(smtp_server: Start, certificates: Certificates) -> None:
    """An address counts only where the certificate has it."""  # A-159 A-160 G-004
    server = smtp_server(certificate=certificates.server)
    for host, good in (("localhost", True), ("127.0.0.1", True), ("127.0.0.2", False)):
        found = open_session(
            Target(host, server.port), policy(tls="starttls", ca_file=certificates.ca_file), connector=to(server)
        )
        assert isinstance(found, Session) == good
        if isinstance(found, Session):
            found.close()
        else:
            assert found.trouble is Trouble.CERTIFICATE


def to(server: ScriptedServer) -> Connector:
    """A connector that goes to the server, whatever the host is called."""

    def connector(target: Target, timeouts: Timeouts) -> socket.socket | Answer:
        return socket.create_connection((server.address, server.port))

    return connector


@pytest.mark.parametrize(
    ("host", "looked_up"),
    [
        ("bücher.example", "xn--bcher-kva.example"),
        ("faß.example", "xn--fa-hia.example"),  # what Python's own codec makes of it is another host's name
        ("Relay.Example", "Relay.Example"),
        ("::1", "::1"),
    ],
)
def test_a_host_is_looked_up_by_its_a_labels(smtp_server: Start, host: str, looked_up: str) -> None:  # A-099 G-045
    server, hosts = smtp_server(), list[str]()

    def connector(target: Target, timeouts: Timeouts) -> socket.socket | Answer:
        hosts.append(target.host)
        return to(server)(target, timeouts)

    session = open_session(Target(host, server.port), policy(), connector=connector)
    assert isinstance(session, Session) and hosts == [looked_up] and session.peer.startswith(f"{looked_up}[127.0.0.1]:")
    session.close()


def test_an_address_that_could_not_be_connected_to_is_left_when_another_hangs_up(smtp_server: Start) -> None:
    """A host that is down is found out by one connection to each of its addresses."""
    server, left = smtp_server(replies={"GREETING": Action.CLOSE}, address="127.0.0.3"), list[set[str]]()

    def connector(target: Target, timeouts: Timeouts) -> socket.socket | Answer:
        left.append(set(target.without or ()))
        return connect(target, timeouts)

    addresses = ("127.0.0.2", "127.0.0.3", "127.0.0.4")  # at two of them nobody listens
    answer = open_session(Target("h.example", server.port, addresses=addresses), policy(), connector=connector)
    assert isinstance(answer, Answer) and len(server.sessions) == 1
    assert left == [set(), {"127.0.0.2", "127.0.0.3"}]


def test_what_can_be_no_host_name_is_not_looked_up() -> None:
    answer = open_session(Target("ü..example", 25), policy())
    assert isinstance(answer, Answer) and (answer.phase, answer.trouble) == (Phase.LOOKUP, Trouble.NO_HOST)
    assert answer.text.isascii()
    kept(answer)


@pytest.mark.parametrize(
    ("host", "sni"),
    [("relay.example.test", "relay.example.test"), ("relay.faß.example", "relay.xn--fa-hia.example"), ("127.0.0.1", None)],
)
@pytest.mark.parametrize("tls", ["implicit", "starttls"])
def test_the_host_name_is_sent_for_sni_and_never_an_address(
    smtp_server: Start, certificates: Certificates, host: str, sni: str | None, tls: str
) -> None:  # A-160 G-004
    seen: list[str | None] = []

    class Recording(Certificate):
        def server_context(self) -> ssl.SSLContext:
            context = super().server_context()
            context.sni_callback = lambda connection, name, context: seen.append(name)
            return context

    certificate = Recording(certificates.server.cert_file, certificates.server.key_file)
    server = smtp_server(certificate=certificate, implicit_tls=tls == "implicit")
    found = open_session(Target(host, server.port), policy(tls=tls, ca_file=certificates.ca_file), connector=to(server))
    if isinstance(found, Session):
        found.close()
    else:
        assert host not in NAMES and found.trouble is Trouble.CERTIFICATE
    assert seen == [sni]


def test_where_tls_is_only_better_than_nothing_any_certificate_will_do(smtp_server: Start, certificates: Certificates) -> None:
    #
    for certificate in (certificates.untrusted, certificates.expired, certificates.wrong_name):
        server = smtp_server(certificate=certificate)
        assert one(opened(server, tls="opportunistic"), message())[0].good
        assert server.sessions[0].tls


@pytest.mark.parametrize("tls", ["starttls", "opportunistic"])
def test_old_tls_counts_as_none(smtp_server: Start, certificates: Certificates, tls: str) -> None:

    class Old(Certificate):
        def server_context(self) -> ssl.SSLContext:
            context = super().server_context()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                context.minimum_version = ssl.TLSVersion.TLSv1_1
                context.maximum_version = ssl.TLSVersion.TLSv1_1
            context.set_ciphers("ALL:@SECLEVEL=0")
            return context

    server = smtp_server(certificate=Old(certificates.server.cert_file, certificates.server.key_file))
    if tls == "opportunistic":
        assert one(opened(server, tls=tls), message())[0].good
        assert not server.sessions[-1].tls
    else:
        assert refusal(server, tls=tls, ca_file=certificates.ca_file).trouble is Trouble.TLS


def test_a_plain_greeting_where_tls_is_due_is_never_taken_for_one(
    smtp_server: Start, certificates: Certificates
) -> None:
    server = smtp_server()
    answer = refusal(server, tls="implicit", ca_file=certificates.ca_file)
    assert (answer.phase, answer.trouble) == (Phase.TLS, Trouble.TLS)
    assert not any(b"EHLO" in line or b"MAIL" in line for line in server.commands)
    kept(answer)


@pytest.mark.parametrize("tls", ["implicit", "starttls"])
def test_mail_over_verified_tls(smtp_server: Start, certificates: Certificates, tls: str) -> None:  # A-159 A-162 A-163
    server = smtp_server(certificate=certificates.server, implicit_tls=tls == "implicit")
    assert [codes(each) for each in relay(secured(server, certificates, tls), message(), message())] == [SENT * 2] * 2
    assert server.sessions[0].tls and server.accepted[0].content == TEXT.replace(b"\n", b"\r\n")


def demanding(certificates: Certificates) -> Certificate:
    """A server that asks for a client's certificate of the same authority."""

    class Demanding(Certificate):
        def server_context(self) -> ssl.SSLContext:
            context = super().server_context()
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(certificates.ca_file)
            return context

    return Demanding(certificates.server.cert_file, certificates.server.key_file)


@pytest.mark.parametrize("tls", ["implicit", "starttls"])
def test_a_client_certificate_says_who_we_are(smtp_server: Start, certificates: Certificates, tls: str) -> None:  # A-131 A-164
    def on(point: str, argument: bytes, session: Seen) -> bytes | None:
        return b"235 ok" if point == "AUTH" else None

    server = smtp_server(
        certificate=demanding(certificates), implicit_tls=tls == "implicit", keywords=["AUTH PLAIN EXTERNAL"], on=on
    )
    ours = certificates.server
    session = secured(server, certificates, tls, signs_in=True, certificate=ours.cert_file, key=ours.key_file)
    assert one(session, message())[0].good
    assert b"AUTH EXTERNAL =" in server.commands


def test_without_its_certificate_a_client_is_not_let_in(smtp_server: Start, certificates: Certificates) -> None:
    """With TLS 1.3 the refusal comes after our side of the hand-shake."""
    server = smtp_server(certificate=demanding(certificates), implicit_tls=True)
    kept(refusal(server, tls="implicit", ca_file=certificates.ca_file))
    assert server.commands == []


@pytest.mark.parametrize("missing", ["ca_file", "certificate", "key"])
def test_a_file_that_cannot_be_used_is_a_configuration_error(
    smtp_server: Start, certificates: Certificates, tmp_path: Path, missing: str
) -> None:
    """And no reason to bounce anything; the connection is closed."""
    (tmp_path / "nonsense").write_text("no PEM")
    ours = certificates.server
    files = {"ca_file": certificates.ca_file, "certificate": ours.cert_file, "key": ours.key_file}
    for path in (f"{tmp_path}/missing", f"{tmp_path}/nonsense"):
        server = smtp_server(certificate=certificates.server)
        with pytest.raises(ConfigError) as caught:
            open_session(target(server), policy(tls="starttls", **{**files, missing: path}))
        assert path in str(caught.value) or missing == "key"
        server.wait_for(lambda server=server: server.sessions[0].closed)  # type: ignore[misc]


# Secrets


def test_a_policy_shows_no_secret() -> None:  # A-138 G-041
    assert "hunter2" not in repr(policy(secret="hunter2"))
    assert "hunter2" not in str(Policy(NAME, PATIENT, secret="hunter2"))


def everything(server: ScriptedServer) -> Sequence[bytes]:
    return [octets for session in server.sessions for _, octets in session.transcript]


@pytest.mark.parametrize("keywords", [["AUTH PLAIN LOGIN"], ["AUTH PLAIN LOGIN", "STARTTLS"]])
def test_no_secret_goes_in_clear_where_tls_is_required(smtp_server: Start, keywords: list[str]) -> None:  # A-121 A-155
    server = smtp_server(keywords=keywords)
    kept(refusal(server, tls="starttls", signs_in=True, user="me", secret="hunter2"))
    assert not any(octets.startswith(b"AUTH") for octets in everything(server))
