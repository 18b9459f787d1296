"""What a person is told: which message, who did not get it, why, and what can be done."""

import pytest

from smartrelay.mail.dsn_reason import reason
from smartrelay.mail.dsn_text import subject
from smartrelay.mail.notice import Action, Outcome
from smartrelay.mail.status import DEFERRED, FAILED, Status
from tests.support.notices import (
    ARRIVED,
    BUSY,
    HOST,
    LOCAL,
    NOW,
    REMOTE,
    SILENT,
    TAKEN,
    notice,
    origin,
    parse,
    written,
)


def kinds(*actions: Action) -> list[Outcome]:
    return [Outcome(index, action, REMOTE, NOW) for index, action in enumerate(actions)]


F, E, D, R, S = Action


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ([F], "Undelivered Mail Returned to Sender"),
        ([E, F], "Undelivered Mail Returned to Sender"),
        ([D, D], "Delayed Mail (still being retried)"),
        ([R], "Successful Mail Delivery Report"),
        ([S, R], "Successful Mail Delivery Report"),
        ([S, F, D, F], "Mail Delivery Report: 2 failed, 1 delayed, 1 delivered"),
        ([E, R], "Mail Delivery Report: 1 expired, 1 handed on"),
        ([D, S], "Mail Delivery Report: 1 delayed, 1 delivered"),
    ],
)
def test_the_subject_fits_what_is_told(told: list[Action], expected: str) -> None:
    assert subject(kinds(*told)) == expected


def flat(words: str) -> str:
    return " ".join(words.split())


def test_a_failure_says_who_why_what_to_do_and_what_the_server_said() -> None:
    words = notice().words
    assert flat(words).startswith("This is the mail system at host.example.org. It is about your message sent ")
    assert "\n    subject  one\n" in words
    assert "It could not be delivered to this recipient. It will not be tried again." in flat(words)
    assert (
        "<r@b.example> There is no such mailbox: the address may have a typing mistake, or is no longer in use. "
        "Please check the address, letter by letter, and send the message again. "
        "mx.b.example said: 550 5.1.1 no such user"
    ) in flat(words)


def test_what_no_server_said_is_given_as_our_own() -> None:
    words = flat(notice(status=LOCAL).words)
    assert "In technical words: the message cannot be sent there" in words and "said:" not in words


def test_an_expired_message_says_how_long_it_waited() -> None:  # C-005
    words = flat(notice("a@x", "b@x", status=BUSY, action=Action.EXPIRED).words)
    assert "It could not be delivered to these 2 recipients within 5 days. It will not be tried again." in words
    assert "The mailbox is full." in words and "452 4.2.2 mailbox full" in words


def test_a_delay_says_that_nothing_need_be_done_and_until_when_it_is_tried() -> None:  # C-069
    words = flat(notice(status=SILENT, action=Action.DELAYED, retry_until=NOW).words)
    assert "After 5 days it could not yet be delivered to this recipient. You need not do anything: it will be tried" in words
    assert "again and again, until Fri, 15 Jan 2027" in words.replace("Thu, 14", "Fri, 15")  # the zone is the host's
    assert "The mail server could not be reached." in words
    assert "Please" not in words


def test_what_was_handed_on_or_delivered_gives_no_cause_for_alarm() -> None:  # C-064
    words = flat(notice(status=TAKEN, action=Action.RELAYED).words)
    assert "It was handed to the next mail server for this recipient." in words
    words = flat(notice(status=TAKEN, action=Action.DELIVERED).words)
    assert "It was delivered to this recipient. <r@b.example>" in words
    assert "delay" not in words and "Please" not in words and "250" not in words


def test_a_sender_who_was_warned_is_told_that_it_came_after_a_delay() -> None:
    assert "after a delay of 5 days" in notice(status=TAKEN, action=Action.DELIVERED, warned=True).words


