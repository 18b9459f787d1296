"""A session: one answer for each recipient whatever the server does, and nothing on the wire that makes no sense."""

import re
import select
import socket
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartrelay.config import Timeouts
from smartrelay.relay.blame import Scope, judge
from smartrelay.smtp.client import SMTPClient
from smartrelay.smtp.connector import Target
from smartrelay.smtp.dialogue import Answer, Phase, Trouble
from smartrelay.smtp.opening import open_session
from smartrelay.smtp.session import Session
from smartrelay.smtp.transaction import Transaction
from tests.smtp.scene import (
    NAME,
    PATIENT,
    R1,
    R2,
    R3,
    SHORT,
    TEXT,
    Start,
    Told,
    codes,
    in_doubt,
    message,
    numbered,
    one,
    opened,
    policy,
    relay,
    relay_all,
    said,
    verbs,
)
from tests.support.queues import few
from tests.support.smtp_server import Action, Gate, Pieces, ScriptedServer
from tests.support.smtp_server import Session as Seen

KEYWORDS = {True: ["PIPELINING"], False: []}
BOTH = pytest.mark.parametrize("pipelining", [True, False])
SENT = [(Phase.END, 250)]


def paths(server: ScriptedServer) -> list[tuple[bytes, list[bytes]]]:
    """Sender and recipients of what was accepted."""
    return [(each.mail_from.split(b" ")[1], each.recipients) for each in server.accepted]


def own_text(server: ScriptedServer) -> None:
    """Each accepted message has the number of its sender in its text and in its recipients."""
    for each in server.accepted:
        found = re.search(rb"<s(\d+)@", each.mail_from)
        assert found is not None
        assert each.content.startswith(b"Subject: " + found[1] + b"\r\n")
        assert {path[path.index(b"@") - len(found[1]) : path.index(b"@")] for path in each.recipients} == {found[1]}


# What comes of a message


@BOTH
def test_all_recipients_get_the_answer_to_the_message(smtp_server: Start, pipelining: bool) -> None:
    # A-040 A-041 A-050 A-057 A-071
    server = smtp_server(keywords=KEYWORDS[pipelining])
    session = opened(server)
    assert [codes(each) for each in relay(session, message(), message([R3], sender=""))] == [SENT * 2, SENT]
    first, second = server.accepted
    assert (first.mail_from, first.recipients) == (b"MAIL FROM:<s@a.example>", [b"<r1@b.example>", b"<r2@b.example>"])
    assert second.mail_from == b"MAIL FROM:<>"
    assert first.content == TEXT.replace(b"\n", b"\r\n")
    assert first.data == b"Subject: x\r\n\r\n..body\r\n.\r\n"
    assert (session.completed, session.over) == (2, True)
    assert server.commands[-1] == b"QUIT"


@BOTH
@pytest.mark.parametrize("code", [550, 451, 552, 452])
def test_a_no_to_mail_is_everybodys(smtp_server: Start, pipelining: bool, code: int) -> None:  # A-016 A-050 A-092
    """The same sender is tried again with the next message."""
    said_no: list[bytes] = []

    def on(point: str, argument: bytes, session: Seen) -> bytes | None:
        if point == "MAIL" and not said_no:
            said_no.append(argument)
            return b"%d no" % code
        return None

    server = smtp_server(keywords=KEYWORDS[pipelining], on=on)
    refused, sent = relay(opened(server), message(), message([R1]))
    assert codes(refused) == [(Phase.MAIL, code)] * 2
    assert {judge(answer, "h").status.action for answer in refused} == {"failed" if code >= 500 else "deferred"}
    assert codes(sent) == SENT
    if not pipelining:
        assert verbs(server) == ["MAIL", "MAIL", "RCPT", "DATA"]


@BOTH
def test_each_recipient_has_its_own_answer(smtp_server: Start, pipelining: bool) -> None:  # A-051 A-053 A-059 A-021
    replies = {
        "RCPT TO:<R2": b"550 5.1.1 no",
        "RCPT TO:<R3": b"450 4.2.1 later",
        "RCPT TO:<R4": b"252 x",
        "DOT": b"451 4.3.0 disk",
    }
    server = smtp_server(keywords=KEYWORDS[pipelining], replies=replies)
    answers = one(opened(server), message([R1, R2, R3, "r4@b.example"]))
    assert codes(answers) == [(Phase.END, 451), (Phase.RCPT, 550), (Phase.RCPT, 450), (Phase.END, 451)]


@BOTH
@pytest.mark.parametrize(
    ("code", "action"), [(250, "delivered"), (299, "delivered"), (451, "deferred"), (552, "failed"), (354, "deferred")]
)
def test_the_answer_to_the_message_goes_by_its_first_digit(
    smtp_server: Start, pipelining: bool, code: int, action: str
) -> None:
    # A-021 A-059 A-092 G-022
    server = smtp_server(keywords=KEYWORDS[pipelining], replies={"DOT": b"%d x" % code})
    (answer,) = one(opened(server), message([R1]))
    assert judge(answer, "h").status.action == action


@BOTH
def test_a_message_for_nobody_is_not_sent(smtp_server: Start, pipelining: bool) -> None:  # A-015 A-052 A-063
    """And RSET comes before the next MAIL."""
    server = smtp_server(keywords=KEYWORDS[pipelining], replies={"RCPT TO:<R1": b"550 no", "RCPT TO:<R2": b"450 no"})
    nobody, somebody = relay(opened(server), message(), message([R3]))
    assert codes(nobody) == [(Phase.RCPT, 550), (Phase.RCPT, 450)]
    assert codes(somebody) == SENT
    assert len(server.accepted) == 1
    assert verbs(server) == ["MAIL", "RCPT", "RCPT", *["DATA"] * pipelining, "RSET", "MAIL", "RCPT", "DATA"]


