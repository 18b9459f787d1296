"""What is said in SMTP, without a socket: replies in any pieces, bounded, judged by their first digit."""

from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smartrelay.smtp.dialogue import BadReply, Reply, ReplyParser, extensions, path_command, xtext
from tests.support.queues import few, many, pieces


def parse(data: bytes, cuts: Sequence[int] = ()) -> tuple[list[Reply], str]:
    """The replies in `data`, fed in pieces, and the complaint that ended them."""
    parser, found = ReplyParser(), []
    try:
        for piece in pieces(data, cuts):
            for reply in parser.feed(piece):
                found.append(reply)
    except BadReply as error:
        return found, str(error)
    return found, ""


def one(data: bytes) -> Reply:
    (reply,), complaint = parse(data)
    assert not complaint
    return reply


@pytest.mark.parametrize(
    ("data", "code", "lines"),
    [
        (b"250 ok\r\n", 250, ("ok",)),
        (b"250\r\n", 250, ("",)),  # A-002 A-020
        (b"250 \r\n", 250, ("",)),
        (b"250-a\r\n250-b\r\n250 c\r\n", 250, ("a", "b", "c")),
        (b"250-a\r\n250-\r\n250\r\n", 250, ("a", "", "")),
        (b"299 odd\r\n", 299, ("odd",)),
        (b"577 odd\r\n", 577, ("odd",)),
        (b"250 lf only\n", 250, ("lf only",)),
        (b"220 go away, no mail here\r\n", 220, ("go away, no mail here",)),
        (b"250 " + b"x" * 4000 + b"\r\n", 250, ("x" * 1000,)),
        (b"550 5.1.1 \x1b[31m\xff\0 no\r\n", 550, ("5.1.1 ?[31m?? no",)),
        (b"250 a\rb\r\n", 250, ("a b",)),
    ],
)
def test_a_reply_is_its_code_and_printable_lines(data: bytes, code: int, lines: tuple[str, ...]) -> None:
    assert one(data) == Reply(code, lines)


@pytest.mark.parametrize(
    "data",
    [  # A-006 G-011
        b"HTTP/1.1 400 Bad Request\r\n",
        b"SSH-2.0-x\r\n",
        b"600 x\r\n",
        b"199 x\r\n",
        b"\r\n",
        b"25\r\n",
        b"2_5 x\r\n",
        b"+25 x\r\n",
        b" 25 x\r\n",
        b"-12 x\r\n",
        b"250ok\r\n",
        b"250\tok\r\n",
        b"2500 ok\r\n",
        b"\xb2\xb5\xb0 ok\r\n",
        b"250-a\r\n550 b\r\n",
        b"250-a\r\nb\r\n",
        b"250-\r\n251 \r\n",
    ],
)
def test_what_is_no_reply_is_said_so(data: bytes) -> None:
    found, complaint = parse(data)
    assert found == [] and complaint and complaint.isascii() and complaint.isprintable()


@pytest.mark.parametrize("data", [b"", b"2", b"250", b"250 ok", b"250 ok\r", b"250-a\r\n", b"250-a\r\n250"])
def test_half_a_reply_is_none(data: bytes) -> None:
    parser = ReplyParser()
    assert list(parser.feed(data)) == []
    assert parser.empty == (data == b"")


def test_nothing_is_left_over_behind_a_whole_reply() -> None:
    parser = ReplyParser()
    assert len(list(parser.feed(b"250 a\r\n250 b\r\n25"))) == 2
    assert not parser.empty
    assert len(list(parser.feed(b"0 c\r\n"))) == 1
    assert parser.empty


LINES = st.builds(
    lambda code, mark, text, end: code + mark + text + end,
    st.sampled_from([b"250", b"250", b"250", b"550", b"421", b"6", b""]),
    st.sampled_from([b" ", b" ", b"-", b"", b"x"]),
    st.binary(max_size=12).map(lambda text: text.replace(b"\n", b"")),
    st.sampled_from([b"\r\n", b"\r\n", b"\n", b""]),
)


@many
@given(st.lists(LINES, max_size=7).map(b"".join), st.lists(st.integers(0, 200), max_size=8))
@example(b"250-a\r\n250 b\r\ngarbage\r\n", [3, 9, 18])
def test_pieces_give_what_the_whole_gives(data: bytes, cuts: list[int]) -> None:  # G-013
    assert parse(data, cuts) == parse(data)
    assert parse(data, range(len(data))) == parse(data)


@pytest.mark.parametrize(
    "data", [b"250-x\r\n", b"x", b"250 " + b"x" * 70_000, b"250-" + b"y" * 500 + b"\r\n", b"\0", b"250-\n"]
)
def test_a_reply_without_end_is_given_up(data: bytes) -> None:  # A-023 A-024 G-012
    parser, fed = ReplyParser(), 0
    with pytest.raises(BadReply):
        while fed < 1 << 20:
            fed += len(data)
            assert list(parser.feed(data)) == []
    assert fed <= (1 << 17) + len(data)


