"""Which notices a message's attempts call for: as NOTIFY asks (RFC 3461 section 5.2), one for each attempt, each of them once.

On a real queue; the verdicts are given. What a notice looks like is in the tests of `mail/dsn`.
"""

import os
from email.utils import parsedate_to_datetime
from itertools import product
from pathlib import Path

import pytest

from smartrelay.mail.status import Status
from tests.support.clock import FakeClock
from tests.support.desk import ACCOUNT, DOWN, LATER, LOST, NO, RELAYED, TO_MAILBOX, YES, Desk
from tests.support.queues import files

HOUR, DAY = 3600.0, 86400.0


@pytest.fixture
def desk(tmp_path: Path, clock: FakeClock) -> Desk:
    """Warns after four hours and after a day, and has a postmaster."""
    return Desk(str(tmp_path), clock, postmaster="admin@example.org", warn_after=(4 * HOUR, DAY))


def actions(desk: Desk) -> list[dict[str, str]]:
    """What each notice in the queue says of whom."""
    return [told.actions for told in desk.told()]


def age(desk: Desk, one: str, seconds: float, status: Status = LATER) -> None:
    """Time goes by, with an attempt each hour that defers the first recipient, and one at the end."""
    while seconds > 0:
        step = min(seconds, HOUR)
        desk.clock.advance(step)
        desk.attempt(one, {0: status})
        seconds -= step


# NOTIFY (RFC 3461 section 5.2)

WISHES = [
    "",
    "NEVER",
    "FAILURE",
    "DELAY",
    "SUCCESS",
    "SUCCESS,FAILURE",
    "SUCCESS,DELAY",
    "FAILURE,DELAY",
    "SUCCESS,FAILURE,DELAY",
]


@pytest.mark.parametrize("notify", WISHES)
def test_a_refusal_is_told_to_whom_did_not_wish_otherwise(desk: Desk, notify: str) -> None:  # C-060 C-062 C-066 C-067
    desk.attempt(desk.planned("a@x", notify=notify), {0: NO})
    assert actions(desk) == ([{"a@x": "failed"}] if notify == "" or "FAILURE" in notify else [])


@pytest.mark.parametrize("notify", WISHES)
def test_an_expiry_is_told_like_a_refusal(desk: Desk, notify: str) -> None:  # C-060 C-062 C-066 C-067 C-005
    one = desk.planned("a@x", notify=notify)
    age(desk, one, 5 * DAY)
    failed = [each for each in actions(desk) if "failed" in each.values()]
    assert failed == ([{"a@x": "failed"}] if notify == "" or "FAILURE" in notify else [])
    assert not [name for name in files(desk.spool).get("cur", []) if name.startswith(one)]


@pytest.mark.parametrize(("notify", "status"), list(product(WISHES, [YES, RELAYED, TO_MAILBOX])))
def test_success_is_told_to_whom_asked_where_nobody_behind_us_will(
    desk: Desk, notify: str, status: Status
) -> None:  # C-061 C-064 C-065
    desk.attempt(desk.planned("a@x", notify=notify), {0: status})
    asked = "SUCCESS" in notify and status.report
    assert actions(desk) == ([{"a@x": status.report}] if asked else [])


@pytest.mark.parametrize("notify", WISHES)
def test_a_delay_is_told_where_nothing_was_asked_or_delays_were(desk: Desk, notify: str) -> None:  # C-062 C-068 C-069
    one = desk.planned("a@x", notify=notify)
    age(desk, one, 4 * HOUR)
    assert actions(desk) == ([{"a@x": "delayed"}] if notify == "" or "DELAY" in notify else [])
    for told in desk.told():  # and no more is promised than will be kept
        assert ("You will be told if that fails" in told.words) == (notify == "" or "FAILURE" in notify)


def test_who_is_not_to_be_told_of_is_nowhere_in_the_notice(desk: Desk) -> None:  # C-039
    one = desk.planned("a@x", "secret@x", "b@x", notify=["", "NEVER", "FAILURE"])
    desk.attempt(one, dict.fromkeys(range(3), NO))
    (told,) = desk.told()
    assert told.actions == {"a@x": "failed", "b@x": "failed"}
    assert "secret" not in told.parsed.as_string()


def test_only_whom_the_attempt_was_about_is_told_of(desk: Desk) -> None:  # C-070
    """One that was delivered before, and one that is refused now."""
    one = desk.planned("a@x", "b@x")
    desk.attempt(one, {0: YES, 1: LATER})
    desk.attempt(one, {1: NO})
    assert actions(desk) == [{"b@x": "failed"}]


# To whom


def test_a_notice_goes_from_nobody_to_the_envelope_sender_alone(desk: Desk) -> None:  # C-020
    desk.attempt(desk.planned("a@x", sender="envelope@example.org", text=b"From: x@example.org\n\nhi\n"), {0: NO})
    (told,) = desk.told()
    assert told.envelope.reverse_path == ""
    assert [each.address for each in told.envelope.recipients] == ["envelope@example.org"]