@BOTH
def test_a_local_part_that_is_too_long_for_the_server_fails_alone(smtp_server: Start, pipelining: bool) -> None:
    """It is tried, for a server may take more than the standard asks of it."""
    long = "x" * 65 + "@b.example"
    for replies, said_of_it in (({}, (Phase.END, 250)), ({"RCPT TO:<XX": b"501 5.1.3 too long"}, (Phase.RCPT, 501))):
        server = smtp_server(keywords=KEYWORDS[pipelining], replies=replies)
        answers = one(opened(server), message([R1, long, R2]))
        assert codes(answers) == [(Phase.END, 250), said_of_it, (Phase.END, 250)]
        assert f"RCPT TO:<{long}>".encode() in server.commands


class Scripted:
    """The server's end of a socket pair: it waits for octets, says something, and so on; `heard` is what it read. gone: it
    hangs up in the end, and does not wait for us to."""

    def __init__(self, *steps: tuple[bytes, bytes], gone: bool = False) -> None:
        self._gone = gone
        self.ours, self._theirs = socket.socketpair()
        self.heard = bytearray()
        self._thread = threading.Thread(target=self._serve, args=(steps,))
        self._thread.start()

    def _serve(self, steps: tuple[tuple[bytes, bytes], ...]) -> None:
        with self._theirs:
            for awaited, reply in steps:
                while not self.heard.endswith(awaited):
                    data = self._theirs.recv(1000)
                    if not data:
                        return
                    self.heard += data
                self._theirs.sendall(reply)
            while not self._gone and (data := self._theirs.recv(1000)):
                self.heard += data

    def session(self, *keywords: str, lmtp: bool = False) -> Session:
        client = SMTPClient(self.ours, NAME, PATIENT, lmtp=lmtp)
        client.extensions = dict.fromkeys(keywords, "")
        return Session(client, "peer")

    def join(self) -> bytes:
        self._thread.join()
        return bytes(self.heard)


@pytest.mark.parametrize("verdict", [b"250 taken", b"554 5.5.1 no recipients"])
def test_a_server_that_asks_for_a_message_for_nobody_gets_a_lone_dot(verdict: bytes) -> None:
    """What it says to that is no delivery, and the next message goes over the same session."""
    theirs = Scripted(
        (b"DATA\r\n", b"250 ok\r\n550-no\r\n550 no\r\n450 no\r\n354 go\r\n"),
        (b"DATA\r\n.\r\n", verdict + b"\r\n"),
        (b"DATA\r\n", b"250 ok\r\n250 ok\r\n354 go\r\n"),
        (b"\r\n.\r\n", b"250 taken\r\n"),
        (b"QUIT\r\n", b"221 bye\r\n"),
    )
    nobody, somebody = relay(theirs.session("PIPELINING"), message(), message([R3]))
    assert codes(nobody) == [(Phase.RCPT, 550), (Phase.RCPT, 450)]
    assert codes(somebody) == SENT
    heard = theirs.join()
    assert b"DATA\r\n.\r\nMAIL" in heard and heard.endswith(b"\r\n.\r\nQUIT\r\n")


@pytest.mark.parametrize(
    "replies", [b"354 what?\r\n250 ok\r\n250 ok\r\n354 go\r\n", b"250 ok\r\n250 ok\r\n354 what?\r\n354 go\r\n"]
)
def test_a_354_out_of_place_ends_the_session_with_nothing_sent(replies: bytes) -> None:  # A-026 A-058
    """Neither text nor dot: with a recipient accepted, a lone dot would be an empty message to it."""
    theirs = Scripted((b"DATA\r\n", replies))
    session = theirs.session("PIPELINING")
    answers = one(session, message())
    assert session.over
    assert all(judge(answer, "h").status.action == "deferred" for answer in answers)
    assert theirs.join().endswith(b"DATA\r\n")


@BOTH
@pytest.mark.parametrize("code", [503, 554, 451, 250])
def test_no_content_is_sent_before_a_354(smtp_server: Start, pipelining: bool, code: int) -> None:  # A-026 A-058
    server = smtp_server(keywords=KEYWORDS[pipelining], replies={"DATA": b"%d no" % code})
    answers = one(opened(server), message())
    assert b"Subject" not in b"".join(said(server))
    assert codes(answers) == [(Phase.DATA, 0 if code == 250 else code)] * 2
    assert (answers[0].trouble is Trouble.PROTOCOL) == (code == 250)


@BOTH
def test_data_refused_is_followed_by_a_reset_and_the_next_message(
    smtp_server: Start, pipelining: bool
) -> None:  # A-015 A-058 A-063
    refused: list[int] = []

    def on(point: str, argument: bytes, session: Seen) -> bytes | None:
        if point == "DATA" and not refused:
            refused.append(1)
            return b"554 5.7.1 no"
        return None

    server = smtp_server(keywords=KEYWORDS[pipelining], on=on)
    answers = relay(opened(server), *numbered(3))
    assert [codes(each) for each in answers] == [[(Phase.DATA, 554)], SENT, SENT]
    assert verbs(server)[:6] == ["MAIL", "RCPT", "DATA", "RSET", "MAIL", "RCPT"]
    own_text(server)


