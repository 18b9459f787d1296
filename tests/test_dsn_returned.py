"""What of the original comes back: its header or all of it, in which type and encoding."""

import quopri

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartrelay.mail.dsn_part import quoted
from smartrelay.mail.dsn_returned import LONGEST_RETURNED, header_of
from smartrelay.mail.notice import Action
from smartrelay.mail.status import Status
from tests.support.notices import BUSY, HEADER, LOCAL, REMOTE, SILENT, TEXT, notice, origin, outcomes, parse, written
from tests.support.queues import few, pieces

GREETING = "Schöne Grüße\n".encode()
EIGHT_BIT = b"Subject: x\n\n" + GREETING
INTERNATIONAL = "From: jörg@a.example\nSubject: x\n\n".encode() + GREETING


def test_the_header_comes_back_and_nothing_of_the_body() -> None:  # C-037
    found = notice()
    assert found.original.get_content_type() == "text/rfc822-headers"
    assert found.header == HEADER.decode()


@pytest.mark.parametrize("ret", ["", "HDRS", "hdrs"])
def test_without_ret_full_only_the_header_comes_back(ret: str) -> None:  # C-037
    assert notice(ret=ret).original.get_content_type() == "text/rfc822-headers"


@pytest.mark.parametrize("action", list(Action))
def test_the_whole_message_comes_back_only_when_it_is_lost(action: Action) -> None:  # C-037
    found = notice(ret="FULL", action=action, status=BUSY)
    whole = action in (Action.FAILED, Action.EXPIRED)
    assert found.original.get_content_type() == ("message/rfc822" if whole else "text/rfc822-headers")
    assert ("Your message is attached" in found.words) is whole
    assert ("The header of your message is attached" in found.words) is not whole
    assert not whole or found.original.get_content().as_bytes() == TEXT


@pytest.mark.parametrize("over", [0, 1])
def test_a_large_message_comes_back_as_its_header(over: int) -> None:  # C-037
    text = HEADER + b"\n"
    text += b"x\n" * ((LONGEST_RETURNED - len(text)) // 2)
    text += b"x" * (LONGEST_RETURNED - len(text)) + b"x" * over
    found = notice(ret="FULL", text=text)
    assert found.original.get_content_type() == ("text/rfc822-headers" if over else "message/rfc822")


@pytest.mark.parametrize(
    "body", [b"x" * 999 + b"\n", b"a\0b\n", b"\xff" * 999], ids=["a long line", "NUL", "a long 8-bit line"]
)
def test_a_message_that_no_server_takes_as_it_is_comes_back_as_its_header(body: bytes) -> None:
    """It would have to be changed, and where that cannot be done the notice would be lost."""  # A-074 A-077
    found = notice(ret="FULL", text=HEADER + b"\n" + body)
    assert (found.original.get_content_type(), found.header) == ("text/rfc822-headers", HEADER.decode())


@pytest.mark.parametrize("status", [LOCAL, SILENT])
def test_an_8_bit_message_that_no_server_was_told_of_comes_back_as_its_header(status: Status) -> None:
    """Its form may be why: a signed message that must not be changed for a 7-bit server, say."""  # C-038
    assert notice(ret="FULL", text=EIGHT_BIT, status=status).original.get_content_type() == "text/rfc822-headers"
    assert notice(ret="FULL", text=TEXT, status=status).original.get_content_type() == "message/rfc822"


def test_an_8_bit_message_comes_back_as_8bit() -> None:  # C-037 C-038
    about = origin(text=EIGHT_BIT, ret="FULL")
    original = parse(written(about, outcomes(about), ascii_only=False)).original
    assert (original.get_content_type(), original["Content-Transfer-Encoding"]) == ("message/rfc822", "8bit")
    assert original.get_content().get_payload(decode=True) == GREETING


def test_a_message_with_a_raw_utf_8_header_comes_back_as_message_global() -> None:  # C-043
    """Encoded for a sender of whom it is not known that they take it."""
    original = notice(text=INTERNATIONAL, ret="FULL").original
    assert (original.get_content_type(), original["Content-Transfer-Encoding"]) == ("message/global", "quoted-printable")
    about = origin(text=INTERNATIONAL, ret="FULL", sender="jörg@a.example")
    text = written(about, outcomes(about), ascii_only=False)
    original = parse(text).original
    assert (original.get_content_type(), original["Content-Transfer-Encoding"]) == ("message/global", "8bit")
    assert INTERNATIONAL in text


def test_a_message_with_a_header_in_no_known_charset_comes_back_as_its_header() -> None:
    head = b"Subject: \xff\xfe\n"
    found = notice(text=head + b"\nx\n", ret="FULL").original
    assert (found.get_content_type(), found.get_payload(decode=True)) == ("text/rfc822-headers", head)


@pytest.mark.parametrize(
    "header",
    [
        "Subject: Grüße\n".encode(),
        b"Subject: \xff\xfe\n",
        b"Subject: \xc3\xa9 a\rb\0c\n",
        b"References: " + b"x" * 3000 + b"\n",
        b"Subject: equal=sign and trailing blank \n" + b"X: " + b"y" * 999 + b"\n",
    ],
)
def test_a_header_that_is_not_plain_comes_back_in_quoted_printable(header: bytes) -> None:  # C-036 C-038
    part = notice(text=header + b"\nx\n").original
    assert (part.get_content_type(), part["Content-Transfer-Encoding"]) == ("text/rfc822-headers", "quoted-printable")
    assert part.get_payload(decode=True) == header.replace(b"\0", b"").replace(b"\r", b" ")


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        ("Subject: Grüße\n".encode(), "message/global-headers"),
        (b"Subject: x\n", "text/rfc822-headers"),
        (b"Subject: \xff\n", "text/rfc822-headers"),
        ("Subject: Grüße\n".encode() + b"X: " + b"x" * 999 + b"\n", "text/rfc822-headers"),
    ],
)
def test_a_utf_8_header_comes_back_as_it_is_to_a_sender_with_such_an_address(header: bytes, kind: str) -> None:  # C-043
    about = origin(text=header + b"\nx\n", sender="jörg@a.example")
    text = written(about, outcomes(about), ascii_only=False)
    assert parse(text).original.get_content_type() == kind
    assert (header in text) is (b"\xff" not in header and len(header) < 999)