@pytest.mark.parametrize(("ret", "whole"), [("", False), ("FULL", True), ("HDRS", False)])
def test_a_failed_message_comes_back_whole_to_whom_asked_for_that(desk: Desk, ret: str, whole: bool) -> None:  # C-037
    desk.attempt(desk.planned("a@x", ret=ret, text=b"Subject: x\n\nbody-text\n"), {0: NO})
    (told,) = desk.told()
    assert ("body-text" in told.parsed.as_string()) == whole


@pytest.mark.parametrize("status", [RELAYED, LATER])
def test_of_a_message_that_is_not_lost_the_header_comes_back(desk: Desk, status: Status) -> None:  # C-037
    one = desk.planned("a@x", notify="SUCCESS,DELAY", ret="FULL", text=b"Subject: x\n\nbody-text\n")
    desk.clock.advance(5 * HOUR)
    desk.attempt(one, {0: status})
    (told,) = desk.told()
    assert "body-text" not in told.parsed.as_string() and "text/rfc822-headers" in told.parsed.as_string()


# One for each attempt


def test_one_notice_tells_of_all_that_an_attempt_has_to_tell(desk: Desk) -> None:  # C-039
    one = desk.planned("no@x", "later@x", "yes@x", "silent@x", "gone@x", notify=["", "", "SUCCESS", "NEVER", "FAILURE"])
    desk.clock.advance(5 * HOUR)
    desk.attempt(one, {0: NO, 1: LATER, 2: RELAYED, 3: NO, 4: NO})
    assert actions(desk) == [{"no@x": "failed", "gone@x": "failed", "later@x": "delayed", "yes@x": "relayed"}]
    assert desk.report.notices == 1


def test_the_log_says_what_kind_of_notice_it_was(desk: Desk) -> None:
    """In Postfix's words."""
    desk.attempt(desk.planned("a@x"), {0: NO})
    desk.attempt(desk.planned("a@x", notify="SUCCESS"), {0: RELAYED})
    desk.attempt(desk.planned("a@x", sender=""), {0: NO})
    late = desk.planned("a@x")
    desk.clock.advance(5 * HOUR)
    desk.attempt(late, {0: LATER})
    found = [line.split(": ")[1] for line in desk.lines if "notification" in line]
    kinds = ["sender non-delivery", "sender delivery status", "postmaster non-delivery", "sender delay"]
    assert found == [f"{kind} notification" for kind in kinds]


# Delays


def test_a_delay_is_told_once_for_each_entry(desk: Desk) -> None:  # C-069
    one = desk.planned("a@x")
    age(desk, one, 4 * HOUR - 1)
    assert actions(desk) == []
    age(desk, one, 1)
    assert actions(desk) == [{"a@x": "delayed"}]
    age(desk, one, DAY - 4 * HOUR - 1)
    assert len(actions(desk)) == 1
    age(desk, one, 1)
    assert len(actions(desk)) == 2
    age(desk, one, 2 * DAY)
    assert len(actions(desk)) == 2


def test_two_entries_that_pass_at_once_are_one_notice(tmp_path: Path, clock: FakeClock) -> None:
    desk = Desk(str(tmp_path), clock, warn_after=(HOUR, 2 * HOUR, DAY))
    one = desk.planned("a@x")
    desk.clock.advance(3 * HOUR)
    desk.attempt(one, {0: LATER})
    age(desk, one, 3 * HOUR)
    assert actions(desk) == [{"a@x": "delayed"}]


def test_no_delay_is_told_where_none_is_configured(tmp_path: Path, clock: FakeClock) -> None:
    desk = Desk(str(tmp_path), clock, warn_after=())
    one = desk.planned("a@x", notify="DELAY")
    age(desk, one, 2 * DAY)
    assert actions(desk) == []


def test_a_delay_notice_says_until_when_it_is_tried(desk: Desk) -> None:  # C-035 C-069
    """Held as long as it always can go from here on: time in which it could not does not count."""
    arrived = desk.clock()
    one = desk.planned("a@x")
    age(desk, one, 2 * HOUR)
    age(desk, one, DAY, ACCOUNT)
    age(desk, one, 2 * HOUR)
    (told,) = desk.told()
    fields = told.groups["a@x"]
    assert fields["Status"] == "4.2.0"
    assert parsed(fields["Will-Retry-Until"]) == arrived + 6 * DAY
    assert parsed(fields["Last-Attempt-Date"]) == desk.clock()


def parsed(date: str) -> float:
    return parsedate_to_datetime(date).timestamp()


def test_recipients_of_different_age_are_each_told_of_as_often_as_their_own(desk: Desk) -> None:
    """One was held by our account for most of a day: a notice then tells of its first delay and of the other one's second."""
    one = desk.planned("a@x", "b@x")
    told: dict[str, int] = {"a@x": 0, "b@x": 0}
    for hour in range(48):
        desk.clock.advance(HOUR)
        desk.attempt(one, {0: LATER, 1: ACCOUNT if hour < 20 else LATER})
    for notice in actions(desk):
        for address in notice:
            told[address] += 1
    assert told == {"a@x": 2, "b@x": 2}