@BOTH
def test_a_failing_rset_ends_the_session_and_the_rest_is_untouched(smtp_server: Start, pipelining: bool) -> None:  # A-063 G-025
    server = smtp_server(keywords=KEYWORDS[pipelining], replies={"RCPT": b"550 no", "RSET": b"451 no"})
    session = opened(server)
    first, second = relay(session, message([R1]), message([R2]), message([R3]))
    assert codes(first) == [(Phase.RCPT, 550)]
    assert codes(second) == [(Phase.RSET, 451)]
    assert session.over and session.completed == 1
    assert verbs(server).count("MAIL") == 1


@BOTH
@pytest.mark.parametrize("end", [b"421 4.3.2 bye", Action.CLOSE, Action.RESET])
@pytest.mark.parametrize("point", ["RCPT TO:<R2", "DATA", "DOT"])
def test_who_was_refused_stays_refused_when_the_session_breaks(
    smtp_server: Start, pipelining: bool, end: bytes | Action, point: str
) -> None:  # A-029 A-030 A-059 G-024
    if end is Action.RESET and pipelining:
        end = Action.CLOSE  # a reset takes along what was said before, if nobody has read it yet
    server = smtp_server(keywords=KEYWORDS[pipelining], replies={"RCPT TO:<R1": b"550 5.1.1 no", point: end})
    session = opened(server)
    first, second, third = one(session, message([R1, R2, R3]))
    assert codes([first]) == [(Phase.RCPT, 550)]
    for answer in (second, third):
        assert answer.trouble is Trouble.LOST or (answer.reply is not None and answer.reply.code == 421)
        assert judge(answer, "h").status.action == "deferred"
    assert session.over
    assert "QUIT" not in [line.decode() for line in server.commands]


@BOTH
@pytest.mark.parametrize("point", ["MAIL", "RCPT", "DATA", "DOT", "RSET"])
def test_421_anywhere_ends_the_session_and_only_what_was_asked(
    smtp_server: Start, pipelining: bool, point: str
) -> None:
    """The message that it answers is deferred; the next was not begun, and goes over another connection."""
    told: list[str] = []

    def on(where: str, argument: bytes, session: Seen) -> bytes | None:
        if where == "RCPT" and point == "RSET" and not told:
            told.append(where)
            return b"550 5.1.1 no"
        if where == point and len(told) == (point == "RSET"):
            told.append(where)
            return b"421 4.3.2 bye"
        return None

    server = smtp_server(keywords=KEYWORDS[pipelining], on=on)
    found = relay_all(lambda: opened(server), numbered(3))
    bad = 1 if point == "RSET" else 0
    assert codes([found[bad]]) == [(Phase.END if point == "DOT" else Phase[point], 421)] or pipelining
    assert judge(found[bad], "h").status.action == "deferred" and not judge(found[bad], "h").status.doubt
    assert codes(found[number] for number in range(3) if number not in (bad, bad - 1)) == SENT * (2 - bad)
    assert server.sessions[0].commands[-1:] != [b"QUIT"]
    own_text(server)


def test_a_421_between_two_messages_is_read_before_anything_is_said(smtp_server: Start) -> None:  # A-029 G-046
    gate = Gate()
    server = smtp_server(keywords=[], replies={"DOT": Pieces([b"250 ok\r\n", gate, b"421 4.4.2 idle\r\n"])})
    session = opened(server)
    waiting = deque([message([R1]), message([R2])])
    told = Told()

    def tell(wanted: Transaction, answers: dict[int, Answer]) -> None:
        told(wanted, answers)
        if wanted is first:
            gate.open()
            assert select.select([session.client.wire.connected()], [], [], 20)[0]

    first, second = waiting
    session.relay(lambda: waiting.popleft() if waiting else None, tell)
    session.close()
    assert codes(told.of(first)) == SENT
    assert codes(told.of(second)) == [(Phase.MAIL, 421)]
    assert verbs(server) == ["MAIL", "RCPT", "DATA"]


# Lost on the way


@BOTH
@pytest.mark.parametrize("end", [Action.CLOSE, Action.RESET, Action.SILENCE])
@pytest.mark.parametrize(
    ("point", "phase"),
    [("MAIL", Phase.MAIL), ("RCPT", Phase.RCPT), ("DATA", Phase.DATA), ("DOT", Phase.END)],
)
def test_the_connection_lost_at_each_step_names_the_step(
    smtp_server: Start, pipelining: bool, point: str, phase: Phase, end: Action
) -> None:
    """As if 451; in doubt is only what was sent to its end."""  # A-007 A-030 A-060 A-080 G-013 G-026
    if end is Action.RESET and pipelining and point != "DOT":
        end = Action.CLOSE  # a reset takes along what was said before, if nobody has read it yet
    server = smtp_server(keywords=KEYWORDS[pipelining], replies={point: end})
    times = Timeouts(command=SHORT, data=SHORT, data_end=SHORT, quit=SHORT)
    session = opened(server, timeouts=times)
    (answer,) = one(session, message([R1]))
    assert answer.phase is phase
    assert answer.trouble is (Trouble.TIMEOUT if end is Action.SILENCE else Trouble.LOST)
    status = judge(answer, "h").status
    assert (status.action, status.dsn, status.doubt) == ("deferred", "4.4.2", point == "DOT")
    assert str(phase) in status.text
    assert session.over and session.client.wire.sock is None


