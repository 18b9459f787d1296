"""The SMTP server's session: what it says to what, in every state, and what becomes of the messages."""

import re

import pytest

from smartrelay.errors import (
    AddressError,
    ConfigError,
    DataError,
    NoSpace,
    SpoolError,
    TooLarge,
    TooManyRecipients,
    TryAgain,
)
from smartrelay.submit.protocol import CHUNKS, OVER, READY, RECIPIENT, SENDER, SPOILED, START, Rules
from smartrelay.submit.session import Session
from tests.submit.tray import NEIGHBOUR, NETWORK, PIPE, Tray, codes, said, session

TO = {
    START: b"",
    READY: b"EHLO c.example\r\n",
    SENDER: b"EHLO c.example\r\nMAIL FROM:<a@b>\r\n",
    RECIPIENT: b"EHLO c.example\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n",
    CHUNKS: b"EHLO c.example\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 3\r\nx\r\n",
    SPOILED: b"EHLO c.example\r\nMAIL FROM:<a@b>\r\nBDAT 0 LAST\r\n",
    OVER: b"QUIT\r\n",
}
"""What brings a session into each state."""

HELLO, MAIL, RCPT = b"EHLO c.example\r\n", b"MAIL FROM:<a@b>\r\n", b"RCPT TO:<c@d>\r\n"


def at(state: str, tray: Tray | None = None) -> Session:
    one = session(tray or Tray())
    one.receive(TO[state])
    assert one.state == state
    return one


OPEN = (SENDER, RECIPIENT, CHUNKS)
TABLE = {
    # command: {state: (code, next state)}; None stands for all the others
    b"EHLO x": {None: ("250", READY)},
    b"eHlO x": {None: ("250", READY)},  # F-003
    b"HELO x": {None: ("250", READY)},
    b"EHLO": {None: ("501 5.5.4", None)},  # F-006: a refused one changes nothing
    b"MAIL FROM:<a@b>": {READY: ("250 2.1.0", SENDER), None: ("503 5.5.1", None)},  # F-007
    b"RCPT TO:<c@d>": {SENDER: ("250 2.1.5", RECIPIENT), RECIPIENT: ("250 2.1.5", RECIPIENT), None: ("503 5.5.1", None)},
    b"DATA": {RECIPIENT: ("354", RECIPIENT), SENDER: ("554 5.5.1", SENDER), None: ("503 5.5.1", None)},
    b"BDAT 0": {
        RECIPIENT: ("250 2.0.0", CHUNKS),
        CHUNKS: ("250 2.0.0", CHUNKS),
        SENDER: ("554 5.5.1", SPOILED),
        None: ("503 5.5.1", None),
    },
    b"BDAT 0 LAST": {
        RECIPIENT: ("250 2.0.0", READY),
        CHUNKS: ("250 2.0.0", READY),
        SENDER: ("554 5.5.1", SPOILED),
        None: ("503 5.5.1", None),
    },
    b"BDAT": {None: ("501 5.5.4", OVER)},
    b"RSET": {START: ("250 2.0.0", START), None: ("250 2.0.0", READY)},  # F-014
    b"NOOP hello": {None: ("250 2.0.0", None)},  # F-008 F-009
    b"VRFY root": {None: ("252 2.1.5", None)},  # F-012
    b"VRFY": {None: ("501 5.5.4", None)},
    b"HELP": {None: ("214 2.0.0", None)},  # F-013
    b"EXPN x": {None: ("502 5.5.1", None)},  # F-008 F-010
    **{verb: {None: ("502 5.5.1", None)} for verb in (b"TURN", b"ETRN x", b"SEND FROM:<a@b>", b"SOML x", b"SAML x")},  # F-010
    b"STARTTLS": {None: ("502 5.5.1", None)},  # F-042: not offered, so not done
    b"AUTH PLAIN": {None: ("502 5.5.1", None)},  # F-057
    b"FOO": {None: ("500 5.5.2", None)},  # F-010
    b"": {None: ("500 5.5.2", None)},
    b"DATA x": {RECIPIENT: ("501 5.5.4", None)},  # F-009
    b"RSET x": {None: ("501 5.5.4", None)},
    b"QUIT x": {None: ("501 5.5.4", None)},
    b"QUIT": {None: ("221 2.0.0", OVER)},
    b"GET / HTTP/1.1": {None: ("554 5.7.0", OVER)},
    b"NOOP \0": {None: ("501 5.5.2", None)},  # F-037
}