def test_a_thousand_lines_are_read_and_no_more() -> None:
    assert len(one(b"250-x\r\n" * 999 + b"250 x\r\n").lines) == 1000
    assert parse(b"250-x\r\n" * 1000 + b"250 x\r\n")[1]


def test_the_bound_is_on_one_reply_and_not_on_a_session() -> None:
    parser = ReplyParser()
    for _ in range(100):
        assert len(list(parser.feed(b"250 " + b"x" * 4000 + b"\r\n"))) == 1


# Enhanced status codes


@pytest.mark.parametrize(
    ("code", "lines", "enhanced"),
    [
        (550, ["5.1.1 no"], "5.1.1"),
        (250, ["2.1.5"], "2.1.5"),
        (550, ["4.2.2 x"], "5.0.0"),
        (450, ["x"], "4.0.0"),
        (550, ["5.1.1x"], "5.0.0"),
        (550, ["5.1.1.1 x"], "5.0.0"),
        (550, ["5.01.001 x"], "5.1.1"),
        (550, ["5.1000.1 x"], "5.0.0"),
        (550, ["see 5.1.1"], "5.0.0"),
        (550, ["5.1.1 first", "more"], "5.1.1"),
        (550, ["more", "5.7.1 last"], "5.7.1"),
        (550, ["a", "5.1.1 middle", "b"], "5.0.0"),
        (354, ["3.0.0 go"], "3.0.0"),
        (550, [], "5.0.0"),
    ],
)
def test_the_enhanced_code_must_be_well_formed_and_agree(code: int, lines: list[str], enhanced: str) -> None:
    assert Reply(code, tuple(lines)).enhanced == enhanced


def test_a_reply_as_one_line_of_text() -> None:
    assert Reply(550, ("5.1.1 no", "", "such user")).text == "550 5.1.1 no such user"
    assert Reply(250, ()).text == "250"


# EHLO


def test_keywords_are_read_whatever_their_case_and_odd_lines_are_passed_over() -> None:
    reply = one(b"250-h\r\n250-size 1000\r\n250-PipeLining\r\n250-X-FOO a=b\r\n250-\r\n250 8bitmime\r\n")
    assert extensions(reply) == {"SIZE": "1000", "PIPELINING": "", "X-FOO": "a=b", "8BITMIME": ""}


def test_the_name_in_the_first_line_is_no_keyword() -> None:
    assert extensions(one(b"250 PIPELINING\r\n")) == {}


@pytest.mark.parametrize(
    ("lines", "mechanisms"),
    [
        (b"250-h\r\n250 AUTH PLAIN login\r\n", {"PLAIN", "LOGIN"}),
        (b"250-h\r\n250 AUTH=LOGIN plain\r\n", {"PLAIN", "LOGIN"}),
        (b"250-h\r\n250-auth=LOGIN\r\n250 AUTH PLAIN\r\n", {"PLAIN", "LOGIN"}),
        (b"250-h\r\n250 AUTH\r\n", set()),
    ],
)
def test_sign_in_is_offered_in_the_old_form_and_the_new(lines: bytes, mechanisms: set[str]) -> None:
    assert {name.upper() for name in extensions(one(lines))["AUTH"].split()} == mechanisms


# Commands


def test_paths_stand_in_angle_brackets_without_blanks() -> None:  # A-040 A-041
    assert path_command("MAIL FROM", "", []) == b"MAIL FROM:<>\r\n"
    assert path_command("MAIL FROM", "s@a.example", ["SIZE=5", "BODY=8BITMIME"]) == (
        b"MAIL FROM:<s@a.example> SIZE=5 BODY=8BITMIME\r\n"
    )
    assert path_command("RCPT TO", '"john doe"@B.example', []) == b'RCPT TO:<"john doe"@B.example>\r\n'
    assert path_command("RCPT TO", "jörg@b.example", []) == "RCPT TO:<jörg@b.example>\r\n".encode()


@pytest.mark.parametrize("bad", ["a@b\r\nDATA", "a@b\n", "a@b\0", "a\x7f@b", "a\x85@b", "a\u2028@b", "a\udcff@b"])
def test_what_would_be_another_command_never_becomes_one(bad: str) -> None:  # A-045 G-006
    with pytest.raises(ValueError):
        path_command("RCPT TO", bad, [])
    with pytest.raises(ValueError):
        path_command("RCPT TO", "a@b", [f"ORCPT={bad}"])


@few
@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)))
@example("a+b=c d")
def test_xtext_can_be_undone_and_holds_no_blank(text: str) -> None:  # A-110 A-112
    written = xtext(text)
    assert not set(written) & set(" =") and written.isascii()
    first, *rest = written.split("+")
    assert first + "".join(chr(int(part[:2], 16)) + part[2:] for part in rest) == text


def test_xtext_of_an_address() -> None:
    assert xtext("a+b@c") == "a+2Bb@c"
