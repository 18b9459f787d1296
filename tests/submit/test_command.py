"""Command lines of SMTP: what each says, and the reply to what is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartrelay.submit import command
from smartrelay.submit.command import BadCommand
from tests.support.queues import many


def sender(argument: str, *, tolerant: bool = False) -> tuple[str, int, bool, str, str]:
    found = command.mail(argument, tolerant=tolerant)
    return found.path, found.size, found.utf8, found.ret, found.envid


def forward(argument: str, *, tolerant: bool = False, utf8: bool = False) -> tuple[str, str, str]:
    found = command.recipient(argument, tolerant=tolerant, utf8=utf8)
    return found.path, found.notify, found.orcpt


def refused(call: object, *arguments: object, **more: object) -> str:
    """The code and enhanced code of the refusal."""
    with pytest.raises(BadCommand) as caught:
        call(*arguments, **more)  # type: ignore[operator]
    assert caught.value.reply.isprintable()
    return caught.value.reply[:9]


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("FROM:<a@b>", ("a@b", 0, False, "", "")),
        ("fRoM:<a@b> sIzE=3 bOdY=8bitMIME", ("a@b", 3, False, "", "")),  # F-003 F-043
        ("FROM:<a@b> BODY=7BIT", ("a@b", 0, False, "", "")),
        ("FROM:<>", ("", 0, False, "", "")),  # F-025
        ("FROM: <a@b>", ("a@b", 0, False, "", "")),  # F-020
        ("FROM:<@x.example,@y.example:u@b>", ("u@b", 0, False, "", "")),
        ('FROM:<"a>b c"@d> RET=hdrs ENVID=x+2By', ('"a>b c"@d', 0, False, "HDRS", "x+y")),  # F-045
        ("FROM:<jö@b> SMTPUTF8", ("jö@b", 0, True, "", "")),  # F-044
        ("FROM:<root>", ("root", 0, False, "", "")),
    ],
)
def test_what_mail_says(argument: str, expected: tuple[object, ...]) -> None:
    assert sender(argument) == expected


@pytest.mark.parametrize(
    ("argument", "reply"),
    [
        ("", "501 5.5.4"),
        ("FROM", "501 5.5.4"),
        ("FROM <a@b>", "501 5.5.4"),
        ("TO:<a@b>", "501 5.5.4"),
        ("FROM:a@b", "501 5.5.4"),  # F-020
        ("FROM:", "501 5.5.4"),
        ("FROM:<a@b", "501 5.5.4"),
        ('FROM:<"a@b>', "501 5.5.4"),
        ("FROM:<a@b>SIZE=1", "501 5.5.4"),
        ("FROM:<@x>", "501 5.5.4"),
        ("FROM:<@x:>", "501 5.5.4"),
        ("FROM:<a@@b>", "501 5.1.7"),  # F-022
        ("FROM:<a b@c>", "501 5.1.7"),
        ("FROM:<a@b>>", "501 5.5.4"),
        ("FROM:<a@b> FOO=1", "555 5.5.4"),  # F-021
        ("FROM:<a@b> AUTH=<>", "555 5.5.4"),  # F-057: not offered
        ("FROM:<a@b> SIZE=-1", "501 5.5.4"),
        ("FROM:<a@b> SIZE=" + "9" * 21, "501 5.5.4"),
        ("FROM:<a@b> SIZE=1 SIZE=1", "501 5.5.4"),
        ("FROM:<a@b> RET=FULL ret=FULL", "501 5.5.4"),  # C-073
        ("FROM:<a@b> ENVID=x ENVID=x", "501 5.5.4"),
        ("FROM:<a@b> SIZE=", "501 5.5.4"),
        ("FROM:<a@b> XPASSEDON=1", "501 5.5.4"),
        ("FROM:<a@b> BODY=BINARYMIME", "501 5.5.4"),  # F-043
        ("FROM:<a@b> SMTPUTF8=1", "501 5.5.4"),  # F-044
        ("FROM:<jö@b>", "550 5.6.7"),  # F-044
        ("FROM:<a@b> RET=ALL", "501 5.5.4"),  # F-045
        ("FROM:<a@b> ENVID=a+2b", "501 5.5.4"),
        ("FROM:<a@b> ENVID=a+0A", "501 5.5.4"),
        ("FROM:<a@b> ENVID=" + "x" * 101, "501 5.5.4"),
    ],
)
def test_what_mail_cannot_say(argument: str, reply: str) -> None:
    assert refused(sender, argument) == reply


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("TO:<a@b>", ("a@b", "", "")),
        ("to: <@a:u@b>", ("u@b", "", "")),  # F-020
        ("TO:<postmaster>", ("postmaster", "", "")),  # F-023
        ("TO:<PostMaster>", ("PostMaster", "", "")),
        ("TO:<a@b> notify=success,Delay orcpt=rfc822;a+2Bb@c", ("a@b", "SUCCESS,DELAY", "rfc822;a+2Bb@c")),
        ("TO:<a@b> NOTIFY=NEVER", ("a@b", "NEVER", "")),
        ("TO:<a@[IPv6:::1]>", ("a@[IPv6:::1]", "", "")),
    ],
)
def test_what_rcpt_says(argument: str, expected: tuple[str, ...]) -> None:  # F-045
    assert forward(argument) == expected


@pytest.mark.parametrize(
    ("argument", "reply"),
    [
        ("TO:<>", "501 5.1.3"),  # F-020
        ("TO:<a@b> FOO", "555 5.5.4"),
        ("TO:<a@b> NOTIFY=NEVER,DELAY", "501 5.5.4"),  # F-045 C-073
        ("TO:<a@b> NOTIFY=DELAY NOTIFY=DELAY", "501 5.5.4"),
        ("TO:<a@b> ORCPT=rfc822;" + "x" * 494, "501 5.5.4"),
        ("TO:<a@b> NOTIFY=", "501 5.5.4"),
        ("TO:<a@b> ORCPT=a@b", "501 5.5.4"),
        ("TO:<a@b> ORCPT=;x", "501 5.5.4"),
        ("TO:<a@b> ORCPT=rfc822;a+", "501 5.5.4"),
        ("TO:<jö@b>", "553 5.6.7"),  # F-044
        ("TO:<b c@d>", "501 5.1.3"),
    ],
)
def test_what_rcpt_cannot_say(argument: str, reply: str) -> None:
    assert refused(forward, argument) == reply


def test_on_a_pipe_the_brackets_may_be_missing() -> None:
    assert sender("FROM:a@b SIZE=3", tolerant=True)[:2] == ("a@b", 3)
    assert forward("TO: a@b", tolerant=True)[0] == "a@b"
    assert forward("TO:<jö@b>", utf8=True)[0] == "jö@b"


@pytest.mark.parametrize(("argument", "expected"), [("0 LAST", (0, True)), ("17", (17, False)), ("5 last", (5, True))])
def test_what_bdat_says(argument: str, expected: tuple[int, bool]) -> None:
    assert command.chunk(argument) == expected


@pytest.mark.parametrize("argument", ["", "x", "-1", "5 FIRST", "5 LAST LAST", "9" * 21, "٣"])
def test_what_bdat_cannot_say(argument: str) -> None:
    assert refused(command.chunk, argument) == "501 5.5.4"


@pytest.mark.parametrize("line", [b"MAIL FROM:<a\0@b>", b"NOOP \x7f", b"NOOP a\rb", b"MAIL\tFROM:<a@b>", b"NOOP \xff"])
def test_control_characters_and_what_is_no_utf8_are_no_command(line: bytes) -> None:  # F-037 F-044
    assert refused(command.split, line) == "501 5.5.2"


@many
@given(st.text(max_size=60), st.booleans(), st.booleans())
def test_any_text_is_an_argument_or_is_refused_in_one_printable_line(text: str, tolerant: bool, utf8: bool) -> None:
    for keyword in ("", "FROM:", "FROM:<", "FROM:<a@b> ", "TO:", "TO:<a@b> ", "TO:<a@b> ORCPT=rfc822;"):
        for call in (
            lambda argument: command.mail(argument, tolerant=tolerant),
            lambda argument: command.recipient(argument, tolerant=tolerant, utf8=utf8),
            command.chunk,
        ):
            try:
                call(keyword + text)
            except BadCommand as bad:
                assert bad.reply[:3].isdecimal() and bad.reply.isprintable()