@pytest.mark.parametrize("state", [START, READY, SENDER, RECIPIENT, CHUNKS, SPOILED])
@pytest.mark.parametrize("command", TABLE)
def test_each_command_in_each_state_has_its_reply_and_its_next_state(state: str, command: bytes) -> None:  # F-002 F-007
    row: dict[str | None, tuple[str, str | None]] = TABLE[command]  # type: ignore[assignment]
    if state not in row and None not in row:
        return
    code, following = row.get(state) or row[None]
    tray = Tray()
    one = at(state, tray)
    assert codes(said(one, command + b"\r\n")) == [code]
    assert one.state == (following or state)
    if one.state in (START, READY, OVER):
        assert not tray.open, "no message is left half done"


def test_after_the_end_nothing_is_said() -> None:
    assert said(at(OVER), b"NOOP\r\n" * 3) == []


def test_the_greeting_names_us() -> None:  # F-001
    assert session(Tray()).greeting() == b"220 host.example.org ESMTP smartrelay\r\n"


def test_ehlo_lists_what_is_there_and_helo_nothing() -> None:  # F-004 F-005
    assert said(session(Tray()), HELLO) == [
        "250-host.example.org",
        "250-PIPELINING",
        "250-SIZE 1000",
        "250-8BITMIME",
        "250-SMTPUTF8",
        "250-DSN",
        "250-CHUNKING",
        "250-ENHANCEDSTATUSCODES",
        "250 HELP",
    ]
    assert said(session(Tray()), b"HELO c.example\r\n") == ["250 host.example.org"]


def test_ehlo_ends_a_transaction() -> None:  # F-006
    tray = Tray()
    assert codes(said(at(SENDER, tray), HELLO, RCPT)) == ["250", "503 5.5.1"]
    assert not tray.open


def test_a_message_goes_in() -> None:  # F-002 F-003 F-033 F-047
    tray = Tray()
    lines = said(
        at(READY, tray),
        b"mAiL fRoM:<a@b> sIzE=3 ret=hdrs envid=x\r\nrCpT tO:<c@d> notify=never\r\nRCPT TO:<@r:e@f>\r\ndata\r\n",
        b"Subject: x\r\n\r\n..a\r\n.\r\n",
    )
    assert codes(lines) == ["250 2.1.0", "250 2.1.5", "250 2.1.5", "354", "250 2.0.0"]
    assert lines[-1] == "250 2.0.0 Ok: queued as ID1"
    (message,) = tray.messages
    assert (message.hello, message.protocol, message.sender.path) == ("c.example", "ESMTP", "a@b")
    assert (message.sender.ret, message.sender.envid) == ("HDRS", "x")
    assert message.recipients == [("c@d", "NEVER", ""), ("e@f", "", "")]
    assert message.text == b"Subject: x\n\n.a\n"


@pytest.mark.parametrize(
    ("hello", "mail", "protocol"),
    [
        (b"HELO c\r\n", MAIL, "SMTP"),
        (HELLO, MAIL, "ESMTP"),
        (HELLO, "MAIL FROM:<jö@b> SMTPUTF8\r\n".encode(), "UTF8SMTP"),
    ],
)
def test_the_protocol_is_told_for_the_received_field(hello: bytes, mail: bytes, protocol: str) -> None:  # E-024 F-044
    tray = Tray()
    said(session(tray), hello, mail, b"RCPT TO:<c@d>\r\n", b"DATA\r\n", b".\r\n")
    assert [message.protocol for message in tray.messages] == [protocol]


def test_utf8_recipients_are_for_a_transaction_in_utf8() -> None:  # F-044
    rcpt = "RCPT TO:<jö@d>\r\n".encode()
    assert codes(said(at(READY), b"MAIL FROM:<a@b> SMTPUTF8\r\n", rcpt)) == ["250 2.1.0", "250 2.1.5"]
    assert codes(said(at(SENDER), rcpt)) == ["553 5.6.7"]