@pytest.mark.parametrize("ret", ["", "FULL"])
def test_hidden_recipients_stay_hidden(ret: str) -> None:  # C-041
    text = b"To: a@x\nBcc: hidden@x,\n more-hidden@x\nBCC : hidden@x\nResent-Bcc: hidden@x\nSubject: x\n\nBcc: body\n"
    about = origin(text=text, ret=ret, size=5)
    found = written(about, outcomes(about))
    assert b"hidden@x" not in found and b"\nTo: a@x\nSubject: x\n" in found
    assert (b"Bcc: body" in found) is bool(ret)


def test_a_huge_header_comes_back_up_to_a_whole_line() -> None:  # C-042
    header = b"".join(b"X-%d: %s\n" % (number, b"v" * 90) for number in range(2000))
    for ret in ("", "FULL"):
        about = origin(text=header + b"\nbody\n", ret=ret)
        text = written(about, outcomes(about))
        assert len(text) < 70_000
        returned = parse(text).header
        assert header.startswith(returned.encode()) and returned.endswith("v\n")


@pytest.mark.parametrize("text", [b"", b"\n", b"\nbody", b"no header\n", b"Subject: x", b"Subject: x\nbody\n", b"a\rb\n"])
@pytest.mark.parametrize("ret", ["", "FULL"])
def test_an_original_of_any_form_makes_a_notice(text: bytes, ret: str) -> None:
    about = origin(text=text, ret=ret)
    found = written(about, outcomes(about, REMOTE))
    parse(found)
    assert not ret or text.replace(b"\r", b" ") in found


def test_the_header_is_found_at_the_beginning_of_a_text_in_blocks() -> None:
    text = HEADER + b"\nbody\n"
    for size in (1, 7, 1000):
        blocks = [text[start : start + size] for start in range(0, len(text), size)]
        assert header_of(blocks) == HEADER
    assert header_of([b"no header\n"]) == header_of([]) == b""
    assert header_of([HEADER]) == HEADER
    assert len(header_of([b"X: " + b"y" * 100_000])) <= 1 << 17


@few
@given(st.binary(max_size=300) | st.text("a= .\n", max_size=300).map(str.encode), st.lists(st.integers(0, 300), max_size=5))
def test_quoted_printable_is_the_same_however_the_text_is_cut(text: bytes, cuts: list[int]) -> None:
    text = text.replace(b"\r", b" ")
    encoded = b"".join(quoted(pieces(text, cuts)))
    assert encoded.isascii() and max(map(len, encoded.split(b"\n"))) <= 76
    assert quopri.decodestring(encoded) == text
    assert not any(line.endswith((b" ", b"\t")) for line in encoded.split(b"\n"))
