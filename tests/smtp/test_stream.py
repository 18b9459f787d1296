"""Whole transactions in flight: each message under its own envelope, once, and in doubt is exactly what nobody answered for."""

import hashlib
import io
import threading
from collections import deque
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartrelay.config import Timeouts
from smartrelay.mail.envelope import Facts
from smartrelay.relay.blame import judge
from smartrelay.smtp.connector import Target, connect
from smartrelay.smtp.dialogue import Answer, Phase, Trouble
from smartrelay.smtp.opening import open_session
from smartrelay.smtp.session import Session
from smartrelay.smtp.transaction import Transaction
from tests.smtp.scene import R1, SHORT, HasPort, Told, codes, in_doubt, message, numbered, opened, policy, relay, relay_all
from tests.support.certificates import Certificates
from tests.support.chunking_server import Answer as Said
from tests.support.chunking_server import ChunkingServer, On
from tests.support.queues import few
from tests.support.smtp_script import Action, Gate

SENT = (Phase.CHUNK, 250)
WINDOW = 8


def streaming(server: HasPort, **changes: object) -> Session:
    return opened(server, **{"window": WINDOW, "tls": "none", **changes})


def small(server: HasPort, octets: int) -> Session:
    """A session whose socket has tiny buffers."""
    import socket

    def connector(target: Target, timeouts: Timeouts) -> socket.socket | Answer:
        connection = connect(target, timeouts)
        if not isinstance(connection, Answer):
            for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                connection.setsockopt(socket.SOL_SOCKET, option, octets)
        return connection

    session = open_session(Target("127.0.0.1", server.port), policy(window=WINDOW, tls="none"), connector=connector)
    assert isinstance(session, Session)
    return session


def number_of(octets: bytes) -> int:
    return int(octets.partition(b"@")[0].lstrip(b"<srbadmailo"))


def own_envelopes(server: ChunkingServer) -> list[int]:
    """The numbers of the messages that arrived: each under its own envelope, and as it was."""
    found = []
    for taken in server.taken:
        number = number_of(taken.sender)
        assert taken.body == b"Subject: %d\r\n\r\n" % number + b"line %d\r\n" % number * 20
        assert {number_of(path) for path in taken.recipients} == {number}
        found.append(number)
    return found


def at(point: str, *numbers: int, say: Said) -> On:
    """Says this when the point is met for these times."""
    return lambda where, number, argument: say if where == point and number in numbers else None


def bad_recipients(point: str, number: int, argument: bytes) -> Said:
    return b"550 5.1.1 no such user" if point == "RCPT" and argument.startswith(b"TO:<bad") else None


# What goes over the wire


def test_whole_transactions_follow_each_other_with_a_reset_before_each() -> None:  # A-104 A-101
    with ChunkingServer() as server:
        answers = relay(streaming(server), *numbered(20))
        assert [codes(each) for each in answers] == [[SENT]] * 20
        assert own_envelopes(server) == list(range(20))
        (commands,) = server.commands
    assert [line.split(b" ")[0] for line in commands] == [b"EHLO", *[b"RSET", b"MAIL", b"RCPT", b"BDAT"] * 20, b"QUIT"]
    for line in commands:
        if line.startswith(b"BDAT"):
            assert line.endswith(b" LAST")
        if line.startswith(b"MAIL"):
            assert b" SIZE=" in line


@pytest.mark.parametrize("keywords", [["PIPELINING"], ["CHUNKING"], []], ids=lambda keywords: "+".join(keywords) or "nothing")
def test_without_both_extensions_nothing_is_streamed(
    smtp_server: Callable[..., HasPort], keywords: list[str]
) -> None:  # A-101 A-104
    server = smtp_server(keywords=keywords)
    relay(streaming(server), *numbered(3))
    said = b"\n".join(server.commands)  # type: ignore[attr-defined]
    assert b"BDAT" not in said and said.count(b"DATA") == 3


def test_lmtp_is_not_streamed_whatever_it_offers(smtp_server: Callable[..., HasPort]) -> None:  # A-104 G-043
    """A reply for each recipient follows the text (RFC 2033 section 4.2), as Dovecot says them: none is the next message's."""
    server = smtp_server(lmtp=True, keywords=["PIPELINING", "CHUNKING"], replies={"DOT <R1@": b"452 4.2.2 full"})
    answers = relay(streaming(server, lmtp=True), *[message(["r0@b.example", R1, "r2@b.example"]) for _ in range(4)])
    assert [[code for _, code in codes(each)] for each in answers] == [[250, 452, 250]] * 4