def test_replies_to_a_pipeline_come_in_order_and_nothing_of_it_is_lost() -> None:  # F-040
    tray = Tray()
    one = at(READY, tray)
    assert codes(said(one, MAIL + b"RCPT TO:<bad\r\n" + RCPT + b"DATA\r\n")) == ["250 2.1.0", "501 5.5.4", "250 2.1.5", "354"]
    rest = said(one, b"x\r\n.\r\n" + MAIL + RCPT + b"BDAT 3 LAST\r\nx\r\nQUIT\r\n")
    assert codes(rest) == ["250 2.0.0", "250 2.1.0", "250 2.1.5", "250 2.0.0", "221 2.0.0"]
    assert [message.text for message in tray.messages] == [b"x\n", b"x\n"]


def test_data_with_no_valid_recipient_is_refused_without_asking_for_the_text() -> None:  # F-040
    assert codes(said(at(SENDER), b"RCPT TO:<>\r\nDATA\r\n")) == ["501 5.1.3", "554 5.5.1"]


def test_chunks_make_one_message_whatever_they_cut_in_two() -> None:
    tray = Tray()
    lines = said(at(RECIPIENT, tray), b"BDAT 2\r\na\rBDAT 4\r\n\n.\r\nBDAT 1 LAST\r\n\r")
    assert codes(lines) == ["250 2.0.0"] * 3
    assert tray.messages[0].text == b"a\n.\n\r"


def test_octets_behind_a_refused_chunk_are_no_commands() -> None:
    tray = Tray()
    one = at(READY, tray)
    evil = MAIL + RCPT + b"DATA\r\n"
    assert codes(said(one, b"BDAT %d LAST\r\n%sNOOP\r\n" % (len(evil), evil))) == ["503 5.5.1", "250 2.0.0"]
    assert one.state == READY


def test_a_message_whose_chunk_was_refused_is_not_taken_by_its_other_chunks() -> None:
    tray = Tray(write=TooLarge("too large"))
    one = at(RECIPIENT, tray)
    assert codes(said(one, b"BDAT 1\r\nxBDAT 1\r\nxBDAT 1 LAST\r\nx" + MAIL)) == [
        "552 5.3.4",
        "503 5.5.1",
        "503 5.5.1",
        "503 5.5.1",
    ]
    assert codes(said(one, b"RSET\r\n" + MAIL)) == ["250 2.0.0", "250 2.1.0"]
    assert not tray.messages
    assert tray.open == 1


def test_a_size_over_the_limit_is_refused_at_once() -> None:  # F-032
    assert codes(said(at(READY), b"MAIL FROM:<a@b> SIZE=1001\r\n", MAIL)) == ["552 5.3.4", "250 2.1.0"]


@pytest.mark.parametrize(
    ("trouble", "code"),
    [
        (TooLarge("x"), "552 5.3.4"),
        (NoSpace("x"), "452 4.3.1"),
        (TryAgain("x"), "451 4.3.0"),
        (SpoolError("x"), "451 4.3.0"),
        (ConfigError("x"), "451 4.3.5"),
        (DataError("x"), "554 5.6.0"),
        (RuntimeError("secret"), "451 4.3.0"),  # F-054
    ],
)
@pytest.mark.parametrize("step", ["write", "commit"])
def test_trouble_with_a_message_is_the_reply_to_its_end_and_the_session_goes_on(
    step: str, trouble: Exception, code: str
) -> None:
    tray = Tray(**{step: trouble})
    one = at(RECIPIENT, tray)
    lines = said(one, b"DATA\r\n", b"x\r\n", b"FOO\r\n.\r\n", MAIL)
    assert codes(lines) == ["354", code, "250 2.1.0"]
    assert "secret" not in "".join(lines)
    assert not tray.messages
    assert tray.open == 1
    assert tray.bugs == ([trouble] if isinstance(trouble, RuntimeError) else [])


