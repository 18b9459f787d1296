"""The dialogue as a person reads it along: all that is said, in order, but no secret and no text of a message."""

import base64
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartrelay.smtp.dialogue import Answer, Phase, Reply
from smartrelay.smtp.opening import open_session
from smartrelay.smtp.session import Session
from smartrelay.smtp.transcript import Transcript
from tests.e2e.line_server import LineServer
from tests.smtp.scene import R1, R2, Start, message, one, opened, policy, refusal, target
from tests.support.certificates import Certificates
from tests.support.queues import many
from tests.support.smtp_server import ScriptedServer

USER, PASSWORD = "me", "hunter2 and more"
BASIC = ["S: 220 relay.example.test ESMTP", "C: EHLO client.example.test"]


class Ear:
    """A listener that keeps what it hears; all of one peer."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.peers: set[str] = set()

    def __call__(self, peer: str, line: str) -> None:
        self.peers.add(peer)
        self.lines.append(line)

    @property
    def envelope(self) -> list[str]:
        """What was said from MAIL on."""
        start = next(number for number, line in enumerate(self.lines) if line.startswith(("C: MAIL", "C: RSET")))
        return self.lines[start:]


def heard(server: ScriptedServer, recipients: tuple[str, ...] = (R1, R2), **changes: Any) -> Ear:
    """What is said while one message goes to this server."""
    ear = Ear()
    session = opened(server, listener=ear, **changes)
    one(session, message(recipients))
    assert ear.peers == {session.peer}
    return ear


def test_step_by_step_each_reply_stands_behind_its_command(smtp_server: Start) -> None:  # D-025
    lines = heard(smtp_server(keywords=[], replies={f"RCPT TO:<{R2}": b"550-5.1.1 no\r\n550 5.1.1 such user"})).lines
    assert lines == [
        *BASIC,
        "S: 250 relay.example.test",
        "C: MAIL FROM:<s@a.example>",
        "S: 250 2.1.0 ok",
        f"C: RCPT TO:<{R1}>",
        "S: 250 2.1.5 ok",
        f"C: RCPT TO:<{R2}>",
        "S: 550-5.1.1 no",
        "S: 550 5.1.1 such user",
        "C: DATA",
        "S: 354 go",
        "C: [the message, 21 octets]",
        "C: .",
        "S: 250 2.0.0 taken",
        "C: QUIT",
        "S: 221 2.0.0 bye",
    ]


def test_what_goes_out_together_stands_together(smtp_server: Start) -> None:
    """PIPELINING: the commands, then the replies, as they crossed the wire."""
    ear = heard(smtp_server(keywords=["PIPELINING"]), (R1,))
    assert [line[:7] for line in ear.envelope] == [
        "C: MAIL", "C: RCPT", "C: DATA", "S: 250 ", "S: 250 ", "S: 354 ", "C: [the", "C: .", "S: 250 ", "C: QUIT", "S: 221 ",
    ]  # fmt: skip


def test_a_message_in_a_chunk_is_told_by_its_size(smtp_server: Start) -> None:
    ear = heard(smtp_server(keywords=["PIPELINING", "CHUNKING"]), (R1,), window=4)
    sent = [line for line in ear.envelope if line.startswith("C: ")]
    assert sent == [
        "C: RSET",
        "C: MAIL FROM:<s@a.example>",
        f"C: RCPT TO:<{R1}>",
        "C: BDAT 21 LAST",
        "C: [the message, 21 octets]",
        "C: QUIT",
    ]
    assert len(ear.envelope) - len(sent) == 5


def test_with_lmtp_each_recipient_has_a_reply(smtp_server: Start) -> None:
    lines = heard(smtp_server(lmtp=True, keywords=["PIPELINING"]), lmtp=True).lines
    assert lines[1] == "C: LHLO client.example.test"
    assert [line[:6] for line in lines[lines.index("C: .") + 1 :]] == ["S: 250", "S: 250", "C: QUI", "S: 221"]


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_no_secret_is_told_and_tls_is(smtp_server: Start, certificates: Certificates, mechanism: str) -> None:
    server = smtp_server(certificate=certificates.server, credentials=(USER, PASSWORD))
    lines = heard(
        server, tls="starttls", ca_file=certificates.ca_file, signs_in=True, user=USER, secret=PASSWORD, mechanism=mechanism
    ).lines
    assert server.sessions[0].user == USER
    start = lines.index("C: STARTTLS")
    assert lines[start + 1].startswith("S: 220") and lines[start + 2].startswith("TLS: TLSv1.")
    text = "\n".join(lines)
    for secret in (PASSWORD, *(base64.b64encode(each.encode()).decode() for each in (PASSWORD, f"\0{USER}\0{PASSWORD}"))):
        assert secret not in text
    tail = lines[next(number for number, line in enumerate(lines) if line.startswith("C: AUTH")) :]
    tail = tail[: next(number for number, line in enumerate(tail) if line.startswith("C: MAIL"))]
    plain = ["C: AUTH PLAIN [hidden]"]
    login = ["C: AUTH LOGIN", "S: 334 [hidden]", "C: [hidden]", "S: 334 [hidden]", "C: [hidden]"]
    assert tail == [*(plain if mechanism == "PLAIN" else login), "S: 235 2.7.0 welcome"]


def test_why_there_is_no_tls_is_told(smtp_server: Start, certificates: Certificates) -> None:
    ear = Ear()
    refusal(smtp_server(certificate=certificates.untrusted), tls="starttls", ca_file=certificates.ca_file, listener=ear)
    assert ear.lines[-1].startswith("TLS: certificate refused: ")


def test_nothing_of_the_peer_reaches_the_terminal_that_could_move_its_cursor() -> None:
    """Greeting, EHLO and refusal with escape sequences, C1 controls and bidirectional overrides."""
    evil = b"\x1b[2J\x07\xc2\x9b31m\xe2\x80\xaeabc\x7f\xff"
    pieces = [b"220 %s\r\n" % evil, b"250-me%s\r\n250 X%s\r\n" % (evil, evil), b"550 %s\r\n" % evil, b"221 %s\r\n" % evil]
    ear = Ear()
    with LineServer(pieces) as server:
        session = open_session(target(server), policy(listener=ear))
        assert isinstance(session, Session)
        one(session, message([R1]))
    assert len(ear.lines) == 8
    assert all(line.isascii() and line.isprintable() for line in ear.lines)


@many
@given(st.lists(st.binary(max_size=60)), st.sampled_from(["PLAIN", "XOAUTH2", "SCRAM-SHA-256"]))
def test_of_a_sign_in_only_the_mechanism_is_told(responses: list[bytes], name: str) -> None:
    """Whatever the responses and challenges are: two that differ only in them are told in the same words."""
    assert _of_sign_in(responses, name) == _of_sign_in([b"" for _ in responses], name)


def _of_sign_in(responses: list[bytes], name: str) -> list[str]:
    ear = Ear()
    transcript = Transcript("peer", ear)
    transcript.sent([(Phase.AUTH, f"AUTH {name} eDEyMw==\r\n".encode())])
    for response in responses:
        encoded = base64.b64encode(response)
        transcript.received(Answer(Phase.AUTH, Reply(334, (encoded.decode(),))))
        transcript.sent([(Phase.AUTH, encoded + b"\r\n")])
    return ear.lines


@many
@given(st.sampled_from([phase for phase in Phase if phase is not Phase.AUTH]), st.text(), st.integers(0))
def test_whatever_is_said_is_one_printable_line(phase: Phase, text: str, octets: int) -> None:
    ear = Ear()
    transcript = Transcript("peer", ear)
    told: list[Callable[[], None]] = [
        lambda: transcript.sent([(phase, text.encode("utf-8", "surrogatepass") + b"\r\n")]),
        lambda: transcript.received(Answer(phase, Reply(250, (text,)))),
        lambda: transcript.secured(text),
        lambda: transcript.text(octets),
    ]
    for number, tell in enumerate(told, 1):
        tell()
        assert len(ear.lines) == number and ear.lines[-1].isprintable()


def test_without_a_listener_there_is_no_transcript(smtp_server: Start) -> None:
    session = opened(smtp_server())
    assert session.client.wire.transcript is None
    session.close()
