"""The mail log: lines that the tools made for Postfix read."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from smartrelay.mail.envelope import Envelope, Facts, Recipient
from smartrelay.mail.status import DEFERRED, DELIVERED, FAILED, Status
from smartrelay.maillog import MailLog
from smartrelay.sinks import ERROR, INFO, WARNING

ONE = "25X0LCH4YW6W9QYPF"
ENVELOPE = Envelope("s@a.example", [Recipient("r@b.example")] * 2, 1.0, 1000, "<m@x>", facts=Facts(5, 7))

# what logwatch, pflogsumm and fail2ban look for in a delivery's line
DELIVERY = re.compile(
    r"(?P<id>[0-9A-Za-z]+): to=<(?P<to>[^>]*)>, (?:orig_to=<[^>]*>, )?relay=(?P<relay>[^,]+), "
    r"(?:conn_use=\d+, )?delay=(?P<delay>[\d.]+), delays=(?P<delays>[\d./]+), "
    r"dsn=(?P<dsn>\d\.\d+\.\d+), status=(?P<status>\w+) \((?P<text>.*)\)"
)


def lines(act: Callable[[MailLog], None]) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    act(MailLog(lambda priority, *texts: found.extend((priority, text) for text in texts)))
    assert all("\n" not in text and text.isascii() and text.isprintable() for _, text in found)
    return found


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (Status(DELIVERED, "2.0.0", "250 2.0.0 ok", 250, "h.example[192.0.2.1]:25"), "sent"),
        (Status(DEFERRED, "4.4.1", "connection refused", 0, "h.example:25"), "deferred"),
        (Status(FAILED, "5.1.1", "550 5.1.1 no", 550, "h.example[192.0.2.1]:25"), "bounced"),
        (Status(DEFERRED, "4.3.5", "no [[relay]] rule"), "deferred"),
    ],
)
def test_a_delivery_is_one_line_in_postfixs_order(status: Status, word: str) -> None:
    ((priority, line),) = lines(lambda log: log.attempted(ONE, "r@b.example", status, 61.2, (60.0, 0.25, 0.0, 1.04)))
    found = DELIVERY.fullmatch(line)
    assert found, line
    assert (found["id"], found["to"], found["relay"]) == (ONE, "r@b.example", status.host or "none")
    assert (found["delay"], found["delays"]) == ("61", "60/0.25/0/1")
    assert (found["dsn"], found["status"], found["text"]) == (status.dsn, word, status.text)
    assert priority == INFO


def test_that_mail_was_given_up_is_told_as_postfix_tells_it_too() -> None:
    """Its own line of the queue manager, which logwatch counts; pflogsumm counts none for it, of Postfix's log neither."""
    assert lines(lambda log: log.expired(ONE, ENVELOPE)) == [
        (INFO, f"{ONE}: from=<s@a.example>, status=expired, returned to sender")
    ]


def test_a_possible_duplicate_is_a_warning() -> None:
    status = Status(DEFERRED, "4.4.2", "connection lost; it may be delivered twice", 0, "h:25", "end", True)
    ((priority, line),) = lines(lambda log: log.attempted(ONE, "r@b.example", status, 1.0, (0.0, 0.0, 0.0, 1.0)))
    assert priority == WARNING and ONE in line and "delivered twice" in line


def test_a_clock_that_went_back_gives_no_negative_delay() -> None:
    status = Status(DELIVERED, "2.0.0", "ok", 250, "h:25")
    ((_, line),) = lines(lambda log: log.attempted(ONE, "r@b", status, -5.0, (-5.0, -1.0, 0.0, 0.0)))
    assert DELIVERY.fullmatch(line) and "delay=0, delays=0/0/0/0" in line


def test_the_other_lines_of_a_messages_life() -> None:
    active = f"{ONE}: from=<s@a.example>, size=7, nrcpt=2 (queue active)"
    assert [text for _, text in lines(lambda log: log.taken(ONE, ENVELOPE, first=True))] == [
        f"{ONE}: uid=1000 from=<s@a.example>",
        f"{ONE}: message-id=<m@x>",
        active,
    ]
    assert [text for _, text in lines(lambda log: log.taken(ONE, ENVELOPE, first=False))] == [active]
    assert [text for _, text in lines(lambda log: log.removed([ONE, "B"]))] == [f"{ONE}: removed", "B: removed"]
    assert not lines(lambda log: log.removed([]))
    long = Envelope("s@a.example", [], 1.0, 1000, "<m@x>", facts=Facts(5, 7, 999))  # E-041 E-060
    converted = f"{ONE}: to be re-encoded: it has NUL, or lines of more than 998 octets"
    assert [text for _, text in lines(lambda log: log.taken(ONE, long, first=True))][3:] == [converted]
    assert converted not in [text for _, text in lines(lambda log: log.taken(ONE, long, first=False))]
    assert [text for _, text in lines(lambda log: log.notified(ONE, "N", "sender delay"))] == [
        f"{ONE}: sender delay notification: N"
    ]