@pytest.mark.parametrize("point", ["EHLO", "MAIL", "RCPT", "DATA", "DOT"])
def test_each_step_has_the_limit_that_is_meant_for_it(smtp_server: Start, point: str) -> None:  # A-080 A-081 C-006 G-037
    """All others may take as long as they like."""
    limit = {"EHLO": "command", "MAIL": "command", "RCPT": "command", "DATA": "data", "DOT": "data_end"}[point]
    server = smtp_server(keywords=["PIPELINING"], replies={point: Action.SILENCE})
    times = dict.fromkeys(("greeting", "command", "data", "data_block", "data_end"), 1000.0)
    session = open_session(Target("localhost", server.port), policy(timeouts=Timeouts(**{**times, limit: SHORT})))
    answer = session if isinstance(session, Answer) else one(session, message([R1]))[0]
    assert answer.trouble is Trouble.TIMEOUT


@BOTH
def test_half_a_reply_to_the_dot_is_no_success(smtp_server: Start, pipelining: bool) -> None:  # A-025 G-011
    """Neither when the server then falls silent nor when it goes."""
    envelope = (b"DATA\r\n", b"250 ok\r\n250 ok\r\n354 go\r\n")
    replies = (b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n")
    asked = (b"@a.example>\r\n", b"@b.example>\r\n", b"DATA\r\n")
    before = [envelope] if pipelining else list(zip(asked, replies, strict=True))
    for gone, trouble in ((False, Trouble.TIMEOUT), (True, Trouble.LOST)):
        theirs = Scripted(*before, (b"\r\n.\r\n", b"250 2.0.0 ok"), gone=gone)
        session = theirs.session(*KEYWORDS[pipelining])
        session.client.timeouts = session.client.wire.timeouts = Timeouts(data_end=SHORT, quit=SHORT)
        (answer,) = one(session, message([R1]))
        theirs.join()
        assert (answer.phase, answer.trouble) == (Phase.END, trouble)
        assert in_doubt(answer)


def test_a_text_that_cannot_be_read_to_its_end_is_never_ended(smtp_server: Start) -> None:  # A-060 G-021
    """No dot behind half a message: the connection is dropped, and the message waits."""

    def failing() -> Iterator[bytes]:
        yield b"x" * 70 + b"\n"
        yield b"x" * 70 + b"\n"
        raise OSError(5, "Input/output error")

    good, bad, after = numbered(3)
    broken = Transaction(bad.reverse_path, bad.recipients, failing, bad.facts, cargo=1)
    for window, keywords in ((1, ["PIPELINING"]), (1, []), (8, ["PIPELINING", "CHUNKING"])):
        server = smtp_server(keywords=keywords)
        found = relay_all(lambda server=server, window=window: opened(server, window=window), [good, broken, after])  # type: ignore[misc]
        assert codes([found[0], found[2]]) == SENT * 2 or window == 8
        assert found[0].good and found[2].good
        status = judge(found[1], "h").status
        assert (status.action, status.doubt) == ("deferred", False)
        assert "Input/output error" in status.text
        own_text(server)
        assert len(server.accepted) == 2


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["MAIL", "RCPT", "DATA", "DOT", "RSET"]),
        st.integers(1, 12),
        st.sampled_from(
            [
                *(
                    b"550 no",
                    b"450 no",
                    b"452 4.5.3 no",
                    b"530 no",
                    b"421 bye",
                    b"354 what?",
                    b"250 odd",
                    b"299 odd",
                    b"nonsense",
                ),
                *(Action.CLOSE, Action.RESET, Action.KEEP_AND_CLOSE),
            ]
        ),
    ),
    max_size=5,
)


@few
@given(STEPS, st.booleans())
def test_no_server_makes_us_raise_lose_or_mix_up_mail(steps: list[tuple[str, int, bytes | Action]], pipelining: bool) -> None:
    """Law 10, for random replies and drops: what was said to be sent arrived, under its own envelope and once; what arrived
    and was not said to be sent is in doubt; and nothing is raised for what a peer does."""  # A-029 A-030 A-060 G-028
    script = {(point, number): say for point, number, say in steps if point == "DOT" or say is not Action.KEEP_AND_CLOSE}
    met: Counter[str] = Counter()

    def on(point: str, argument: bytes, session: Seen) -> bytes | Action | None:
        met[point] += 1
        return script.get((point, met[point]))

    with ScriptedServer(on=on, keywords=KEYWORDS[pipelining]) as server:
        found = relay_all(lambda: opened(server), numbered(10), most=40)
        assert len(found) == 10
        own_text(server)
        arrived = [int(each.mail_from.partition(b"<s")[2].partition(b"@")[0]) for each in server.accepted]
        assert len(arrived) == len(set(arrived))
        for number, answer in found.items():
            status = judge(answer, "h").status
            if status.action == "delivered":
                assert number in arrived
            elif number in arrived:
                assert status.doubt
            assert status.action != "failed" or (answer.reply is not None and answer.reply.kind == 5)


def test_no_credentials_where_they_are_wanted_is_our_mistake(smtp_server: Start) -> None:
    for point in ("MAIL", "RCPT"):
        (answer,) = one(opened(smtp_server(replies={point: b"530 5.7.0 authentication required"})), message([R1]))
        judgement = judge(answer, "h")
        assert (judgement.scope, judgement.status.action) == (Scope.ACCOUNT, "deferred")
        assert "authentication required" in judgement.status.text


