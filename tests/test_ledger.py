"""The ledger: verdicts durable before anything that follows from them, on a real queue and without any server."""

import os
from pathlib import Path

import pytest

from smartrelay.mail.status import DEFERRED, Status
from smartrelay.relay.ledger import Consignment
from smartrelay.spool.journal import Journal
from smartrelay.spool.trouble import MessageBusy, NoSuchMessage
from tests.support.clock import FakeClock
from tests.support.desk import ACCOUNT, DOWN, LATER, LOST, NO, RELAYED, YES, Desk
from tests.support.queues import files, put


@pytest.fixture
def desk(tmp_path: Path, clock: FakeClock) -> Desk:
    return Desk(str(tmp_path), clock)


def write(desk: Desk, consignment: Consignment, statuses: dict[int, Status]) -> None:
    desk.ledger.write(consignment, statuses)


def test_a_message_for_one_that_is_delivered_needs_no_journal(desk: Desk) -> None:
    """The unlink alone is the verdict."""
    one = desk.planned("a@x")
    consignment = desk.consign(one, 0)
    assert "state" not in files(desk.spool)
    write(desk, consignment, {0: YES})
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
    write(desk, consignment, dict.fromkeys(range(100), longest))
    assert os.stat(f"{desk.spool}/state/{one}").st_size <= reserved


def test_a_verdict_is_in_the_journal_when_others_wait(desk: Desk) -> None:
    one = desk.planned("a@x", "b@x")
    write(desk, desk.consign(one, 0, 1), {0: YES, 1: LATER})
    assert [event["event"] for event in Journal(desk.spool, one).events] == ["attempt"]
    desk.ledger.give_back(one, finished=True)
    assert files(desk.spool)["cur"] == [f"{one},n={int(desk.clock() + 63)}"]  # a minute and half of a tenth of it
    assert (desk.report.sent, desk.report.deferred, desk.report.messages) == (1, 1, 0)


def test_a_failure_is_told_before_its_message_goes(desk: Desk) -> None:  # C-040
    one = desk.planned("a@x")
    write(desk, desk.consign(one, 0), {0: NO})
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
    write(desk, desk.consign(one, 0), {0: NO})
    desk.ledger.give_back(one, finished=True)
    desk.ledger.settle()
    assert files(desk.spool) == {}
    assert any("double bounce" in line for line in desk.lines)


def test_a_message_at_two_next_hops_is_let_go_by_the_last(desk: Desk) -> None:
    one = desk.planned("a@x", "b@y", shares=2)
    first, second = desk.consign(one, 0), desk.consign(one, 1)
    assert first.message is second.message
    write(desk, first, {0: YES})
    desk.ledger.give_back(one, finished=True)
    assert desk.queue.get_relayed() == [one]
    write(desk, second, {1: YES})
    desk.ledger.give_back(one, finished=True)
    desk.ledger.settle()
    assert files(desk.spool) == {}


def test_one_that_comes_back_for_it_finds_it_again(desk: Desk) -> None:
    one = desk.planned("a@x")
    desk.consign(one, 0)
    desk.ledger.give_back(one, finished=False)
    assert (desk.queue.get_waiting(), desk.ledger.is_planned(one)) == ([one], True)
    write(desk, desk.consign(one, 0), {0: LATER})
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


@pytest.mark.parametrize("notify", ["SUCCESS", "SUCCESS,FAILURE"])
def test_room_for_a_report_of_success_is_there_before_the_message_is_sent(desk: Desk, notify: str) -> None:  # C-014 C-064
    """On a full disk a verdict that has to be told could not be written: the message would be sent again and again."""
    one = desk.planned("a@x", notify=notify)
    consignment = desk.consign(one, 0)
    reserved = os.stat(f"{desk.spool}/state/{one}").st_size
    desk.ledger.write(consignment, {0: RELAYED})
    assert os.stat(f"{desk.spool}/state/{one}").st_size <= reserved


def test_a_verdict_stands_though_its_notice_cannot_be_written(desk: Desk) -> None:  # C-040
    """The log has it, no attempt is counted twice, and the notice is owed until it can be written."""
    one = desk.planned("a@x", "b@x")
    os.rmdir(f"{desk.spool}/tmp")
    consignment = desk.consign(one, 0, 1)
    with pytest.raises(OSError, match="tmp"):
        desk.ledger.write(consignment, {0: NO, 1: LATER})
    assert (consignment.complete, consignment.fresh) == (True, {})
    assert (desk.report.bounced, desk.report.deferred) == (1, 1)
    assert len([line for line in desk.lines if "status=bounced" in line]) == 1
    desk.ledger.give_back(one, finished=True)
    os.mkdir(f"{desk.spool}/tmp")
    desk.attempt(one, {1: YES})
    assert [told.actions for told in desk.told()] == [{"a@x": "failed"}]
    assert not [name for name in files(desk.spool)["cur"] if name.startswith(one)]


