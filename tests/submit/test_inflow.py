"""Where lines, messages and chunks end: one reading, however the octets were cut."""

import smtplib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smartrelay.submit.inflow import BadLine, Inflow
from tests.support.queues import many, pieces


def text(data: bytes, *, first: bytes = b"DATA\r\n", tolerant: bool = False) -> tuple[bytes, bytes] | None:
    """What a text that begins with `data` is, and what stands behind its end; None where it does not end."""
    inflow = Inflow(tolerant=tolerant, longest=100)
    inflow.feed(first)
    assert inflow.line() is not None
    inflow.begin()
    inflow.feed(data)
    piece, ended = inflow.text()
    if not ended:
        return None
    inflow.feed(b"")
    return piece, inflow._buffer


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b".\r\n", b""),
        (b"a\r\n.\r\nQUIT\r\n", b"a\n"),
        (b"..\r\n.x\r\n...\r\n.\r\n", b".\nx\n..\n"),  # F-033
        (b"a\r\n\r\n..\r\n.\r\n", b"a\n\n.\n"),
        (b"a.\r\n.\r\n", b"a.\n"),
    ],
)
def test_a_lone_dot_ends_a_message_and_other_leading_dots_lose_one(sent: bytes, expected: bytes) -> None:
    found = text(sent)
    assert found is not None
    assert found[0] == expected


@pytest.mark.parametrize("no_end", [b"\n.\n", b"\r\n.\n", b"\n.\r\n", b"\r.\r\n", b"\r\n.\r", b"\r\n.\rx", b"\r.\r", b"\n.\r"])
def test_nothing_but_crlf_dot_crlf_ends_a_message_on_a_socket(no_end: bytes) -> None:  # F-034 F-036
    assert text(b"a" + no_end) is None
    found = text(b"a" + no_end + b"MAIL FROM:<b@x>\r\n.\r\n")
    assert found is not None
    assert b"MAIL FROM" in found[0]


@pytest.mark.parametrize("body", [b"a\n", b"a\n.\nb\n", b".\n..\n...\n.x\n\n.\n", b"a\n\nb\r\n.c\n.\n", b"a\r\n..\r\n.\nx"])
def test_what_smtplib_makes_of_bytes_is_read_as_they_were(body: bytes) -> None:
    """A dot is doubled behind a bare LF, too; the end is a CRLF of its own."""
    sent = smtplib._quote_periods(body)  # type: ignore[attr-defined]
    found = text(sent + (b"" if sent.endswith(b"\r\n") else b"\r\n") + b".\r\nQUIT\r\n")
    assert found is not None
    assert found == (body.replace(b"\r\n", b"\n") + b"\n", b"QUIT\r\n")


def test_a_dot_behind_a_bare_line_feed_that_nobody_doubled_stays() -> None:  # F-033
    assert text(b"a\n.b\n.\nc\r\n.\r\n") == (b"a\n.b\n.\nc\n", b"")


def test_a_long_line_is_never_split_so_that_a_dot_would_stand_alone() -> None:  # F-031
    line = b"x" * 998 + b"."
    found = text(line + b"\r\n" + b"y" * 100_000 + b".\r\n.\r\n")
    assert found is not None
    assert found[0] == line + b"\n" + b"y" * 100_000 + b".\n"


def test_on_a_pipe_the_first_line_says_how_lines_end() -> None:  # F-035
    assert text(b"a\r\n..\n.\nQUIT\n", first=b"DATA\n", tolerant=True) == (b"a\n.\n", b"QUIT\n")
    assert text(b"a\n.\nb\r\n.\r\n", first=b"DATA\r\n", tolerant=True) == (b"a\n.\nb\n", b"")
    assert text(b"a\n.\n", first=b"DATA\r\n", tolerant=True) is None


def lines(data: list[bytes], *, tolerant: bool = False, longest: int = 20) -> list[bytes | str]:
    """The command lines; a word for each that is bad."""
    inflow = Inflow(tolerant=tolerant, longest=longest)
    found: list[bytes | str] = []
    for piece in data:
        inflow.feed(piece)
        while True:
            try:
                line = inflow.line()
            except BadLine as bad:
                found.append("hopeless" if bad.hopeless else "long")
                continue
            if line is None:
                break
            found.append(line)
    return found


def test_a_line_that_is_too_long_is_left_out_whole_and_what_follows_is_in_step() -> None:  # F-030
    assert lines([b"x" * 20 + b"\r\n" + b"y" * 21 + b"\r\n" + b"z" * 102_400, b"z\r", b"\nNOOP\r\n"]) == [
        b"x" * 20,
        "long",
        "long",
        b"NOOP",
    ]


def test_a_bare_line_feed_is_no_line_end_on_a_socket() -> None:  # F-034
    assert lines([b"NOOP\n"]) == ["hopeless"]
    assert lines([b"NOOP\nA\r\nB\n"], tolerant=True) == [b"NOOP", b"A", b"B"]


octets = st.lists(st.sampled_from([b"\r", b"\n", b".", b"\r\n", b"\r\n.\r\n", b"a", b"\0", b"b" * 30]), max_size=30).map(
    b"".join
)
cuts = st.lists(st.integers(0, 1000), max_size=8)


@many
@given(octets, cuts, st.booleans())
def test_however_command_lines_are_cut_they_are_the_same(data: bytes, cuts: list[int], tolerant: bool) -> None:  # F-040
    assert lines(list(pieces(data, cuts)), tolerant=tolerant) == lines([data], tolerant=tolerant)


@many
@given(octets, cuts, st.sampled_from([(b"DATA\r\n", False), (b"DATA\r\n", True), (b"DATA\n", True)]))
@example(b"\n\n.", [2], (b"DATA\r\n", False))
def test_however_text_is_cut_it_is_the_same(data: bytes, cuts: list[int], kind: tuple[bytes, bool]) -> None:
    def read(parts: list[bytes]) -> tuple[bytes, bool, bytes]:
        inflow = Inflow(tolerant=kind[1], longest=100)
        inflow.feed(kind[0])
        inflow.line()
        inflow.begin()
        whole, ended = b"", False
        for part in parts:
            inflow.feed(part)
            if not ended:
                piece, ended = inflow.text()
                whole += piece
        inflow.feed(b"")
        # what is held back until more is known is no part of the text yet
        return whole, ended, inflow._buffer

    assert read(list(pieces(data, cuts))) == read([data])


@many
@given(octets, cuts)
def test_however_a_chunk_is_cut_its_text_is_the_same(data: bytes, cuts: list[int]) -> None:
    def read(parts: list[bytes]) -> bytes:
        inflow = Inflow(tolerant=False, longest=100)
        inflow.begin_chunks()
        whole, left = b"", len(data)
        for part in parts:
            inflow.feed(part)
            piece, taken = inflow.chunk(left)
            whole, left = whole + piece, left - taken
        return whole + inflow.last()

    assert read([data]) == read(list(pieces(data, cuts))) == data.replace(b"\r\n", b"\n")