@pytest.mark.parametrize(
    ("said_no", "dsn"),
    [
        (b"550 5.1.1 no", "5.1.1"),
        (b"550 4.2.2 x", "5.0.0"),
        (b"450 x", "4.0.0"),
        (b"550 5.1.1x", "5.0.0"),
        (b"550-5.7.1 a\r\n550 b", "5.7.1"),
        (b"550-a\r\n550 5.7.1 b", "5.7.1"),
    ],
)
def test_the_status_is_the_servers_where_it_agrees_with_the_code(smtp_server: Start, said_no: bytes, dsn: str) -> None:
    (answer,) = one(opened(smtp_server(replies={"RCPT": said_no})), message([R1]))
    assert judge(answer, "h").status.dsn == dsn


# What the wire carries

SMUGGLERS = [b"\n.\n", b"\n.\r\n", b"\r.\r\n", b"\r\n.\n", b"\r\n.\r", b"\r.\r", b"\r\n\0.\r\n", b"\r\n.\r\r\n"]


@BOTH
def test_no_server_can_see_an_end_of_data_where_there_is_none(smtp_server: Start, pipelining: bool) -> None:
    """One CRLF.CRLF for each message, no bare CR or LF, no NUL, no line over 998 octets."""
    # A-070 A-071 A-072 A-073 A-074 A-077 G-019
    texts = [b"Subject: x\n\nbody" + each + b"MAIL FROM:<evil@x.example>\n" for each in SMUGGLERS]
    texts += [b".", b".\n.\n", b"", b"\n.", b"Subject: x\n\n" + b"." + b"z" * 5000 + b"\n.\n"]
    server = smtp_server(keywords=KEYWORDS[pipelining])
    answers = relay(opened(server), *(message([R1], text=text) for text in texts))
    assert [codes(each) for each in answers] == [SENT] * len(texts)
    assert len(server.transactions) == len(texts) and b"evil" not in b"".join(server.commands)
    for each in server.accepted:
        assert not re.search(rb"(?<!\r)\n|\r(?!\n)|\0", each.data)
        assert each.data == b".\r\n" or (each.data.endswith(b"\r\n.\r\n") and each.data.count(b"\r\n.\r\n") == 1)
        assert max(map(len, each.data.split(b"\r\n"))) <= 999


# One by one, and the rider


def test_without_pipelining_each_command_waits_for_its_reply(smtp_server: Start) -> None:
    server = smtp_server(keywords=[])
    relay(opened(server), message(), message())
    assert [len(octets.splitlines()) for octets in said(server)] == [1, 1, 1, 1, 1, 4, 1, 1, 1, 1, 4, 1]


def test_the_next_envelope_rides_behind_the_dot(smtp_server: Start) -> None:
    """In the same write; one round trip a message, and nothing but the envelope of the next."""
    server = smtp_server(keywords=["PIPELINING"])
    relay(opened(server), *numbered(3))

    def envelope(number: int) -> bytes:
        return b"MAIL FROM:<s%d@a.example>\r\nRCPT TO:<r%d@b.example>\r\nDATA\r\n" % (number, number)

    def text(number: int) -> bytes:
        return b"Subject: %d\r\n\r\n" % number + b"line %d\r\n" % number * 20 + b".\r\n"

    assert said(server) == [
        b"EHLO client.example.test\r\n",
        envelope(0),
        text(0) + envelope(1),
        text(1) + envelope(2),
        text(2),
        b"QUIT\r\n",
    ]


def test_a_message_costs_one_round_trip(smtp_server: Start) -> None:
    """Counted, not timed: between two things that the client says the server says something once."""
    server = smtp_server(keywords=["PIPELINING"])
    relay(opened(server), *numbered(20))
    directions = "".join(who for who, _ in server.sessions[0].transcript)
    turns = len(re.findall("CS", directions))
    assert turns == 1 + 1 + 20 + 1  # EHLO, the first envelope, the messages, QUIT


def test_a_rider_is_not_waited_for_with_the_reply(smtp_server: Start) -> None:
    """The message is told of when its own reply is there, though the rider's are not."""
    gate = Gate()
    server = smtp_server(keywords=["PIPELINING"], on=lambda point, argument, session: hold(point, session))

    def hold(point: str, session: Seen) -> Pieces | None:
        return Pieces([gate, b"250 ok\r\n"]) if point == "MAIL" and len(session.transactions) == 1 else None

    session = opened(server)
    waiting = deque(numbered(2))
    told: list[object] = []

    def tell(wanted: Transaction, answers: dict[int, Answer]) -> None:
        told.append(wanted.cargo)
        if wanted.cargo == 0:
            assert codes(answers.values()) == SENT
            gate.wait_reached()
            gate.open()

    session.relay(lambda: waiting.popleft() if waiting else None, tell)
    session.close()
    assert told == [0, 1]


REFUSALS: dict[str, dict[str, bytes]] = {
    "recipient": {"RCPT TO:<BAD": b"550 5.1.1 no"},
    "recipient for now": {"RCPT TO:<BAD": b"450 4.2.1 no"},
    "sender": {"MAIL FROM:<BAD": b"550 5.7.1 no"},
    "sender for now": {"MAIL FROM:<BAD": b"451 4.7.1 no"},
}