def test_each_kind_has_its_paragraph_in_one_notice() -> None:  # C-039
    about = origin(*"abcde")
    words = flat(parse(written(about, kinds(*reversed(list(Action))))).words)
    places = [
        words.index(text)
        for text in (
            "could not be delivered",
            "<e>",
            "within 5 days",
            "<d>",
            "not yet",
            "<c>",
            "handed",
            "<b>",
            "It was delivered",
            "<a>",
        )
    ]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("seconds", "span"),
    [
        (-5, "less than a minute"),
        (59, "less than a minute"),
        (60, "1 minute"),
        (3600, "1 hour"),
        (14_500, "4 hours"),
        (86_399, "24 hours"),
        (86_400, "1 day"),
        (432_000, "5 days"),
    ],
)
def test_a_span_is_told_in_the_unit_that_fits(seconds: int, span: str) -> None:
    about = origin()
    told = [Outcome(0, Action.EXPIRED, BUSY, ARRIVED + seconds)]
    assert f"within {span}." in flat(parse(written(about, told)).words)


@pytest.mark.parametrize(
    ("field", "shown"),
    [
        (b"Subject: one\n two\n", "one two"),
        (b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= an =?iso-8859-1?Q?J=F6rg?=\n", "Grüße an Jörg"),
        ("Subject: Grüße\n".encode(), "Grüße"),
        (b"Subject: =?x-none?q?abc?=\n", "=?x-none?q?abc?="),
        (b"Subject: =?utf-8?b?x?=\n", "=?utf-8?b?x?="),
        (b"Subject: =?utf-8?q?a=0Ab=1B[31m?=\n", "a b?[31m"),
        (b"Subject: \xff\x1b\n", "??"),
        (b"Subject: " + b"y" * 3000 + b"\n", "y" * 200 + "..."),
        (b"Subject:\n", None),
        (b"X: y\n", None),
    ],
)
def test_the_subject_is_shown_as_its_author_saw_it(field: bytes, shown: str | None) -> None:  # C-042: no terminal escapes
    words = notice(text=b"To: x\n" + field + b"\nbody\n").words
    assert (f"\n    subject  {shown}\n" in words) if shown else ("subject" not in words)


def test_an_internationalised_address_is_shown_to_people_as_it_is() -> None:  # C-043
    assert "<jörg@bücher.example>" in notice("jörg@bücher.example").words


def test_no_line_is_wider_than_a_terminal() -> None:
    words = notice("r@b.example", status=REMOTE._replace(text="550 " + "word " * 99)).words
    assert max(map(len, words.split("\n"))) <= 72


# The table of reasons


@pytest.mark.parametrize(
    ("dsn", "code", "phase", "why"),
    [
        ("5.1.1", 550, "sending RCPT TO", "no such mailbox"),
        ("5.1.2", 0, "looking up the host", "does not exist"),
        ("5.1.10", 0, "", "Nobody takes mail"),
        ("5.2.2", 552, "", "mailbox is full"),
        ("4.2.2", 452, "", "mailbox is full"),
        ("5.3.4", 552, "", "too large"),
        ("5.2.3", 552, "", "too large"),
        ("5.7.1", 554, "waiting for the reply to the message", "spam"),
        ("5.7.1", 550, "sending MAIL FROM", "comes from your address"),
        ("5.1.8", 550, "sending RCPT TO", "comes from your address"),
        ("5.0.0", 550, "sending MAIL FROM", "comes from your address"),
        ("4.7.1", 450, "sending MAIL FROM", "spam"),
        ("5.7.26", 550, "", "make sure"),
        ("5.7.99", 550, "", "spam"),
        ("5.6.7", 0, "", "letters"),
        ("5.6.0", 0, "", "form that it has"),
        ("4.4.1", 0, "", "could not be reached"),
        ("4.4.99", 0, "", "could not be reached"),
        ("4.7.8", 535, "signing in", "sign in"),
        ("5.0.0", 550, "sending RCPT TO", "no such mailbox, or"),
        ("5.0.0", 552, "", "full, or the message is too large"),
        ("5.0.0", 554, "", "spam"),
        ("5.0.0", 599, "", "refuses the message"),
        ("5.9.9", 550, "", "no such mailbox, or"),
        ("", 0, "", "could not be handed over"),
        ("5.0.0", 0, "", "could not be handed over"),
    ],
)
def test_an_answer_has_a_reason_in_plain_words(dsn: str, code: int, phase: str, why: str) -> None:
    found = reason(Status(DEFERRED if dsn.startswith("4") else FAILED, dsn, "x", code, HOST, phase))
    assert why in found.why
    assert found.advice.startswith("Please") and found.why.endswith(".") and found.advice.endswith(".")