def test_time_up_to_a_fault_of_our_account_is_no_delay_to_tell_of(desk: Desk) -> None:
    one = desk.planned("a@x")
    for _ in range(10):
        desk.clock.advance(5 * HOUR)
        desk.attempt(one, {0: ACCOUNT})
    assert actions(desk) == []


@pytest.mark.parametrize("status", [LATER, LOST, DOWN])
def test_a_delay_is_told_whatever_the_deferral_rests_on_but_ourselves(desk: Desk, status: Status) -> None:
    one = desk.planned("a@x")
    age(desk, one, 4 * HOUR, status)
    assert actions(desk) == [{"a@x": "delayed"}]


def test_a_message_without_sender_has_nobody_to_tell_of_its_delay_or_success(desk: Desk) -> None:  # C-021
    one = desk.planned("a@x", "b@x", sender="", notify="SUCCESS,DELAY,FAILURE")
    desk.clock.advance(5 * HOUR)
    desk.attempt(one, {0: LATER, 1: RELAYED})
    assert actions(desk) == []


@pytest.mark.parametrize(("notify", "warned"), [("SUCCESS,DELAY", True), ("SUCCESS", False)])
def test_delivered_after_a_delay_is_said_to_whom_was_warned_and_asked(desk: Desk, notify: str, warned: bool) -> None:  # C-064
    one = desk.planned("a@x", notify=notify)
    age(desk, one, 5 * HOUR)
    desk.attempt(one, {0: RELAYED})
    told = desk.told()[-1]
    assert told.actions == {"a@x": "relayed"}
    assert ("after a delay of 5 hours" in told.words) == warned


@pytest.mark.parametrize("notify", ["", "DELAY", "DELAY,FAILURE"])
def test_who_was_warned_and_did_not_ask_for_success_hears_no_more(desk: Desk, notify: str) -> None:
    one = desk.planned("a@x", notify=notify)
    age(desk, one, 5 * HOUR)
    desk.attempt(one, {0: RELAYED})
    assert actions(desk) == [{"a@x": "delayed"}]


# Bounces of bounces (C-021, C-022)


@pytest.mark.parametrize("how", ["refused", "expired"])
def test_the_postmaster_is_told_once_of_what_has_no_sender(desk: Desk, how: str) -> None:  # C-021
    one = desk.planned("a@x", sender="")
    desk.attempt(one, {0: NO}) if how == "refused" else age(desk, one, 5 * DAY)
    (told,) = desk.told()
    assert [each.address for each in told.envelope.recipients] == ["admin@example.org"]
    assert told.parsed["Subject"] == "A notice could not be delivered (double bounce)"
    assert told.actions == {"a@x": "failed"}


@pytest.mark.parametrize("how", ["refused", "expired"])
def test_a_note_to_the_postmaster_that_fails_leads_to_nothing(desk: Desk, how: str) -> None:  # C-022
    desk.attempt(desk.planned("a@x", sender=""), {0: NO})
    (told,) = desk.told()
    desk.attempt(told.queue_id, {0: NO}) if how == "refused" else age(desk, told.queue_id, 5 * DAY)
    assert files(desk.spool) == {}
    assert [line for line in desk.lines if "double bounce" in line]


def test_a_bounce_that_bounces_is_told_to_the_postmaster_and_ends_there(desk: Desk) -> None:  # C-021 C-022
    """Three messages in all, whatever fails."""
    desk.attempt(desk.planned("a@x", sender="gone@example.org"), {0: NO})
    ids = set()
    while notices := desk.told():
        ids |= {told.queue_id for told in notices}
        desk.attempt(notices[0].queue_id, {0: NO})
    assert len(ids) == 2 and files(desk.spool) == {}


def test_without_a_postmaster_a_double_bounce_is_only_logged(tmp_path: Path, clock: FakeClock) -> None:  # C-021
    desk = Desk(str(tmp_path), clock)
    desk.attempt(desk.planned("a@x", sender=""), {0: NO})
    assert files(desk.spool) == {}
    assert [line for line in desk.lines if "double bounce" in line]


def test_a_postmaster_who_was_taken_away_meanwhile_keeps_no_message(desk: Desk) -> None:
    """The note was called for, and could not be written; then nobody is left to be told. The log says so."""
    one = desk.planned("a@x", sender="")
    os.rmdir(f"{desk.spool}/tmp")
    with pytest.raises(OSError, match="tmp"):
        desk.ledger.write(desk.consign(one, 0), {0: NO})
    desk.ledger.give_back(one, finished=True)
    os.mkdir(f"{desk.spool}/tmp")
    desk.begin()
    desk.attempt(one, {})
    assert files(desk.spool) == {}
    assert [line for line in desk.lines if "no postmaster is set" in line]