def test_a_notice_does_not_go_before_its_origin_knows_of_it(desk: Desk) -> None:  # C-040
    """Law 3, in the moment between the two: its origin is in hand, and has not written it down yet."""
    origin = desk.planned("a@x")
    message = desk.ledger.take(origin)
    row = [0, "failed", "5.1.1", "550 5.1.1 no", 550, "h", "rcpt", False]
    called = {"time": desk.clock(), "number": 1, "recipients": [0]}
    message.record({"event": "attempt", "time": 5.0, "relay": "w", "results": [row], "notice": called}, sync=True)
    notice = put(desk.queue, ["s@example.org"], sender="", notice_of=(origin, 1))
    desk.queue.take_in()
    desk.ledger.plan(notice, 1)
    with pytest.raises(MessageBusy):
        desk.ledger.take(notice)
    message.record({"event": "bounced", "time": 5.0, "number": 1}, sync=True)
    desk.queue.read_directory(everything=True)
    desk.ledger.plan(notice, 1)
    assert desk.ledger.take(notice).queue_id == notice


class Looks(FakeClock):
    """Whenever somebody asks the time, the pass looks for new mail, as its own thread does beside the workers; what it finds it
    takes in hand."""

    def __init__(self) -> None:
        super().__init__()
        self.desk: Desk | None = None
        self.taken: list[str] = []

    def __call__(self) -> float:
        desk, self.desk = self.desk, None
        for one in desk.queue.take_in() if desk is not None else ():
            assert desk is not None
            desk.ledger.plan(one, 1)
            self.taken.append(desk.ledger.take(one).queue_id)
        self.desk = desk
        return self.now


def test_a_pass_sees_a_notice_when_its_origin_knows_of_it(tmp_path: Path) -> None:  # C-040
    """Or its worker would find the origin in hand, and the notice would wait for another pass."""
    clock = Looks()
    desk = Desk(str(tmp_path), clock)
    consignment = desk.consign(desk.planned("a@x"), 0)
    clock.desk = desk
    write(desk, consignment, {0: NO})
    assert len([*clock.taken, *desk.queue.get_waiting()]) == 1


# Expiry (law 11)

DAY, HOUR = 86400.0, 3600.0


def tried(desk: Desk, one: str, until: float, status: Status = LATER, step: float = 3 * HOUR) -> None:
    """Deferred every three hours up to `until`, in seconds from the message's arrival."""
    arrived = desk.queue.get_envelope(one).arrived
    while desk.clock() + step <= arrived + until:
        desk.clock.advance(step)
        desk.attempt(one, {0: status})
    desk.clock.now = arrived + until


def is_there(desk: Desk, one: str) -> bool:
    return any(name.startswith(one) for name in files(desk.spool).get("cur", []))


def test_mail_is_given_up_after_its_lifetime_by_an_attempt_that_fails(desk: Desk) -> None:  # C-005 C-060
    """Four days and 23 hours: it waits. Behind five days the next failing attempt is the last, and its words are told."""
    one = desk.planned("a@x", notify="FAILURE")
    tried(desk, one, 5 * DAY - HOUR)
    desk.attempt(one, {0: LATER})
    assert is_there(desk, one) and desk.told() == []
    desk.clock.advance(2 * HOUR)
    assert is_there(desk, one)  # age alone ends nothing
    desk.attempt(one, {0: LATER._replace(text="452 4.2.2 mailbox full", code=452, dsn="4.2.2")})
    assert not is_there(desk, one)
    (told,) = desk.told()
    (group,) = told.groups.values()
    assert (group["Action"], group["Status"]) == ("failed", "5.4.7")
    assert group["Diagnostic-Code"] == "smtp; 452 4.2.2 mailbox full"
    assert "within 5 days" in told.words and "The mailbox is full." in told.words
    assert [line for line in desk.lines if f"{one}: to=<a@x>" in line][-1].endswith(
        "dsn=5.4.7, status=expired (452 4.2.2 mailbox full)"
    )
    assert desk.report.bounced == 1


def test_whom_a_last_attempt_reaches_is_delivered_and_not_expired(desk: Desk) -> None:
    one = desk.planned("a@x")
    tried(desk, one, 5 * DAY - HOUR)
    desk.clock.advance(2 * HOUR)
    desk.attempt(one, {0: YES})
    assert desk.report.sent == 1 and not is_there(desk, one)


def test_a_spool_that_was_offline_for_six_days_gets_its_attempts_before_anything_expires(desk: Desk) -> None:  # C-005
    """A laptop slept: on waking the mail is six hours older, and not even the next days of failure end it."""
    one = desk.planned("a@x")
    tried(desk, one, HOUR, step=HOUR)
    desk.clock.advance(6 * DAY)
    desk.attempt(one, {0: LATER})
    assert is_there(desk, one)
    woken = desk.clock()
    while is_there(desk, one):
        desk.clock.advance(3 * HOUR)
        desk.attempt(one, {0: LATER})
    assert 4.7 * DAY <= desk.clock() - woken <= 4.9 * DAY