def test_a_window_of_one_is_no_stream() -> None:
    with ChunkingServer() as server:
        relay(streaming(server, window=1), message([R1], text=b""))
        assert not any(line.startswith(b"BDAT") for line in server.commands[0])


def test_no_more_than_the_window_is_ever_unanswered() -> None:
    """Nothing is written beyond it while the first answer does not come."""
    gate = Gate()
    with ChunkingServer(at("CHUNK", 1, say=gate)) as server:
        session = streaming(server, window=3)
        waiting, pulled = deque(numbered(9)), []

        def pull() -> Transaction | None:
            if not waiting:
                return None
            pulled.append(waiting.popleft())
            return pulled[-1]

        def open_when_full() -> None:
            gate.wait_reached()
            assert len(pulled) <= 3
            gate.open()

        thread = threading.Thread(target=open_when_full)
        thread.start()
        told = Told()
        session.relay(pull, told)
        thread.join()
        session.close()
        assert own_envelopes(server) == list(range(9))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\n",
        b"a",
        b"a\n",
        b"a\nb",
        b".\n..\n.x",
        b"a\rb\nc\r\nd\r",
        b"\r\n.\r\n",
        b"x" * 998 + b"\n",
        b"Subject: x\n\n" + b"a\rb\n" * 50_000,
    ],
    ids=range(10),
)
def test_a_chunk_has_exactly_the_octets_that_were_announced(text: bytes) -> None:
    """No dot-stuffing, CRLF everywhere, never a bare CR, the last line ended."""  # A-071 A-072 A-104
    expected = text.replace(b"\r", b" ").replace(b"\n", b"\r\n")
    if not expected.endswith(b"\r\n") and expected:
        expected += b"\r\n"
    with ChunkingServer() as server:
        answers = relay(streaming(server), message([R1], text=text), message([R1], text=b"after\n"))
        assert [codes(each) for each in answers] == [[SENT]] * 2
        assert [taken.body for taken in server.taken] == [expected, b"after\r\n"]


