"""The octets behind DATA, against a slow encoder that is plainly right; and their number."""

import io
import re
from collections.abc import Iterable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smartrelay.mail.envelope import Facts
from smartrelay.smtp.content import BLOCK, Content, NotSendable, prepare
from tests.support.queues import few, many, pieces


def reference(text: bytes) -> bytes:
    """Line by line: a stray CR becomes a space, a leading dot is doubled, each line ends in CRLF, a dot ends it all."""
    lines = text.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    out = b""
    for line in lines:
        line = line.replace(b"\r", b" ")
        out += (b"." if line.startswith(b".") else b"") + line + b"\r\n"
    return out + b".\r\n"


def wire(chunks: Iterable[bytes]) -> bytes:
    listed = list(chunks)
    return b"".join(Content(0, False, lambda: listed).wire())


def facts_of(text: bytes) -> Facts:
    octets = len(text) + text.count(b"\n") + (2 if text and not text.endswith(b"\n") else 0)
    longest = max(map(len, text.split(b"\n")))
    return Facts(len(text), octets, longest, int(not text.isascii()), int(b"\0" in text), int(b"\r" in text))


def prepared(text: bytes, *, eight_bit: bool = True) -> Content:
    return prepare(lambda: io.BytesIO(text), facts_of(text), eight_bit=eight_bit)


def assert_lawful(data: bytes) -> None:
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", data)
    assert data == b".\r\n" or data.endswith(b"\r\n.\r\n")
    assert data.count(b"\r\n.\r\n") == (data != b".\r\n")
    assert not data.startswith(b".\r\n") or data == b".\r\n"


@pytest.mark.parametrize(
    ("text", "data"),
    [
        (b"", b".\r\n"),
        (b"a\n", b"a\r\n.\r\n"),
        (b"a", b"a\r\n.\r\n"),
        (b"a\n\n", b"a\r\n\r\n.\r\n"),
        (b"\n", b"\r\n.\r\n"),
        (b".", b"..\r\n.\r\n"),
        (b".\n..\n.x\n", b"..\r\n...\r\n..x\r\n.\r\n"),
        (b".first\nb\n", b"..first\r\nb\r\n.\r\n"),
        (b"a\rb\nc\r\nd\r", b"a b\r\nc \r\nd \r\n.\r\n"),
        (b"x\n" + b"." + b"y" * 998 + b"\n", b"x\r\n.." + b"y" * 998 + b"\r\n.\r\n"),
    ],
)
def test_what_is_sent_for_what_is_stored(text: bytes, data: bytes) -> None:
    assert wire([text]) == data


SMUGGLERS = [b"\n.\n", b"\n.\r\n", b"\r.\r\n", b"\r\n.\n", b"\r\n.\r", b"\r.\r", b"\r\n\0.\r\n", b"\r\n.\r\r\n", b"\n\n.\n\r"]


@pytest.mark.parametrize("smuggler", SMUGGLERS)
def test_no_server_can_see_an_end_where_there_is_none(smuggler: bytes) -> None:  # A-073 G-019
    text = b"Subject: x\n\nbody" + smuggler + b"MAIL FROM:<evil@x.example>\n"
    for data in (wire([text]), b"".join(prepared(text).wire())):
        assert_lawful(data)
        inside = data[: -len(b"\r\n.\r\n")]
        assert not re.search(rb"(\n|\r)\.(\r|\n)", inside)


OCTETS = st.lists(
    st.sampled_from([b"\n", b"\r", b".", b"\r\n", b"\n.", b"\n.\n", b"\r\n.\r\n", b"\0", b"\xff", b"a", b"text"]), max_size=25
).map(b"".join)


@many
@given(OCTETS | st.binary(max_size=60), st.lists(st.integers(0, 100), max_size=8))
@example(b"a\n.\nb", [2, 3])
@example(b"\r\n", [1])
def test_any_octets_in_any_blocks_give_what_the_slow_encoder_gives(text: bytes, cuts: list[int]) -> None:  # A-070..A-073
    data = wire(pieces(text, cuts))
    assert data == reference(text)
    assert_lawful(data)


@many
@given(OCTETS)
def test_the_size_is_that_of_the_wire_without_stuffing_and_dot(text: bytes) -> None:
    if not text.isascii() or b"\0" in text:
        return  # that is for `recode`, and its tests
    content = prepared(text)
    data = b"".join(content.wire())
    stuffed = len(re.findall(rb"(?m)^\.", data)) - 1
    assert content.octets == len(data) - stuffed - len(b".\r\n")
    assert not content.eight_bit


@pytest.mark.parametrize("length", [BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK])
def test_a_long_text_goes_in_blocks(length: int) -> None:  # A-082 G-020
    text = (b".line of text\n" * (length // 14 + 1))[:length]
    listed = list(prepared(text).wire())
    assert b"".join(listed) == reference(text)
    assert all(len(block) <= 2 * BLOCK + 8 for block in listed)
    assert len(listed) <= len(reference(text)) // BLOCK + 1


def test_a_text_can_be_read_as_often_as_is_wanted() -> None:
    content = prepared(b"Subject: x\n\nbody\n")
    assert b"".join(content.wire()) == b"".join(content.wire())


@few
@given(OCTETS, st.booleans())
def test_what_is_not_plain_is_made_fit_and_its_size_is_right(body: bytes, eight_bit: bool) -> None:  # A-074 A-077 A-090 A-093
    text = b"Subject: x\n\n" + body + b"\xc3\xa9" + b"x" * 1200
    content = prepared(text, eight_bit=eight_bit)
    data = b"".join(content.wire())
    assert_lawful(data)
    assert b"\0" not in data and (eight_bit or data.isascii())
    assert all(len(line) <= 999 for line in data.split(b"\r\n"))
    stuffed = len(re.findall(rb"(?m)^\.", data)) - 1
    assert content.octets == len(data) - stuffed - len(b".\r\n")


def test_8_bit_text_is_declared_where_the_server_takes_it() -> None:  # A-093 A-096
    text = b"MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n\xc3\xa9\n"
    assert prepared(text).eight_bit
    assert b"".join(prepared(text).wire()) == reference(text)
    assert not prepared(text, eight_bit=False).eight_bit
    assert not prepared(b"Subject: x\n\nplain\n").eight_bit


def test_what_cannot_be_made_fit_says_why() -> None:  # A-093 A-095
    text = b"Content-Type: multipart/signed; boundary=b\n\n--b\n\n\xc3\xa9\n--b--\n"
    with pytest.raises(NotSendable) as caught:
        prepared(text, eight_bit=False)
    assert caught.value.dsn == "5.6.3" and caught.value.reason