@BOTH
@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.parametrize("bad", [{0}, {1}, {2}, {4}, {1, 2}, {0, 2, 4}, {0, 1, 2, 3, 4}])
def test_a_refused_envelope_behind_a_rider_lends_nothing_to_another_message(
    smtp_server: Start, refusal: str, bad: set[int], pipelining: bool
) -> None:
    """Each message that arrives does so under its own envelope, once; the refused ones never."""  # A-015 A-063 A-102
    server = smtp_server(keywords=KEYWORDS[pipelining], replies=REFUSALS[refusal])
    messages = numbered(5)
    for number in bad:
        wanted = messages[number]
        sender = f"bad{number}@a.example" if refusal.startswith("sender") else wanted.reverse_path
        path = wanted.recipients[0][0] if refusal.startswith("sender") else f"bad{number}@b.example"
        messages[number] = Transaction(sender, [(path, "", "")], wanted.text, wanted.facts, cargo=number)
    answers = relay(opened(server), *messages)
    code = int(next(iter(REFUSALS[refusal].values()))[:3])
    phase = Phase.MAIL if refusal.startswith("sender") else Phase.RCPT
    assert [codes(each) for each in answers] == [[(phase, code)] if number in bad else SENT for number in range(5)]
    own_text(server)
    assert [each.mail_from for each in server.accepted] == [b"MAIL FROM:<s%d@a.example>" % n for n in range(5) if n not in bad]
    assert len(server.sessions) == 1


@pytest.mark.parametrize("drop", [Action.KEEP_AND_CLOSE, Action.CLOSE, Action.RESET, Action.SILENCE])
def test_a_reply_to_the_dot_that_is_lost_leaves_one_message_in_doubt(smtp_server: Start, drop: Action) -> None:
    """The next, whose envelope rode along, was not begun: it goes over another connection, and only once."""  # A-060 G-026
    met: list[int] = []

    def on(point: str, argument: bytes, session: Seen) -> Action | None:
        if point == "DOT":
            met.append(1)
            return drop if len(met) == 3 else None
        return None

    server = smtp_server(keywords=["PIPELINING"], on=on)
    times = Timeouts(data_end=SHORT * 4, quit=SHORT)
    found = relay_all(lambda: opened(server, timeouts=times), numbered(6))
    assert [number for number in range(6) if in_doubt(found[number])] == [2]
    assert codes(found[number] for number in range(6) if number != 2) == SENT * 5
    assert len(server.sessions) == 2
    own_text(server)
    arrived = [each.mail_from for each in server.accepted]
    assert len(arrived) == len(set(arrived)) == 5 + (drop is Action.KEEP_AND_CLOSE)


def test_a_rider_that_is_too_long_for_one_write_does_not_ride(smtp_server: Start) -> None:
    """Both sides could otherwise wait for the other to read."""
    server = smtp_server(keywords=["PIPELINING"])
    long = message([f"{'x' * 60}{number}@b.example" for number in range(90)], cargo=1)
    answers = relay(opened(server), message([R1]), long, message([R2]))
    assert [codes(each) for each in answers] == [SENT, SENT * 90, SENT]
    assert max(len(octets) for octets in said(server)) < 4096 + 300
    assert all(len(each.recipients) in (1, 90) for each in server.accepted)


# Many recipients


@BOTH
def test_what_the_server_has_no_room_for_goes_in_further_transactions(smtp_server: Start, pipelining: bool) -> None:
    # A-054 A-055
    def on(point: str, argument: bytes, session: Seen) -> bytes | None:
        full = session.transaction is not None and len(session.transaction.recipients) >= 40
        return b"452 4.5.3 too many recipients" if point == "RCPT" and full else None

    server = smtp_server(keywords=KEYWORDS[pipelining], on=on)
    many = [f"r{number}@b.example" for number in range(95)]
    first, second = relay(opened(server), message(many), message([R1]))
    assert codes(first) == SENT * 95 and codes(second) == SENT
    assert sorted(len(each.recipients) for each in server.accepted) == [1, 15, 40, 40] or pipelining
    found = [path for each in server.accepted for path in each.recipients]
    assert sorted(found) == sorted(f"<{path}>".encode() for path in [*many, R1])
    assert len({each.content for each in server.accepted}) == 1
    assert len(server.sessions) == 1


def test_no_room_for_anybody_is_no_loop(smtp_server: Start) -> None:
    server = smtp_server(replies={"RCPT": b"452 4.5.3 too many recipients"})
    answers = one(opened(server), message())
    assert codes(answers) == [(Phase.RCPT, 452)] * 2
    assert verbs(server).count("MAIL") == 1


def test_who_was_held_over_when_the_session_ends_was_not_tried(smtp_server: Start) -> None:  # A-054 A-029
    server = smtp_server(replies={"RCPT TO:<R2": b"452 4.5.3 too many", "DOT": b"421 bye"})
    session = opened(server)
    first, second = one(session, message())
    assert codes([first]) == [(Phase.END, 421)]
    assert second.trouble is Trouble.UNTOUCHED


def test_250_recipients_are_three_transactions(smtp_server: Start) -> None:  # A-056 A-103
    server = smtp_server(replies={"RCPT TO:<R205@": b"550 no"})
    many = [f"r{number}@b.example" for number in range(250)]
    answers = codes(one(opened(server), message(many)))
    assert answers[205] == (Phase.RCPT, 550) and answers.count(SENT[0]) == 249
    assert [len(each.recipients) for each in server.accepted] == [100, 100, 49]
    assert len({each.content for each in server.accepted}) == 1


