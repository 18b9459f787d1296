"""The ledger: verdicts durable before anything that follows from them, on a real queue and without any server."""

import os
from pathlib import Path
from typing import Any

import pytest

from smartrelay.mail.status import DEFERRED, DELIVERED, FAILED, Status
from smartrelay.maillog import MailLog
from smartrelay.relay.ledger import Consignment, Ledger
from smartrelay.relay.report import Report
from smartrelay.spool.journal import Journal
from smartrelay.spool.queue import Queue
from smartrelay.spool.trouble import NoSuchMessage
from tests.support.clock import FakeClock
from tests.support.configuration import configuration
from tests.support.queues import files, new_spool, put

YES = Status(DELIVERED, "2.0.0", "250 ok", 250, "h[1.2.3.4]:25", "end")
NO = Status(FAILED, "5.1.1", "550 no", 550, "h[1.2.3.4]:25", "rcpt")
LATER = Status(DEFERRED, "4.2.0", "450 later", 450, "h[1.2.3.4]:25", "rcpt")


class Desk:
    """A queue and its ledger."""

    def __init__(self, folder: str, clock: FakeClock, **settings: Any) -> None:
        self.clock = clock
        self.spool = new_spool(folder)
        self.queue = Queue(self.spool, clock=clock)
        self.report = Report()
        self.lines: list[str] = []
        log = MailLog(lambda priority, *lines: self.lines.extend(lines))
        self.ledger = Ledger(self.queue, log, self.report, configuration(self.spool, **settings), clock, lambda: 0.5)

    def consign(self, one: str, *recipients: int) -> Consignment:
        consignment = Consignment(self.ledger.take(one), "work", list(recipients), self.clock())
        self.ledger.prepare(consignment)
        return consignment

    def write(self, consignment: Consignment, statuses: dict[int, Status]) -> None:
        consignment.fresh.update(statuses)
        self.ledger.write(consignment)

    def planned(self, *recipients: str, shares: int = 1, sender: str = "s@example.org") -> str:
        one = put(self.queue, recipients, sender=sender)
        self.queue.take_in()
        self.ledger.plan(one, shares)
        return one


@pytest.fixture
def desk(tmp_path: Path, clock: FakeClock) -> Desk:
    return Desk(str(tmp_path), clock)


def test_a_message_for_one_that_is_delivered_needs_no_journal(desk: Desk) -> None:
    """The unlink alone is the verdict."""
    one = desk.planned("a@x")
    consignment = desk.consign(one, 0)
    assert "state" not in files(desk.spool)
    desk.write(consignment, {0: YES})
    assert "state" not in files(desk.spool)
    desk.ledger.give_back(one, finished=True)
    assert files(desk.spool) == {} and not desk.ledger.is_planned(one)
    assert (desk.report.sent, desk.report.messages) == (1, 1)


def test_room_for_verdicts_is_there_before_anything_is_sent(desk: Desk) -> None:  # C-014
    one = desk.planned(*(f"r{number}@x" for number in range(100)))
    consignment = desk.consign(one, *range(100))
    reserved = os.stat(f"{desk.spool}/state/{one}").st_size
    longest = Status(
        DEFERRED, "4.999.999", "x" * 500, 450, "h" * 60 + "[1.2.3.4]:25", "waiting for the reply to the message", True
    )
    desk.write(consignment, dict.fromkeys(range(100), longest))
    assert os.stat(f"{desk.spool}/state/{one}").st_size <= reserved


def test_a_verdict_is_in_the_journal_when_others_wait(desk: Desk) -> None:
    one = desk.planned("a@x", "b@x")
    desk.write(desk.consign(one, 0, 1), {0: YES, 1: LATER})
    assert [event["event"] for event in Journal(desk.spool, one).events] == ["attempt"]
    desk.ledger.give_back(one, finished=True)
    assert files(desk.spool)["cur"] == [f"{one},n={int(desk.clock() + 63)}"]  # a minute and half of a tenth of it
    assert (desk.report.sent, desk.report.deferred, desk.report.messages) == (1, 1, 0)


def test_a_failure_is_told_before_its_message_goes(desk: Desk) -> None:  # C-040
    one = desk.planned("a@x")
    desk.write(desk.consign(one, 0), {0: NO})
    assert [event["event"] for event in Journal(desk.spool, one).events] == ["attempt", "bounced"]
    (notice,) = desk.queue.get_waiting()
    envelope = desk.queue.get_envelope(notice)
    assert (envelope.reverse_path, envelope.recipients[0].address) == ("", "s@example.org")
    assert envelope.notice_of == (one, 1)
    desk.ledger.give_back(one, finished=True)
    desk.ledger.settle()
    assert files(desk.spool) == {"cur": [f"{notice},n={int(desk.clock())}"]}
    assert desk.report.notices == 1


def test_a_notice_of_a_notice_is_never_made(desk: Desk) -> None:  # C-021 C-022
    one = desk.planned("s@example.org", sender="")
    desk.write(desk.consign(one, 0), {0: NO})
    desk.ledger.give_back(one, finished=True)
    desk.ledger.settle()
    assert files(desk.spool) == {}
    assert any("double bounce" in line for line in desk.lines)


def test_a_message_at_two_next_hops_is_let_go_by_the_last(desk: Desk) -> None:
    one = desk.planned("a@x", "b@y", shares=2)
    first, second = desk.consign(one, 0), desk.consign(one, 1)
    assert first.message is second.message
    desk.write(first, {0: YES})
    desk.ledger.give_back(one, finished=True)
    assert desk.queue.get_relayed() == [one]
    desk.write(second, {1: YES})
    desk.ledger.give_back(one, finished=True)
    desk.ledger.settle()
    assert files(desk.spool) == {}


def test_one_that_comes_back_for_it_finds_it_again(desk: Desk) -> None:
    one = desk.planned("a@x")
    desk.consign(one, 0)
    desk.ledger.give_back(one, finished=False)
    assert (desk.queue.get_waiting(), desk.ledger.is_planned(one)) == ([one], True)
    desk.write(desk.consign(one, 0), {0: LATER})
    desk.ledger.give_back(one, finished=True)
    assert not desk.ledger.is_planned(one)


def test_what_has_left_the_pass_cannot_be_taken(desk: Desk) -> None:
    one = desk.planned("a@x")
    os.unlink(desk.queue.get_path(one))
    for _ in range(2):
        with pytest.raises(NoSuchMessage):
            desk.ledger.take(one)
    assert not desk.ledger.is_planned(one)


def test_the_origin_of_a_notice_knows_that_it_was_published(desk: Desk) -> None:  # C-040
    """Before the notice may go: else it would be published once more when its id is free again."""
    origin = put(desk.queue, ["a@x", "b@x"])
    Journal(desk.spool, origin).append({"event": "test"}, sync=True)
    one = put(desk.queue, ["s@example.org"], sender="", notice_of=(origin, 1))
    desk.queue.take_in(lambda envelope, each: each == one)
    desk.ledger.plan(one, 1)
    desk.ledger.take(one)
    assert [event["event"] for event in Journal(desk.spool, origin).events] == ["test", "bounced"]
