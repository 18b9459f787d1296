"""Whatever a client sends, however it is cut: the same replies, the same messages, no exception, and memory that is bounded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartrelay.submit.protocol import OVER, Rules
from smartrelay.submit.session import Session
from tests.submit.tray import NEIGHBOUR, NETWORK, PIPE, Tray, session
from tests.support.queues import many, pieces

WORDS = [
    b"EHLO c", b"HELO c", b"MAIL FROM:<a@b>", b"MAIL FROM:<a@b> SIZE=9 BODY=8BITMIME", b"MAIL FROM:<>", b"RCPT TO:<c@d>",
    b"RCPT TO:<e>", b"RCPT TO:<bad", b"DATA", b"BDAT 3", b"BDAT 5 LAST", b"BDAT 0 LAST", b"BDAT", b"RSET", b"NOOP", b"QUIT",
    b"VRFY x", b"FOO", b".", b"..", b"text", b"Subject: x", b"\0", b"\xff", b"x" * 5000, b"", b"GET / HTTP/1.1",
]  # fmt: skip
lines = st.tuples(st.sampled_from(WORDS), st.sampled_from([b"\r\n"] * 8 + [b"\n", b"\r", b"\r\r\n", b""])).map(b"".join)
talk = st.lists(lines, max_size=30).map(b"".join)
likely = st.lists(
    st.sampled_from([
        b"EHLO c\r\n", b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n", b"DATA\r\n", b"a\r\n..b\r\n.\r\n", b"\n.\n", b"\r\n.\n", b"\r",
        b"BDAT 4\r\nabcd", b"BDAT 4 LAST\r\na\r\nb", b"RSET\r\n", b"\r\n.\r\n",
    ]),
    max_size=15,
).map(b"".join)  # fmt: skip
cuts = st.lists(st.integers(0, 100_000), max_size=10)


def heard(rules: Rules, data: list[bytes]) -> tuple[bytes, str, list[tuple[list[tuple[str, str, str]], bytes]]]:
    """The replies, the state in the end, and the messages accepted."""
    tray = Tray()
    one = session(tray, rules)
    replies = b"".join(one.receive(piece) for piece in data)
    assert tray.open == (1 if one._reception is not None else 0)
    assert not tray.bugs
    assert held(one) <= Rules.LONGEST_LINE + 10
    return replies, one.state, [(message.recipients, message.text) for message in tray.messages]


def held(one: Session) -> int:
    """Octets that a session keeps of what it was sent; what it was sent at once is let go with the next piece."""
    one._inflow.feed(b"")
    return len(one._inflow._buffer) + len(one._inflow._held) if one.state != OVER else 0


@many
@given(talk | likely | st.binary(max_size=300), cuts, st.sampled_from([NEIGHBOUR, PIPE]))
def test_however_a_session_is_cut_its_replies_are_the_same(data: bytes, cuts: list[int], rules: Rules) -> None:
    whole = heard(rules, [data])
    assert heard(rules, list(pieces(data, cuts))) == whole
    assert heard(rules, [bytes([octet]) for octet in data[:2000]] + [data[2000:]]) == whole


@many
@given(talk | likely, cuts)
def test_on_the_network_the_cuts_matter_only_where_a_client_had_to_wait(data: bytes, cuts: list[int]) -> None:  # F-041
    one, other = heard(NETWORK, [data])[0], heard(NETWORK, list(pieces(data, cuts)))[0]
    if one != other:
        assert b"\r\n554 5.5.0 You have to wait" in b"\r\n" + one + other


@many
@given(talk | likely | st.binary(max_size=300), st.sampled_from([NEIGHBOUR, PIPE, NETWORK]))
def test_replies_are_lines_of_printable_ascii_with_known_codes(data: bytes, rules: Rules) -> None:
    replies, _, _ = heard(rules, [data])
    for line in replies.split(b"\r\n")[:-1]:
        assert line[:3].isdigit() and line[:1] in b"2345"
        assert line.decode("ascii").isprintable()
        assert len(line) < 510  # RFC 5321 section 4.5.3.1.5


@many
@given(st.lists(likely, max_size=3).map(b"".join), st.sampled_from([NEIGHBOUR, NETWORK]))
def test_what_stands_within_a_message_never_becomes_a_message(inner: bytes, rules: Rules) -> None:  # F-034
    """Whatever a text has in it: as long as it is sent as one (its dots doubled), it is at most one message."""
    stuffed = inner.replace(b"\r\n.", b"\r\n..")
    if stuffed.startswith(b"."):
        stuffed = b"." + stuffed
    tray = Tray()
    one = session(tray, rules)
    for piece in (b"EHLO c\r\n", b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n", b"DATA\r\n", stuffed + b"\r\n.\r\n"):
        one.receive(piece)
    assert len(tray.messages) <= 1
    for message in tray.messages:
        assert message.text == (inner + b"\r\n").replace(b"\r\n", b"\n")


@pytest.mark.parametrize("filler", [b"x", b"\r", b" ", b"\r\n", b".\r\n", b"NOOP ", b"\xc3"])
@pytest.mark.parametrize(
    "begin",
    [b"", b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n", b"BDAT 99999999999\r\n"],
    ids=["line", "text", "chunk"],
)
def test_memory_does_not_grow_with_what_is_sent(begin: bytes, filler: bytes) -> None:  # F-030 F-053
    one = session(Tray())
    one.receive(begin)
    for _ in range(20):
        one.receive(filler * (100_000 // len(filler)))
        assert held(one) <= Rules.LONGEST_LINE + 10
