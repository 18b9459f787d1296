"""Giving up beside passes, on a real spool: who moves a message meanwhile, and what a crash had left of it."""

import os
from pathlib import Path

import pytest

from smartrelay.mail.status import DEFERRED, DELIVERED, EXPIRED, FAILED, Status
from smartrelay.maillog import MailLog
from smartrelay.relay.giving_up import GivingUp, expired, removed
from smartrelay.spool import names
from smartrelay.spool.history import attempt, bounced
from smartrelay.spool.journal import Journal
from smartrelay.spool.operator_queue import OperatorQueue
from smartrelay.spool.queue import Queue
from smartrelay.spool.trouble import MessageBusy
from tests.support.clock import FakeClock
from tests.support.configuration import configuration
from tests.support.queues import files, new_spool, put

LOST = Status(DEFERRED, "4.4.2", "the connection was lost", 0, "h[1.2.3.4]:25", "end", doubt=True)
NO = Status(FAILED, "5.1.1", "550 no", 550, "h[1.2.3.4]:25", "rcpt")


class Desk:
    """A spool, what an operator does to it, and the log."""

    def __init__(self, folder: str, clock: FakeClock) -> None:
        self.clock = clock
        self.spool = new_spool(folder)
        self.passing = Queue(self.spool, clock=clock)
        self.queue = OperatorQueue(self.spool, clock=clock)
        self.lines: list[str] = []
        log = MailLog(lambda priority, *lines: self.lines.extend(lines))
        self.giving_up = GivingUp(self.queue, configuration(self.spool), log, expired, clock)

    def notices(self) -> list[str]:
        """The ids of the notices that wait for a pass, all that the spool has."""
        found = files(self.spool)
        assert set(found) <= {"new"}
        return found.get("new", [])


@pytest.fixture
def desk(tmp_path: Path, clock: FakeClock) -> Desk:
    return Desk(str(tmp_path), clock)


def test_a_verdict_is_final_and_adds_no_doubt() -> None:
    for verdict, action in ((expired, EXPIRED), (removed, FAILED)):
        for last in (None, LOST):
            found = verdict(last)
            assert (found.action, found.final, found.doubt) == (action, True, False)
    assert (expired(LOST).text, expired(LOST).host, expired(LOST).dsn) == (LOST.text, LOST.host, LOST.dsn)


def test_a_name_that_a_pass_changes_meanwhile_is_found_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass takes in new mail, and makes deferred mail due, without a lock."""
    new, deferred = put(desk.passing), put(desk.passing)
    os.rename(f"{desk.spool}/new/{deferred}", f"{desk.spool}/cur/{names.waiting_name(deferred, desk.clock() + 3600)}")
    link = os.link

    def meanwhile(*arguments: str, **named: object) -> None:
        """Between the verdict and the message's end."""
        desk.passing.take_in(lambda envelope, one: one == new)
        desk.passing.make_due(lambda envelope, history: True)
        desk.clock.advance(1)
        link(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr("posix.link", meanwhile)
    for one in (new, deferred):
        desk.giving_up.give_up(one)
    assert len(desk.notices()) == 2


def test_what_a_crash_left_owed_comes_first_and_once(desk: Desk) -> None:
    """C-040: the call of a pass that was killed, for a recipient who had failed before."""
    one = put(desk.passing, ["a@x", "b@x"])
    first = attempt(desk.clock(), "work", {0: NO, 1: LOST})
    Journal(desk.spool, one).append({**first, "notice": {"time": desk.clock(), "number": 1, "recipients": [0]}}, sync=True)
    desk.clock.advance(5)
    assert desk.giving_up.give_up(one) == ""
    told = desk.notices()
    assert [Queue(desk.spool).get_envelope(notice).notice_of for notice in told] == [(one, 1), (one, 2)]


def test_one_that_has_all_its_verdicts_goes_without_another_notice(desk: Desk) -> None:
    one = put(desk.passing, ["a@x"])
    Journal(desk.spool, one).append(attempt(1.0, "work", {0: Status(DELIVERED, "2.0.0", "ok")}), sync=True)
    assert desk.giving_up.give_up(one) == ""
    assert desk.notices() == []


def test_a_notice_that_is_given_up_is_not_published_again_by_its_origin(desk: Desk) -> None:
    """Law 3: its id is free again when it has gone; the origin, held since a crash, must know that it was published."""
    origin = put(desk.passing, ["a@x", "b@x"])
    Journal(desk.spool, origin).append({"event": "test"}, sync=True)
    notice = put(desk.passing, ["s@example.org"], sender="", notice_of=(origin, 1))
    assert desk.giving_up.give_up(notice).startswith("it has no sender")
    assert Journal(desk.spool, origin).events[-1] == bounced(desk.clock(), 1)


def test_what_is_in_hand_stays_as_it_is(desk: Desk) -> None:
    one = put(desk.passing)
    desk.passing.take_in()
    desk.passing.set_relaying(one)
    with pytest.raises(MessageBusy):
        desk.giving_up.give_up(one)
    assert files(desk.spool) == {"cur": [f"{one},n={int(desk.clock())}"]} and desk.lines == []


def test_a_notice_that_cannot_be_written_keeps_its_message_due_and_its_verdict(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C-040: whoever comes next writes it."""
    one = put(desk.passing)
    os.rename(f"{desk.spool}/new/{one}", f"{desk.spool}/hold/{one}")

    def full(*arguments: object, **named: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("posix.link", full)
    with pytest.raises(OSError):
        desk.giving_up.give_up(one)
    assert files(desk.spool) == {"cur": [f"{one},n={int(desk.clock())}"], "state": [one]}
    monkeypatch.undo()
    desk.clock.advance(60)
    assert desk.giving_up.give_up(one) == ""
    assert len(desk.notices()) == 1
