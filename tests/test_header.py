"""The laws of `mail.header`: where a header ends, what `-t` reads in it, and what submission writes into one."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from email.header import decode_header, make_header
from email.utils import getaddresses, parsedate_to_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smartrelay.errors import AddressError
from smartrelay.mail import header
from smartrelay.mail.display_name import phrase
from tests.support.queues import few, many, pieces


def boundary(text: bytes, cuts: Sequence[int] = ()) -> tuple[int, int]:
    """End of the header and beginning of the body, of a text fed in pieces."""
    found, grown = header.Boundary(), bytearray()
    for piece in pieces(text, cuts):
        grown += piece
        if found.found(grown, eof=False):
            break
    else:
        assert found.found(grown, eof=True)
    assert found.end is not None and found.body is not None
    return found.end, found.body


def parts(text: bytes) -> tuple[bytes, bytes]:
    end, body = boundary(text)
    return text[:end], text[body:]


# Where the header ends


@pytest.mark.parametrize(
    ("text", "head", "body"),
    [
        (b"Subject: x\n\nbody\n", b"Subject: x\n", b"body\n"),
        (b"Subject: x\nTo: y\n", b"Subject: x\nTo: y\n", b""),
        (b"Subject: x", b"Subject: x", b""),
        (b"\nbody\n", b"", b"body\n"),
        (b"", b"", b""),
        (b"\n", b"", b""),
        (b"hello\n", b"", b"hello\n"),  # D-079: a first line without colon begins the body
        (b"Subject: x\ngarbage line\nTo: y\n\nb", b"Subject: x\n", b"garbage line\nTo: y\n\nb"),  # E-042
        (b" folded\nTo: y\n\n", b"", b" folded\nTo: y\n\n"),  # E-042: a continuation as the very first line is body
        (b"\tx", b"", b"\tx"),
        (b"Subject: x\n folded\n\tmore\n\nb", b"Subject: x\n folded\n\tmore\n", b"b"),
        (b"Subject : x\n\nb", b"Subject : x\n", b"b"),  # E-043
        (b"Sub ject: x\n\nb", b"", b"Sub ject: x\n\nb"),
        (b": x\n\nb", b"", b": x\n\nb"),
        (b"Gr\xc3\xbc\xc3\x9fe: x\n\nb", b"", b"Gr\xc3\xbc\xc3\x9fe: x\n\nb"),  # E-043
        (b"Subject: x\n" + b"N" * 999 + b": y\n\nb", b"Subject: x\n", b"N" * 999 + b": y\n\nb"),  # E-043
        (b"X: " + b"v" * 5000 + b"\n\nb", b"X: " + b"v" * 5000 + b"\n", b"b"),
        (b"X:\n" + b" " + b"v" * 5000 + b"\n\nb", b"X:\n " + b"v" * 5000 + b"\n", b"b"),
        (b"Subject: x\n \n\nb", b"Subject: x\n \n", b"b"),
        (b"http://example.org/\n", b"http://example.org/\n", b""),  # by the letter it is a field
    ],
)
def test_the_header_ends_at_the_first_line_that_is_no_field(text: bytes, head: bytes, body: bytes) -> None:  # E-042 E-043
    assert parts(text) == (head, body)


LINES = st.sampled_from(
    [
        b"Subject: x\n",
        b"To : y\n",
        b" folded\n",
        b"\tfolded\n",
        b"\n",
        b"no field\n",
        b"Bad name: x\n",
        b"N\xc3: x\n",
        b"N" * 990,
        b":",
        b"M" * 20,
        b"v" * 3000,
        b" ",
        b"\r",
        b"\x00",
        b"\n",
    ]
)


@many
@given(st.lists(LINES, max_size=8).map(b"".join), st.lists(st.integers(0, 1 << 16), max_size=6))
@example(b" " + b"x" * 3000, [1500])
@example(b"N" * 1500 + b"\n", [999])
def test_pieces_give_what_the_whole_gives(text: bytes, cuts: list[int]) -> None:
    assert boundary(text, cuts) == boundary(text)


def test_a_body_without_header_is_known_before_its_first_line_ends() -> None:
    """E-064: whoever holds the header in memory must not hold a body of one endless line."""
    for start in (b"x", b" ", b"\t"):
        found = header.Boundary()
        assert found.found(bytearray(start + b"x" * 2000), eof=False)
        assert (found.end, found.body) == (0, 0)


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        (b"From root Mon Jan  1\nSubject: x\n", 21),  # D-068
        (b">From a\n>>>From b\nSubject: x\n", 18),
        (b"From: root\n", 0),
        (b"Subject: x\nFrom root\n", 0),
        (b"From root", 9),
        (b"", 0),
    ],
)
def test_mbox_lines_at_the_very_start_are_no_part_of_the_message(text: bytes, cut: int) -> None:  # D-068
    assert header.without_from_line(text) == cut


# Fields


def test_fields_keep_their_folds_and_their_order() -> None:  # E-032
    text = b"Received: a\n\tb\nTO : x\n (y)\nSubject:\nreceived: c\n"
    found = header.fields(text)
    assert [name for name, _ in found] == [b"received", b"to", b"subject", b"received"]
    assert b"".join(field for _, field in found) == text
    assert header.value(found[0][1]) == "a\tb"
    assert header.value(found[1][1]) == "x (y)"
    assert header.value(found[2][1]) == ""


def test_a_last_field_without_line_end_gets_one() -> None:  # E-063
    assert header.fields(b"A: b") == [(b"a", b"A: b\n")]
    assert header.fields(b"") == []


def wanted(text: bytes) -> list[str]:
    head, _ = parts(text)
    return header.recipients(header.fields(head))


def test_t_reads_every_to_cc_and_bcc() -> None:  # D-001 D-070
    text = (
        b'To: "Doe, J" <j@x>,\n grp: a@x,\n\tb@x;\nSubject: no@x\nCC: c@x (no@x)\nbcc : d@x\nTo: =?utf-8?q?J=C3=B6?= <k@x>\n'
        b"Reply-To: no@x\n\nTo: no@x\n"
    )
    assert wanted(text) == ["j@x", "a@x", "b@x", "c@x", "d@x", "k@x"]
    assert wanted(b"To: undisclosed-recipients:;\n\n") == []
    assert wanted(b"Subject: x\n\n") == []


def test_t_reads_nothing_behind_the_header() -> None:  # E-042
    assert wanted(b"To: a@x\ngarbage line\nTo: y@x\n\nb") == ["a@x"]


def test_a_resent_block_alone_counts_where_there_is_one() -> None:  # D-071
    assert wanted(b"To: a@x\nResent-To: b@x\n\n") == ["b@x"]
    assert wanted(b"Resent-Cc: c@x\nTo: a@x\nresent-bcc: d@x\nResent-To: b@x\n\n") == ["c@x", "d@x", "b@x"]
    assert wanted(b"To: a@x\nResent-From: me@x\n\n") == ["a@x"]


@pytest.mark.parametrize("field", [b"To: a@x, b c@x", b"To: \xff@x", b"Cc: <a@x", b"To: a\0@x", b"To: a@x\rBcc: b@x"])
def test_t_refuses_what_is_no_address_list(field: bytes) -> None:  # D-077 D-102 A-045
    with pytest.raises(AddressError):
        wanted(field + b"\n\n")


# Dates


@few
@given(st.integers(0, 4_000_000_000), st.integers(-14 * 4, 14 * 4).map(lambda quarters: quarters * 900))
def test_a_date_is_what_others_read(seconds: int, offset: int) -> None:  # E-010 C-028
    written = header.date(tuple(time.gmtime(seconds + offset)), offset)
    assert parsedate_to_datetime(written) == datetime.fromtimestamp(seconds, UTC)
    assert written[-5] in "+-" and written[-4:].isdigit()


def test_a_date_is_english_with_a_numeric_zone_and_four_digits_of_year() -> None:  # E-010 E-023
    assert header.date((2026, 7, 6, 9, 5, 3, 0, 187, 1), 7200) == "Mon, 6 Jul 2026 09:05:03 +0200"
    assert header.date((2026, 7, 6, 9, 5, 3, 0, 187, 0), -12600) == "Mon, 6 Jul 2026 09:05:03 -0330"
    assert header.date((2026, 1, 4, 0, 0, 61, 6, 4, 0), None) == "Sun, 4 Jan 2026 00:00:59 -0000"


# Display names


@pytest.mark.parametrize(
    ("name", "written"),
    [  # D-080
        ("CronDaemon", "CronDaemon"),
        ("Cron Daemon", "Cron Daemon"),
        ('A, B "C"', '"A, B \\"C\\""'),
        ("O'Neil, J. (x)", '"O\'Neil, J. (x)"'),
        ("back\\slash", '"back\\\\slash"'),
        ("two\r\nBcc: x@y", '"twoBcc: x@y"'),
        (" ", ""),
        ("", ""),
        ("Jörg", "=?utf-8?b?SsO2cmc=?="),
    ],
)
def test_a_display_name_is_atoms_a_quoted_string_or_encoded_words(name: str, written: str) -> None:
    assert phrase(name) == written


@few
@given(st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=80))
def test_any_display_name_is_read_back(name: str) -> None:  # D-080
    written = phrase(name)
    assert written.isascii() and written.isprintable()
    if name.isascii():
        ((read, address),) = getaddresses([f"{written} <a@x>"])
        assert (read.split(), address) == (name.split(), "a@x")
    else:
        assert str(make_header(decode_header(written))) == name.strip()
        assert all(len(word) <= 75 for word in written.split(" "))  # RFC 2047 section 2


def test_octets_that_are_no_utf8_do_no_harm_in_a_display_name() -> None:  # D-087
    assert phrase("J\udcf6rg").isascii()