def test_a_thousand_recipients_and_tiny_replies_cause_no_dead_lock(smtp_server: Start) -> None:
    server = smtp_server(replies={"RCPT": b"250 2.1.5 " + b"x" * 400})
    many = [f"r{number}@b.example" for number in range(1000)]
    assert codes(one(opened(server), message(many))) == SENT * 1000


@pytest.mark.parametrize(
    ("limits", "most"), [("RCPTMAX=10", 10), ("rcptmax=10 X=y", 10), ("RCPTMAX=1000", 100), ("RCPTMAX=x", 100), ("", 100)]
)
def test_the_servers_own_limit_on_recipients_is_kept(smtp_server: Start, limits: str, most: int) -> None:
    server = smtp_server(keywords=["PIPELINING", f"LIMITS {limits}"])
    assert codes(one(opened(server), message([f"r{number}@b.example" for number in range(120)]))) == SENT * 120
    assert {len(each.recipients) for each in server.accepted[:-1]} == {most}


@BOTH
def test_the_servers_own_limit_on_messages_is_kept(smtp_server: Start, pipelining: bool) -> None:
    """The rest goes over further sessions, none of it lost."""
    server = smtp_server(keywords=[*KEYWORDS[pipelining], "LIMITS MAILMAX=3"])
    found = relay_all(lambda: opened(server), numbered(8))
    assert codes(found.values()) == SENT * 8
    assert [len(each.transactions) for each in server.sessions] == [3, 3, 2]


@BOTH
def test_a_limit_on_messages_that_was_not_announced_costs_no_message_anything(smtp_server: Start, pipelining: bool) -> None:
    """452 4.5.3 to MAIL, as OpenSMTPD says it: of recipients there is none yet, so the session is full."""  # A-055 A-063 A-106

    def on(point: str, argument: bytes, session: Seen) -> bytes | None:
        return b"452 4.5.3 Too many messages sent" if point == "MAIL" and len(session.transactions) == 3 else None

    server = smtp_server(keywords=KEYWORDS[pipelining], on=on)
    found = relay_all(lambda: opened(server), numbered(8))
    assert codes(found.values()) == SENT * 8
    assert [len(each.transactions) for each in server.sessions] == [3, 3, 2]
    assert all(each.commands[-1] == b"QUIT" for each in server.sessions)


@BOTH
def test_a_server_that_is_full_from_the_start_has_refused_the_message(smtp_server: Start, pipelining: bool) -> None:
    """Or it would be asked for ever."""
    server = smtp_server(keywords=KEYWORDS[pipelining], replies={"MAIL": b"452 4.5.3 Too many messages sent"})
    (answers,) = relay(opened(server), message([R1]))
    assert codes(answers) == [(Phase.MAIL, 452)]


def test_the_servers_own_limit_on_domains_is_kept(smtp_server: Start) -> None:
    server = smtp_server(keywords=["PIPELINING", "LIMITS RCPTDOMAINMAX=2"])
    many = [f"r{number}@{domain}.example" for number, domain in enumerate("aAbcbbdea")]
    assert codes(one(opened(server), message(many))) == SENT * 9
    found = [each.recipients for each in server.accepted]
    assert all(len({path.lower().partition(b"@")[2] for path in paths}) <= 2 for paths in found)
    assert sorted(path for paths in found for path in paths) == sorted(f"<{path}>".encode() for path in many)


def test_who_cannot_be_named_there_fails_and_the_others_go(smtp_server: Start) -> None:  # A-098 A-051
    server = smtp_server(keywords=["PIPELINING"])
    answers = one(opened(server), message([R1, "jörg@b.example", R2]))
    assert codes(answers) == [(Phase.END, 250), (Phase.MAIL, 0), (Phase.END, 250)]
    assert judge(answers[1], "h").status.dsn == "5.6.7"
    first, second = relay(opened(server), message(["jörg@b.example"]), message([R1]))
    assert codes(first) == [(Phase.MAIL, 0)] and codes(second) == SENT
    assert verbs(server).count("MAIL") == 2


def test_a_message_that_is_too_big_is_not_even_begun(smtp_server: Start) -> None:
    server = smtp_server(keywords=["SIZE 1000", "PIPELINING"])
    big, small = relay(opened(server), message([R1], text=TEXT + b"x\n" * 500), message([R1]))
    assert codes(big) == [(Phase.MAIL, 0)] and judge(big[0], "h").status.dsn == "5.3.4"
    assert codes(small) == SENT and verbs(server).count("MAIL") == 1


# LMTP


def over_tcp(server: ScriptedServer) -> Target:
    return Target("localhost", server.port)


def over_local_socket(server: ScriptedServer) -> Target:
    assert server.path is not None
    return Target("", 0, server.path)