def test_what_comes_from_outside_is_one_printable_line() -> None:  # A-027 A-138
    bad = "\x1b[31m\r\nNov 22 host postfix: forged\u2028\udcff\0"
    status = Status(DEFERRED, "4.0.0", bad, 450, "h:25")
    envelope = Envelope(bad, [Recipient(bad)], 1.0, 0, bad)

    def act(log: MailLog) -> None:
        log.attempted(ONE, bad, status, 1.0, (0.0,) * 4)
        log.taken(ONE, envelope, first=True)
        log.info(bad)
        log.warning(bad)
        log.error(bad)

    assert [priority for priority, _ in lines(act)][-3:] == [INFO, WARNING, ERROR]


def calls(act: Callable[[MailLog], None]) -> list[tuple[int, tuple[str, ...]]]:
    """What the sink was given, call by call."""
    found: list[tuple[int, tuple[str, ...]]] = []
    act(MailLog(lambda priority, *texts: found.append((priority, texts))))
    return found


def test_lines_that_can_wait_for_each_other_go_out_together() -> None:
    def act(log: MailLog) -> None:
        with log.together():
            for number in range(1000):
                log.info(f"line {number}")
        log.info("alone")

    found = calls(act)
    assert [line for _, texts in found for line in texts] == [f"line {number}" for number in range(1000)] + ["alone"]
    assert found[-1] == (INFO, ("alone",))
    assert len(found) < 20 and all(len(texts) < 500 for _, texts in found)


def test_what_an_operator_must_see_waits_for_nothing_and_stays_in_its_place() -> None:
    found: list[tuple[int, tuple[str, ...]]] = []
    log = MailLog(lambda priority, *texts: found.append((priority, texts)))
    with log.together():
        log.info("one")
        log.warning("two")
        assert found == [(INFO, ("one",)), (WARNING, ("two",))]
        log.info("three")
        log.error("four")
        assert found[2:] == [(INFO, ("three",)), (ERROR, ("four",))]
    assert len(found) == 4


def test_an_error_takes_no_line_along() -> None:
    def act(log: MailLog) -> None:
        with pytest.raises(ZeroDivisionError), log.together():
            log.info("one")
            raise ZeroDivisionError
        log.info("two")

    assert calls(act) == [(INFO, ("one",)), (INFO, ("two",))]


def test_a_thread_that_gathers_its_lines_keeps_none_of_anothers() -> None:
    found: list[str] = []
    log = MailLog(lambda priority, *texts: found.extend(texts))
    with log.together():
        log.info("mine")
        other = threading.Thread(target=lambda: log.info("theirs"))
        other.start()
        other.join()
        assert found == ["theirs"]
    assert found == ["theirs", "mine"]


SAY = """
import os, sys
from smartrelay.maillog import MailLog
from smartrelay.sinks import open_sink
status = os.fstat(2)
if sys.argv[1] == "journal":
    os.environ["JOURNAL_STREAM"] = f"{status.st_dev}:{status.st_ino}"
log = MailLog(open_sink("relay"))
log.info("one")
log.warning("two")
log.error("three")
print(os.getpid())
"""


def said(how: str) -> tuple[list[str], str]:
    done = subprocess.run(
        [sys.executable, "-c", SAY, how], env={"JOURNAL_STREAM": "1:1"}, capture_output=True, text=True, check=True
    )
    return done.stderr.splitlines(), done.stdout.strip()


def test_under_systemd_each_line_has_its_priority() -> None:
    """The identity is the unit's affair: the journal puts it in front (SyslogIdentifier=smartrelay/relay)."""
    assert said("journal")[0] == ["<6>one", "<4>two", "<3>three"]


def test_elsewhere_each_line_has_our_identity_or_goes_to_syslog() -> None:
    found, pid = said("elsewhere")
    prefixed = [f"smartrelay/relay[{pid}]: {text}" for text in ("one", "two", "three")]
    assert found == ([] if os.path.exists("/dev/log") else prefixed)