@pytest.mark.parametrize("status", [ACCOUNT, DOWN], ids=["our account", "remembered"])
def test_what_was_not_asked_just_now_expires_nothing(desk: Desk, status: Status) -> None:
    """Law 5: an account's fault never bounces. Law 11: neither does what is only remembered of a host."""
    one = desk.planned("a@x")
    tried(desk, one, 30 * DAY, status, step=6 * HOUR)
    assert is_there(desk, one)
    assert [told.actions for told in desk.told()] in ([], [{"a@x": "delayed"}])
    desk.attempt(one, {0: LATER})
    assert is_there(desk, one) == (status is ACCOUNT)  # the time up to the account's faults did not count


def test_time_with_a_fault_of_the_account_is_no_age(desk: Desk) -> None:  # C-005
    one = desk.planned("a@x")
    tried(desk, one, 4 * DAY)
    tried(desk, one, 34 * DAY, ACCOUNT)
    desk.attempt(one, {0: LATER})
    assert is_there(desk, one)
    tried(desk, one, 34.9 * DAY)
    assert is_there(desk, one)
    tried(desk, one, 35.1 * DAY)
    assert not is_there(desk, one)


def test_mail_from_a_clock_that_was_ahead_expires_all_the_same(desk: Desk) -> None:
    """It came in "next year"; then the clock was put right. It must not wait until then."""
    arrived = desk.clock()
    one = desk.planned("a@x")
    desk.clock.now = arrived - 365 * DAY
    begun = desk.clock()
    while is_there(desk, one):
        desk.clock.advance(3 * HOUR)
        desk.attempt(one, {0: LATER})
    assert 5 * DAY <= desk.clock() - begun <= 5 * DAY + 6 * HOUR


def test_a_clock_that_was_in_1970_expires_nothing(desk: Desk) -> None:
    now = desk.clock()
    desk.clock.now = 100.0
    one = desk.planned("a@x")
    desk.attempt(one, {0: LATER})
    desk.clock.now = now
    for _ in range(3):
        desk.attempt(one, {0: LATER})
        desk.clock.advance(HOUR)
    assert is_there(desk, one)
    assert [told.actions for told in desk.told()] == [{"a@x": "delayed"}]  # six hours of age, for one capped gap


def test_each_recipient_has_an_age_of_its_own(desk: Desk) -> None:
    """One whose relay is at fault through us is held, the other is given up; a used-up budget holds whom it was for."""
    one, verdicts = desk.planned("a@x", "b@x", "c@x"), {0: LATER, 1: ACCOUNT}
    while is_there(desk, one) and desk.clock() < 1_800_000_000 + 6 * DAY:
        desk.clock.advance(3 * HOUR)
        desk.queue.read_directory(everything=True)
        desk.ledger.plan(one, 3)
        message = desk.ledger.take(one)
        waiting = [index for index in verdicts if index in message.history.waiting]
        desk.ledger.postpone(Consignment(message, "slow", [2], desk.clock()), desk.clock() + 60)
        desk.ledger.write(Consignment(message, "work", waiting, desk.clock()), {index: verdicts[index] for index in waiting})
        desk.ledger.give_back(one, finished=True)
        desk.ledger.plan(one, 0)
    (told,) = [told for told in desk.told() if "a@x" in told.actions and told.actions["a@x"] == "failed"]
    assert told.actions == {"a@x": "failed"}
    history = desk.ledger.take(one).history if desk.ledger.is_planned(one) else None
    assert history is None or history.waiting == [1, 2]


# Doubt (law 10)


def test_after_the_third_doubt_no_budget_brings_the_message_back_earlier(desk: Desk) -> None:
    """Law 10: it waits for four hours at least, though its other recipients' turn comes in a minute."""
    one = desk.planned("a@x", "b@y")
    for doubts in (1, 2, 3):
        desk.queue.read_directory(everything=True)
        desk.ledger.plan(one, 1)
        message = desk.ledger.take(one)
        desk.ledger.postpone(Consignment(message, "slow", [1], desk.clock()), desk.clock() + 30)
        desk.ledger.write(Consignment(message, "work", [0], desk.clock()), {0: LOST})
        desk.ledger.give_back(one, finished=True)
        (name,) = files(desk.spool)["cur"]
        due = int(name.partition(",n=")[2]) - desk.clock()
        assert due == 30 if doubts < 3 else due >= 4 * HOUR
        desk.clock.advance(due + 1)


def test_an_expiry_after_a_doubt_says_that_it_may_have_arrived(desk: Desk) -> None:  # A-060 C-005
    one = desk.planned("a@x")
    tried(desk, one, 5 * DAY - HOUR)
    desk.clock.advance(2 * HOUR)
    desk.attempt(one, {0: LOST._replace(text="connection lost; the server may have taken it, so it may be delivered twice")})
    told = desk.told()[-1]
    assert "may have taken it" in str(told.groups["a@x"]["Diagnostic-Code"])