def test_trouble_with_sender_and_recipients_is_the_reply_to_those() -> None:
    assert codes(said(at(READY, Tray(begin=NoSpace("x"))), MAIL, RCPT)) == ["452 4.3.1", "503 5.5.1"]
    assert codes(said(at(READY, Tray(begin=AddressError("x"))), MAIL)) == ["501 5.1.7"]
    tray = Tray(**{"add c@d": AddressError("x"), "add e@d": TooManyRecipients("x")})
    rest = b"RCPT TO:<ok@d>\r\nRCPT TO:<e@d>\r\nDATA\r\n"
    assert codes(said(at(SENDER, tray), RCPT + rest, b".\r\n")) == [
        "501 5.1.3",
        "250 2.1.5",
        "452 4.5.3",
        "354",
        "250 2.0.0",
    ]  # F-026
    assert [each.recipients for each in tray.messages] == [[("ok@d", "", "")]]


def test_recipients_beyond_all_memory_are_for_another_message() -> None:  # F-026 F-053
    line = b"RCPT TO:<%s@d>\r\n" % (b"x" * 990)
    found = codes(said(at(SENDER), line * 2200))
    assert found[:100] == ["250 2.1.5"] * 100
    assert set(found[-10:]) == {"452 4.5.3"}


@pytest.mark.parametrize("rules", [NEIGHBOUR, NETWORK, PIPE])
def test_what_is_no_line_end_ends_no_message_and_spoils_none(rules: Rules) -> None:  # F-034 F-036
    """LF is a line end in the store, once it is known where the text ends; CR is neutralised before it is sent."""
    tray = Tray()
    one = session(tray, rules)
    assert codes(said(one, HELLO, MAIL, RCPT, b"DATA\r\n", b"a\nb\rc\n..\nd\r\n.\r\n", b"NOOP\r\n"))[-2:] == ["250 2.0.0"] * 2
    assert [message.text for message in tray.messages] == [b"a\nb\rc\n.\nd\n"]


@pytest.mark.parametrize("rules", [NEIGHBOUR, NETWORK])
@pytest.mark.parametrize("end", [b"\n.\n", b"\r\n.\n", b"\n.\r\n", b"\r.\r\n", b"\r\n.\r"])
def test_nothing_is_smuggled_in_behind_an_end_that_is_none(rules: Rules, end: bytes) -> None:  # F-034
    tray = Tray()
    one = session(tray, rules)
    said(one, HELLO, MAIL, RCPT, b"DATA\r\n", b"x" + end + MAIL + RCPT + b"DATA\r\nevil\r\n.\r\n")
    assert [message.text[:1] for message in tray.messages] == [b"x"]


def test_a_command_that_ends_in_a_bare_line_feed_ends_the_session_on_a_socket() -> None:  # F-034
    tray = Tray()
    one = at(RECIPIENT, tray)
    assert codes(said(one, b"NOOP\nDATA\r\n")) == ["554 5.5.2"]
    assert one.state == OVER
    assert not tray.open


def test_a_pipe_may_speak_in_line_feeds_and_leave_out_hello() -> None:  # F-035
    tray = Tray()
    lines = said(session(tray, PIPE), b"MAIL FROM:a@b\nRCPT TO:c\nDATA\na\n..\n.\nQUIT\n")
    assert codes(lines) == ["250 2.1.0", "250 2.1.5", "354", "250 2.0.0", "221 2.0.0"]
    assert [message.text for message in tray.messages] == [b"a\n.\n"]


def test_a_long_command_is_refused_whole_and_what_follows_is_in_step() -> None:  # F-030
    orcpt = b"RCPT TO:<c@d> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;" + b"x" * 493  # C-072
    assert codes(said(at(SENDER), orcpt + b" " * 1500 + b"\r\n")) == ["250 2.1.5"]
    assert codes(said(at(READY), b"MAIL FROM:<a@b> RET=FULL ENVID=" + b"x" * 100 + b"\r\n")) == ["250 2.1.0"]
    assert codes(said(at(READY), b"x" * 102_400 + b"\r\nNOOP\r\n")) == ["500 5.5.2", "250 2.0.0"]


def test_unknown_commands_do_not_end_a_session() -> None:  # F-011
    tray = Tray()
    assert codes(said(at(READY, tray), b"FOO\r\n" * 3, MAIL, RCPT, b"DATA\r\n", b".\r\n"))[-1] == "250 2.0.0"
    assert len(tray.messages) == 1