@pytest.mark.parametrize("secure", [False, True])
def test_30_megabytes_arrive_as_they_are(certificates: Certificates, secure: bool) -> None:  # A-082 A-104
    line = b"0123456789" * 7 + b"\n"
    text = line * (30 * 1024 * 1024 // len(line))
    facts = Facts(len(text), len(text) + text.count(b"\n"), 70, 0)
    big = Transaction("s@a.example", [(R1, "", "")], lambda: io.BytesIO(text), facts)
    certificate = certificates.server if secure else None
    tls = {"tls": "implicit", "ca_file": certificates.ca_file} if secure else {}
    with ChunkingServer(certificate=certificate) as server:
        answers = relay(streaming(server, **tls), message([R1]), big, message([R1]))
        assert [codes(each) for each in answers] == [[SENT]] * 3
        wire = text.replace(b"\n", b"\r\n")
        assert len(server.taken[1].body) == len(wire)
        assert hashlib.sha256(server.taken[1].body).digest() == hashlib.sha256(wire).digest()


def test_nothing_above_the_servers_size_is_streamed() -> None:
    with ChunkingServer(keywords=["PIPELINING", "CHUNKING", "SIZE 1000"]) as server:
        big = message([R1], text=b"x\n" * 334)
        fits = message([R1], text=b"x\n" * 333)
        answers = relay(streaming(server), message([R1]), big, fits, message([R1]))
        assert [codes(each) for each in answers] == [[SENT], [(Phase.MAIL, 0)], [SENT], [SENT]]
        assert judge(answers[1][0], "h").status.dsn == "5.3.4"
        assert all(int(line.split()[1]) <= 1000 for line in server.commands[0] if line.startswith(b"BDAT"))


# Over TLS, too


def test_streaming_inside_tls(certificates: Certificates) -> None:
    with ChunkingServer(bad_recipients, certificate=certificates.server) as server:
        messages = numbered(200, bad=lambda number: number % 29 == 3)
        found = relay_all(lambda: streaming(server, tls="implicit", ca_file=certificates.ca_file), messages)
        assert codes([found[number] for number in range(200)]) == [
            (Phase.RCPT, 550) if number % 29 == 3 else SENT for number in range(200)
        ]
        assert own_envelopes(server) == [number for number in range(200) if number % 29 != 3]


# Refusals


@pytest.mark.parametrize("say", [b"550 5.1.1 no", b"450 4.2.1 later", b"503-5.5.1 a\r\n503 5.5.1 b"])
@pytest.mark.parametrize("point", ["RCPT", "MAIL"])
@pytest.mark.parametrize("numbers", [{1}, {2}, {3, 4}, {1, 5, 9}, {20}])
def test_a_refused_envelope_never_lends_itself_to_another_message(point: str, say: bytes, numbers: set[int]) -> None:
    """The server is as unforgiving as Exim: without RSET the next message would go out with the wrong sender."""  # A-102 A-104
    with ChunkingServer(at(point, *numbers, say=say)) as server:
        answers = relay(streaming(server), *numbered(20))
        bad = {number - 1 for number in numbers}
        if point == "MAIL":
            assert own_envelopes(server) == [number for number in range(20) if number not in bad]
        expected = [(Phase[point], int(say[:3])) if number in bad else SENT for number in range(20)]
        assert [code for each in answers for code in codes(each)] == expected
        assert own_envelopes(server) == [number for number in range(20) if number not in bad]
        assert len(server.commands) == 1


def test_a_refusal_for_now_is_not_made_final_by_what_bdat_gets() -> None:  # A-050 A-051
    """The BDAT behind a 4yz to RCPT gets a 5yz all the same."""
    with ChunkingServer(at("RCPT", 1, say=b"450 4.2.1 later")) as server:
        (answer,) = relay(streaming(server), message([R1]))[0]
        assert judge(answer, "h").status.action == "deferred"


def test_one_of_two_recipients_refused() -> None:  # A-051 A-059
    with ChunkingServer(bad_recipients) as server:
        answers = relay(streaming(server), message(["r0@b.example", "bad0@b.example"]), message([R1]))
        assert [codes(each) for each in answers] == [[SENT, (Phase.RCPT, 550)], [SENT]]
        assert server.taken[0].recipients == [b"<r0@b.example>"]


@pytest.mark.parametrize(
    ("say", "action"), [(b"554 5.7.1 spam", "failed"), (b"452 4.3.1 disk", "deferred"), (b"354 what?", "deferred")]
)
def test_a_refused_chunk_is_that_messages_affair(say: bytes, action: str) -> None:  # A-059 A-104
    with ChunkingServer(at("CHUNK", 3, say=say)) as server:
        found = relay_all(lambda: streaming(server), numbered(12))
        assert judge(found[2], "h").status.action == action
        assert codes([found[number] for number in range(12) if number != 2]) == [SENT] * 11
        assert own_envelopes(server) == [number for number in range(12) if number != 2]


def test_what_the_server_has_no_room_for_goes_in_a_second_transaction() -> None:
    def on(point: str, number: int, argument: bytes) -> Said:
        if point == "RSET":
            count.clear()
        if point == "RCPT":
            count.append(1)
            return b"452 4.5.3 too many recipients" if len(count) > 40 else None
        return None

    count: list[int] = []
    with ChunkingServer(on) as server:
        many = [f"r{number}@b.example" for number in range(95)]
        first, second = relay(streaming(server), message(many), message(["last@b.example"]))
        assert codes(first) == [SENT] * 95 and codes(second) == [SENT]
        found = sorted(path for taken in server.taken for path in taken.recipients)
        assert found == sorted(f"<{path}>".encode() for path in [*many, "last@b.example"])
        assert len(server.commands) == 1


def test_250_recipients() -> None:
    with ChunkingServer() as server:
        many = [f"r{number}@b.example" for number in range(250)]
        assert codes(relay(streaming(server), message(many))[0]) == [SENT] * 250
        assert sorted(len(taken.recipients) for taken in server.taken) == [50, 100, 100]


@pytest.mark.parametrize("point", ["RSET", "MAIL", "RCPT", "CHUNK"])
@pytest.mark.parametrize("say", [b"550 no", b"450 no", b"354 what?", b"250-a\r\n550 b"])
def test_success_needs_a_yes_to_everything(point: str, say: bytes) -> None:  # A-021 A-022 A-026 A-104
    """To RSET, MAIL, RCPT and BDAT: whatever is missing, the message is not taken for sent."""
    with ChunkingServer(at(point, 4, say=say)) as server:
        found = relay_all(lambda: streaming(server), numbered(10))
        assert not found[3].good
        assert judge(found[3], "h").status.action == ("failed" if say == b"550 no" and point != "RSET" else "deferred")
        for number in set(range(10)) - {3}:
            assert found[number].good or in_doubt(found[number])


def test_a_server_that_refuses_eight_transactions_is_left_before_it_hangs_up() -> None:
    """Exim counts their RSETs, and hangs up after ten."""
    with ChunkingServer(bad_recipients) as server:
        found = relay_all(lambda: streaming(server), numbered(60, bad=lambda number: number % 3 == 0))
        assert codes([found[number] for number in range(60)]) == [
            SENT if number % 3 else (Phase.RCPT, 550) for number in range(60)
        ]
        assert own_envelopes(server) == [number for number in range(60) if number % 3]
        assert len(server.commands) == 3
        assert all(commands[-1] == b"QUIT" for commands in server.commands)


# Lost on the way


def doubtful(found: dict[object, Answer]) -> list[int]:
    return sorted(number for number, answer in found.items() if isinstance(number, int) and in_doubt(answer))


def held(server: ChunkingServer, gate: Gate, then: Callable[[], None]) -> threading.Thread:
    """Does something while the server stands at the gate, and opens it."""

    def run() -> None:
        gate.wait_reached()
        then()
        gate.open()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.mark.parametrize("end", [Action.CLOSE, Action.RESET, Action.KEEP_AND_CLOSE])
@pytest.mark.parametrize("lost", [1, 3, 20])
def test_in_doubt_is_exactly_what_was_written_and_not_answered(end: Action, lost: int) -> None:
    """Law 10: those before have their answer, those behind were not begun and go over another connection, once."""
    with ChunkingServer(at("CHUNK", lost, say=end)) as server:
        found = relay_all(lambda: streaming(server), numbered(40))
        doubt = doubtful(found)
        assert doubt[0] == lost - 1
        assert doubt == list(range(lost - 1, lost - 1 + len(doubt)))  # without gaps, and in their order
        assert len(doubt) <= WINDOW
        assert codes([found[number] for number in range(40) if number not in doubt]) == [SENT] * (40 - len(doubt))
        arrived = own_envelopes(server)
        assert len(arrived) == len(set(arrived))
        assert set(arrived) == set(range(40)) - set(doubt) | ({lost - 1} if end is Action.KEEP_AND_CLOSE else set())
        for number in doubt:
            status = judge(found[number], "h").status
            assert (status.action, status.doubt) == ("deferred", True)


def test_the_doubt_ends_where_the_octets_ended() -> None:
    """Of a window of eight the third is too big for all buffers: it stands half written on the wire. In doubt are the two
    before it; it and the five behind it can have been taken by nobody, and are sent again at once."""
    messages = numbered(8)
    messages[2] = message(["r2@b.example"], "s2@a.example", (b"y" * 70 + b"\n") * 400_000, 2)

    def on(point: str, number: int, argument: bytes) -> Said:
        """From the first chunk on nothing is answered; at the third RSET the connection is gone. The next has no faults."""
        server.mute |= (point, number) == ("CHUNK", 1)
        return Action.RESET if (point, number) == ("RSET", 3) else None

    with ChunkingServer(on) as server:
        first: dict[object, Answer] = {}
        waiting = deque(messages)
        session = streaming(server)
        session.relay(lambda: waiting.popleft() if waiting else None, lambda wanted, got: first.update({wanted.cargo: got[0]}))
        session.close()
        assert doubtful(first) == [0, 1]
        assert {first[number].trouble for number in range(2, 8)} == {Trouble.UNTOUCHED}
    with ChunkingServer(on) as server:

        def another() -> Session:
            server.mute = False
            return streaming(server)

        found = relay_all(another, messages)
        assert doubtful(found) == [0, 1]
        assert all(found[number].good for number in range(2, 8))


def test_the_first_message_of_a_session_is_judged_when_it_is_cut_short() -> None:
    """A server that dies of it each time must not get it for ever."""
    big = message([R1], text=(b"y" * 70 + b"\n") * 400_000, cargo=0)
    with ChunkingServer(lambda point, number, argument: Action.RESET if point == "BDAT" else None) as server:
        found = relay_all(lambda: streaming(server), [big, message([R1], cargo=1)])
        assert found[0].trouble in (Trouble.LOST, Trouble.TIMEOUT) and not in_doubt(found[0])
        assert judge(found[0], "h").status.action == "deferred"
        assert len(server.commands) <= 3


def test_a_server_that_always_hangs_up_before_the_first_message_is_no_loop() -> None:
    with ChunkingServer(lambda point, number, argument: Action.CLOSE if point == "RSET" else None) as server:
        found = relay_all(lambda: streaming(server), numbered(10), most=12)
        assert all(not answer.good for answer in found.values()) and len(found) == 10


@pytest.mark.parametrize("point", ["RSET", "MAIL", "RCPT", "CHUNK"])
@pytest.mark.parametrize("number", [1, 5, 30])
def test_421_ends_the_stream_at_that_message(point: str, number: int) -> None:
    """It is deferred without doubt; what was written behind it is in doubt, for its answer did not come; the rest is not
    touched."""
    with ChunkingServer(at(point, number, say=b"421 4.3.2 closing")) as server:
        session = streaming(server)
        found: dict[object, Answer] = {}
        waiting = deque(numbered(40))
        session.relay(lambda: waiting.popleft() if waiting else None, lambda wanted, got: found.update({wanted.cargo: got[0]}))
        session.close()
        assert codes(found[each] for each in range(number - 1)) == [SENT] * (number - 1)
        assert codes([found[number - 1]]) == [(Phase[point], 421)]
        assert session.over
        behind = [found[each] for each in sorted(each for each in found if isinstance(each, int)) if each >= number]
        assert len(behind) < WINDOW
        assert all(in_doubt(answer) or answer.trouble is Trouble.UNTOUCHED for answer in behind)
        kinds = [in_doubt(answer) for answer in behind]
        assert kinds == sorted(kinds, reverse=True)
        assert own_envelopes(server) == list(range(number - 1))


def test_a_server_that_says_421_and_goes_on_answering_leaves_no_doubt() -> None:
    """As Exim does after its last message: everything behind has an answer, and nothing bounces."""
    over = threading.Event()

    def on(point: str, number: int, argument: bytes) -> Said:
        if point == "MAIL" and number == 5:
            over.set()
        if not over.is_set() or point in ("EHLO", "QUIT", "BDAT", "RSET"):
            return None
        return b"450 4.7.0 too many messages in this connection" if point == "MAIL" else b"503 5.5.1 no"

    with ChunkingServer(on) as server:
        answers = relay(streaming(server), *numbered(12))
        verdicts = [judge(answer, "h").status for (answer,) in answers]
        assert [status.action for status in verdicts] == ["delivered"] * 4 + ["deferred"] * (len(verdicts) - 4)
        assert not any(status.doubt for status in verdicts)


def test_a_server_that_falls_silent_costs_one_time_limit(certificates: Certificates) -> None:  # A-080 A-083
    with ChunkingServer(at("CHUNK", 3, say=Action.SILENCE)) as server:
        times = Timeouts(data_end=SHORT, data_block=SHORT, quit=SHORT)
        found: dict[object, Answer] = {}
        waiting = deque(numbered(6))
        session = streaming(server, timeouts=times)
        session.relay(lambda: waiting.popleft() if waiting else None, lambda wanted, got: found.update({wanted.cargo: got[0]}))
        session.close()
        assert doubtful(found) == [2, 3, 4, 5]
        assert {found[number].trouble for number in doubtful(found)} == {Trouble.TIMEOUT}


def test_a_server_that_drips_costs_one_time_limit() -> None:  # A-083 G-037
    """Each octet in time is not enough: the limit is for a whole answer."""
    over = threading.Event()

    class Dripping(ChunkingServer):
        def _say(self, connection: object, reply: bytes) -> None:
            if reply.endswith(b"taken"):
                while not over.wait(SHORT / 5):
                    connection.sock.sendall(b"2")  # type: ignore[attr-defined]
            super()._say(connection, reply)  # type: ignore[arg-type]

    with Dripping(at_once=True) as server:
        session = streaming(server, timeouts=Timeouts(data_end=SHORT, data_block=SHORT, quit=SHORT))
        answers = relay(session, *numbered(2))
        over.set()
        assert answers[0][0].trouble in (Trouble.TIMEOUT, Trouble.PROTOCOL) and in_doubt(answers[0][0])


def test_an_answer_before_its_question_is_no_success() -> None:
    """A server that says yes to everything at once, and reads no further: no message was sent."""

    def on(point: str, number: int, argument: bytes) -> Said:
        if point == "BDAT":
            return gate
        return b"250 ok\r\n" * 40 if point == "RSET" and number == 1 else None

    gate = Gate()
    big = message([R1], text=(b"y" * 70 + b"\n") * 400_000, cargo=0)
    with ChunkingServer(on, at_once=True) as server:
        session = streaming(server)
        found: dict[object, Answer] = {}
        waiting = deque([big, *numbered(9)[1:]])
        session.relay(lambda: waiting.popleft() if waiting else None, lambda wanted, got: found.update({wanted.cargo: got[0]}))
        session.close()
        assert session.over
        assert not found[0].good and not in_doubt(found[0])


# No dead-lock


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("buffers", [2048, 0])
def test_full_buffers_on_both_sides_are_no_dead_lock(buffers: int, at_once: bool) -> None:
    """A thousand refusals and their long replies through the smallest buffers that the kernel gives."""

    def on(point: str, number: int, argument: bytes) -> Said:
        if point == "RCPT":
            return b"550 5.1.1 " + b"no " * 100 if argument.startswith(b"TO:<bad") else b"250 2.1.5 " + b"yes " * 100
        return None

    with ChunkingServer(on, buffers=buffers, at_once=at_once) as server:
        many = [f"{'r' if number == 7 else 'bad'}{number}@b.example" for number in range(45)]
        messages = [message(many, f"s{each}@a.example", b"x" * 70 + b"\n" + b"y\n" * 3000, each) for each in range(3)]
        session = small(server, buffers) if buffers else streaming(server)
        answers = relay(session, *messages)
        assert len(answers) == 3
        for each in answers:
            assert codes(each) == [SENT if index == 7 else (Phase.RCPT, 550) for index in range(45)]
        assert [taken.sender for taken in server.taken] == [b"<s%d@a.example>" % number for number in range(3)]


def test_a_thousand_refused_messages_through_tiny_buffers() -> None:
    with ChunkingServer(bad_recipients, buffers=2048, at_once=True) as server:
        found = relay_all(lambda: small(server, 2048), numbered(1000, bad=lambda number: number != 500), most=200)
        assert sum(answer.good for answer in found.values()) == 1
        assert own_envelopes(server) == [500]
        assert len(found) == 1000


# Whatever the server does

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["RSET", "MAIL", "RCPT", "BDAT", "CHUNK"]),
        st.integers(1, 14),
        st.sampled_from(
            [
                b"550 no",
                b"450 no",
                b"421 bye",
                b"354 what?",
                b"252 odd",
                b"nonsense",
                Action.CLOSE,
                Action.RESET,
                Action.KEEP_AND_CLOSE,
            ]
        ),
    ),
    max_size=4,
)


@few
@given(STEPS, st.integers(2, 9), st.booleans())
def test_no_server_makes_us_lose_or_mix_up_mail(steps: list[tuple[str, int, Said]], window: int, at_once: bool) -> None:
    """Law 10, for random replies and drops: what was said to be sent arrived, under its own envelope and once; what was not
    said to be, and is not in doubt, did not arrive."""  # A-060 A-104
    script = {(point, number): say for point, number, say in steps if point == "CHUNK" or say is not Action.KEEP_AND_CLOSE}
    with ChunkingServer(lambda point, number, argument: script.get((point, number)), at_once=at_once) as server:
        found = relay_all(lambda: streaming(server, window=window), numbered(12), most=40)
        assert len(found) == 12
        arrived = own_envelopes(server)
        assert len(arrived) == len(set(arrived))
        for number, answer in found.items():
            assert isinstance(number, int)
            if answer.good:
                assert number in arrived
            elif number in arrived:
                assert in_doubt(answer) or answer.trouble is None