@pytest.mark.parametrize("where", [over_tcp, over_local_socket])
@BOTH
def test_lmtp_has_an_answer_for_each_recipient(
    smtp_server: Start, tmp_path_factory: pytest.TempPathFactory, where: Callable[[ScriptedServer], Target], pipelining: bool
) -> None:
    """RFC 2033: mixed as they may be, they belong to the accepted ones in their order."""  # A-059 G-043
    path = f"{tmp_path_factory.mktemp('lmtp')}/socket" if where is over_local_socket else None
    replies = {
        "RCPT TO:<R2": b"550 5.1.1 no",
        "DOT <R3@": b"452 4.2.2 full",
        "DOT <R4@": b"550 5.7.1 no",
    }
    server = smtp_server(lmtp=True, path=path, keywords=KEYWORDS[pipelining], replies=replies)
    session = open_session(where(server), policy(lmtp=True))
    assert isinstance(session, Session)
    assert session.peer == path if path else session.peer.endswith(f":{server.port}")
    five = [R1, R2, R3, "r4@b.example", "r5@b.example"]
    for answers in relay(session, message(five), message(five), message([R1])):
        expected = [(Phase.END, 250), (Phase.RCPT, 550), (Phase.END, 452), (Phase.END, 550), (Phase.END, 250)]
        assert codes(answers) == expected[: len(answers)]
    assert server.commands[0] == b"LHLO " + NAME.encode()
    assert verbs(server).count("MAIL") == 3 and "RSET" not in verbs(server)
    assert len(server.sessions) == 1


@pytest.mark.parametrize("end", [Action.CLOSE, b"421 bye"])
def test_lmtp_lost_in_the_middle_of_the_answers(smtp_server: Start, end: Action | bytes) -> None:  # A-060 G-043
    """Who has an answer keeps it; the rest is in doubt."""
    server = smtp_server(lmtp=True, replies={"DOT <R2@": end})
    session = open_session(Target("localhost", server.port), policy(lmtp=True))
    assert isinstance(session, Session)
    first, second, third = one(session, message([R1, R2, R3]))
    assert codes([first]) == SENT
    assert codes([second]) == [(Phase.END, 0 if end is Action.CLOSE else 421)]
    assert in_doubt(third)


def test_lmtp_to_a_server_that_does_not_know_it_says_no_helo(smtp_server: Start) -> None:
    server = smtp_server(lmtp=True, replies={"LHLO": b"500 what?"})
    answer = open_session(Target("localhost", server.port), policy(lmtp=True))
    assert isinstance(answer, Answer) and codes([answer]) == [(Phase.EHLO, 500)]
    assert server.commands == [b"LHLO " + NAME.encode(), b"QUIT"]


# The end


@pytest.mark.parametrize("end", [b"221 bye", b"500 what?", b"nonsense", Action.CLOSE, Action.RESET, Action.SILENCE])
def test_quit_never_changes_a_result_and_never_takes_long(smtp_server: Start, end: bytes | Action) -> None:  # A-061 A-062 G-027
    """All is told before it is said."""
    server = smtp_server(replies={"QUIT": end})
    session = opened(server, timeouts=Timeouts(quit=SHORT))
    (answers,) = relay(session, message([R1]), close=False)
    assert codes(answers) == SENT
    assert not any(line.startswith(b"QUIT") for line in server.commands)
    session.close()
    assert session.client.wire.sock is None
    assert server.commands[-1] == b"QUIT"


def test_a_session_that_has_ended_takes_nothing_more(smtp_server: Start) -> None:
    server = smtp_server(replies={"MAIL": b"421 bye"})
    session = opened(server)
    answers = relay(session, message([R1]), message([R2]), close=False)
    assert len(answers) == 1 and session.over
    assert relay(session, message([R3])) == []


# What is made ready while the server is at work


@BOTH
def test_what_was_made_ready_is_not_begun_when_the_pass_stops(smtp_server: Start, pipelining: bool) -> None:
    """No new transaction after a stop: neither the next message, nor the one that was prepared meanwhile."""
    stop = threading.Event()

    def on(point: str, argument: bytes, session: Seen) -> None:
        if point == "DOT":
            stop.set()

    server = smtp_server(on=on, keywords=KEYWORDS[pipelining])
    session, waiting, told = opened(server), deque(numbered(3)), Told()
    pulled: list[Transaction] = []

    def pull() -> Transaction | None:
        if stop.is_set() or not waiting:
            return None
        pulled.append(waiting.popleft())
        return pulled[-1]

    session.relay(pull, told, stop.is_set)
    session.close()
    assert len(server.accepted) == 1
    answers = [told.of(each)[0] for each in pulled]
    assert answers[0].good and all(answer.trouble is Trouble.UNTOUCHED for answer in answers[1:])


@BOTH
def test_trouble_with_the_next_message_waits_for_the_verdict_on_this_one(smtp_server: Start, pipelining: bool) -> None:
    """A bug of ours behind a final dot must not make the message that the server has taken go a second time."""
    server = smtp_server(keywords=KEYWORDS[pipelining])
    session, told = opened(server, timeouts=Timeouts(data=SHORT, quit=SHORT)), Told()
    first, *_ = messages = numbered(2 if pipelining else 1)
    given = iter(messages)

    def pull() -> Transaction | None:
        if (found := next(given, None)) is None:
            raise RuntimeError("a bug")
        return found

    with pytest.raises(RuntimeError):
        session.relay(pull, told)
    session.close()
    assert told.of(first)[0].good
    assert len(server.accepted) == 1


def test_who_cannot_be_named_does_not_cost_the_others_an_attempt(smtp_server: Start) -> None:
    """An unsendable recipient is told of at once; the others of a message that was not begun are untouched, all of them."""
    server = smtp_server(keywords=["PIPELINING"], replies={"DOT": b"421 bye"})
    session, told = opened(server), Told()
    waiting = deque([message([R1]), message([R2, "\u00fc@b.example"])])
    second = waiting[1]
    session.relay(lambda: waiting.popleft() if waiting else None, told)
    session.close()
    assert told.of(second)[0].trouble is Trouble.UNTOUCHED
    assert told.of(second)[1].trouble is Trouble.CONTENT