def test_many_errors_without_a_message_end_a_session() -> None:  # F-051
    one = at(READY)
    assert codes(said(one, b"FOO\r\n" * 25)) == ["500 5.5.2"] * 20 + ["421 4.7.0"]
    assert one.state == OVER


def test_after_ten_errors_replies_are_held_back() -> None:  # F-051
    one = at(READY)
    said(one, b"FOO\r\n" * 10)
    assert one.pause == 0
    said(one, b"FOO\r\n")
    assert one.pause == NEIGHBOUR.pause > 0
    said(one, MAIL, RCPT, b"DATA\r\n", b".\r\n")
    assert one.pause == 0


def test_an_accepted_message_makes_errors_forgotten() -> None:  # F-051
    one = at(READY)
    for _ in range(3):
        assert one.state == READY
        said(one, b"FOO\r\n" * 15, MAIL, RCPT, b"DATA\r\n", b".\r\n")


def test_commands_that_do_nothing_are_counted_after_a_hundred() -> None:  # F-051
    one = at(READY)
    assert codes(said(one, b"NOOP\r\n" * 200))[-1] == "421 4.7.0"
    assert one.state == OVER


@pytest.mark.parametrize("end", [Session.timed_out, Session.stop, Session.fail])
@pytest.mark.parametrize("state", [START, READY, RECIPIENT, CHUNKS])
def test_an_end_from_our_side_is_421_and_leaves_no_half_message(end: object, state: str) -> None:  # F-050 F-052
    tray = Tray()
    one = at(state, tray)
    if state == RECIPIENT:
        said(one, b"DATA\r\n", b"half a mess")
    reply = end(one)  # type: ignore[operator]
    code = {Session.timed_out: b"4.4.2", Session.stop: b"4.3.2", Session.fail: b"4.3.0"}[end]  # type: ignore[index]
    assert reply.startswith(b"421 %s host.example.org " % code)
    assert (one.state, tray.open, tray.messages) == (OVER, 0, [])
    assert end(one) == b""  # type: ignore[operator]


def test_a_client_that_goes_leaves_what_was_accepted_and_nothing_else() -> None:  # F-015
    tray = Tray()
    one = at(RECIPIENT, tray)
    said(one, b"DATA\r\n", b"x\r\n.\r\n", MAIL, RCPT, b"DATA\r\n", b"half")
    one.close()
    assert (len(tray.messages), tray.open) == (1, 0)


@pytest.mark.parametrize("first", [HELLO, b"HELO c\r\n"])
def test_who_does_not_wait_for_the_reply_to_hello_does_not_speak_smtp(first: bytes) -> None:  # F-041
    one = session(Tray(), NETWORK)
    assert codes(said(one, first + MAIL)) == ["554 5.5.0"]
    assert one.state == OVER


def test_who_does_not_wait_for_the_reply_to_data_does_not_speak_smtp() -> None:  # F-041
    tray = Tray()
    one = session(tray, NETWORK)
    assert codes(said(one, HELLO, MAIL + RCPT + b"DATA\r\nx\r\n.\r\n"))[-1] == "554 5.5.0"
    assert (one.state, tray.messages, tray.open) == (OVER, [], 0)


def test_every_line_of_every_reply_has_an_enhanced_code_of_its_class() -> None:  # F-046
    lines: list[str] = []
    for state in TO:
        for command in TABLE:
            if not command.upper().startswith((b"EHLO ", b"HELO ")):
                lines += said(at(state), command + b"\r\n")
    for line in lines:
        found = re.fullmatch(r"([245])\d\d[ -](\d)\.\d+\.\d+ \S.*|354 .*", line)
        assert found, line
        assert found[1] == found[2], line


def test_a_message_is_handed_on_as_it_comes_and_never_kept() -> None:  # F-053
    tray = Tray()
    one = at(RECIPIENT, tray)
    said(one, b"DATA\r\n")
    for _ in range(100):
        said(one, b"x" * 998 + b"\r\n")
    assert tray.longest_piece <= 1000
    assert codes(said(one, b".\r\n")) == ["250 2.0.0"]
