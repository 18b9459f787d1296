"""What a journal adds up to: final stands for ever, and what cannot be does not count."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartrelay.mail.status import DEFERRED, DELIVERED, EXPIRED, FAILED, OURS, REMEMBERED, Status, deferred
from smartrelay.spool.history import History, Mark, Notice, attempt, bounced, postponed, results
from smartrelay.spool.journal import Event
from tests.support.queues import few

NOW = 1_800_000_000.0
COUNT = 3


def status(action: str, text: str = "said", *, doubt: bool = False) -> Status:
    return Status(action, {DELIVERED: "2.0.0", DEFERRED: "4.0.0"}.get(action, "5.0.0"), text, 250, "h[1.2.3.4]:25", "p", doubt)


STATUSES = st.builds(
    status, st.sampled_from([DELIVERED, DEFERRED, FAILED, EXPIRED]), st.sampled_from("abc"), doubt=st.booleans()
)
RESULTS = st.dictionaries(st.integers(0, COUNT - 1), STATUSES, min_size=1)
ATTEMPTS = st.builds(attempt, st.just(NOW), st.just("work"), RESULTS)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.sampled_from(["number", "time", "recipients"]), inner),
    max_leaves=5,
)
HOSTILE = st.fixed_dictionaries(
    {"event": st.sampled_from(["attempt", "bounced", "hold", "frob"])},
    optional={"results": JSON, "relay": JSON, "notice": JSON, "number": JSON, "time": JSON},
)


@few
@given(st.lists(ATTEMPTS | HOSTILE, max_size=6))
def test_delivered_failed_and_expired_are_final_and_nothing_else_is(events: list[Event]) -> None:
    """Law 2, over any sequence of events: once a recipient has ended, nothing changes that."""
    history = History(COUNT)
    for event in events:
        before = list(history.last)
        history.replay([event])
        for old, new in zip(before, history.last, strict=True):
            assert new == old or old is None or old.action not in (DELIVERED, FAILED, EXPIRED)
        assert history.waiting == [
            index for index, last in enumerate(history.last) if last is None or last.action not in (DELIVERED, FAILED, EXPIRED)
        ]
    assert len(history.last) == COUNT
    assert history.events == events


@few
@given(st.lists(ATTEMPTS, max_size=6))
def test_the_history_is_the_same_after_the_journal(events: list[Event]) -> None:
    """What is in memory, and what is read back from a file, agree."""
    now = History(COUNT).replay(events)
    later = History(COUNT).replay(json.loads(json.dumps(events)))
    assert (now.last, now.tries, now.doubts, now.relay, now.notices) == (
        later.last,
        later.tries,
        later.doubts,
        later.relay,
        later.notices,
    )


@few
@given(RESULTS)
def test_an_attempt_says_what_came_of_each(statuses: dict[int, Status]) -> None:
    assert dict(results(json.loads(json.dumps(attempt(NOW, "work", statuses))))) == statuses


def test_attempts_are_those_of_whoever_still_waits() -> None:
    history = History(2)
    for _ in range(3):
        history.replay([attempt(NOW, "work", {0: status(DEFERRED), 1: status(DEFERRED)})])
    history.replay([attempt(NOW, "work", {0: status(DEFERRED), 1: status(DELIVERED)})])
    assert (history.attempts, history.waiting, history.tries) == (4, [0], [4, 3])
    history.replay([attempt(NOW, "other", {0: status(FAILED)})])
    assert (history.attempts, history.waiting, history.relay) == (0, [], "other")


def test_the_hosts_that_mail_waits_for_are_those_of_its_latest_attempt() -> None:
    """For each recipient his own: they may have been offered to different next hops."""
    events = [attempt(1.0, "work", {0: deferred("4.4.1", "no"), 1: deferred("4.4.1", "no")}, hosts=["a:25", "b:25"])]
    history = History(3).replay([*events, attempt(2.0, "work", {1: deferred("4.2.0", "later")})])
    assert (history.hosts.get(0), history.hosts.get(1), history.hosts.get(2)) == (["a:25", "b:25"], [], None)


def test_each_session_lost_behind_the_final_dot_is_a_doubt() -> None:
    history = History(2).replay([attempt(NOW, "work", {0: status(DEFERRED, doubt=True)})] * 3)
    assert history.doubts == 3


def test_a_notice_that_was_called_for_is_owed_until_it_is_published() -> None:  # C-040
    history = History(2).replay([attempt(NOW, "work", {0: status(FAILED), 1: status(DEFERRED)}, Notice(1, NOW, [0]))])
    (owed,) = history.owed
    assert (owed.number, owed.called, owed.recipients) == (1, NOW, [0])
    history.replay([attempt(NOW + 1, "work", {1: status(FAILED)}, Notice(2, NOW + 1, [1]))])
    assert [notice.number for notice in history.owed] == [1, 2]
    history.replay([bounced(NOW, 1)])
    assert [notice.number for notice in history.owed] == [2]
    history.replay([bounced(NOW, 1), bounced(NOW, 7)])
    assert [notice.number for notice in history.owed] == [2]


def test_verdict_and_notice_are_one_event() -> None:
    """A write that is cut short must not leave a recipient failed of whom nobody is told."""
    event = attempt(NOW, "work", {0: status(FAILED)}, Notice(1, NOW, [0]))
    assert "\n" not in json.dumps(event)
    assert History(1).replay([event]).owed


# What bears on age


def test_what_happened_for_a_recipient_bears_on_its_age_and_on_nobody_elses() -> None:
    """Law 11: an attempt marks whom it was for, a hold everybody; a trouble of our own and a budget count no time."""
    history = History(2).replay(
        [
            attempt(NOW, "work", {0: status(DEFERRED), 1: status(DEFERRED)._replace(basis=OURS)}),
            attempt(NOW + 1, "work", {1: status(DEFERRED)._replace(basis=REMEMBERED)}),
            {"event": "hold", "time": NOW + 2},
            {"event": "release", "time": NOW + 3},
            {"event": "retry", "time": NOW + 4},
        ]
    )
    everybody = [Mark(NOW + 2, True), Mark(NOW + 3, False), Mark(NOW + 4, True)]
    assert history.marks(0) == [Mark(NOW, True), *everybody]
    assert history.marks(1) == [Mark(NOW, False), Mark(NOW + 1, True), *everybody]
    history.replay([attempt(NOW + 5, "work", {0: status(DEFERRED)}), bounced(NOW, 1)])
    assert history.marks(0)[-1] == Mark(NOW + 5, True) and history.marks(1)[-1] == everybody[-1]


def test_a_budget_that_was_used_up_holds_those_whose_turn_it_was() -> None:
    """Law 11: with another relay for the others, whose mail is tried all the while."""
    history = History(3).replay([postponed(NOW, "slow", NOW + 5, [0, 2])])
    assert [history.marks(index) for index in range(3)] == [[Mark(NOW, False)], [], [Mark(NOW, False)]]


@pytest.mark.parametrize("time", [float("nan"), float("inf"), -1.0, 1e300, None, "soon"])
def test_a_time_that_no_clock_can_have_told_makes_no_mail_older(time: Any) -> None:
    """Else a journal that somebody has edited would bounce its mail."""
    event = {**attempt(NOW, "work", {0: status(DEFERRED)}), "time": time}
    assert History(1).replay([event]).marks(0) == []


@few
@given(st.lists(ATTEMPTS | HOSTILE, max_size=6))
def test_marks_are_the_same_however_they_are_asked_for(events: list[Event]) -> None:
    at_once = History(COUNT).replay(events)
    bit_by_bit = History(COUNT)
    for event in events:
        bit_by_bit.replay([event]).marks(0)
    assert [at_once.marks(index) for index in range(COUNT)] == [bit_by_bit.marks(index) for index in range(COUNT)]


def test_the_sender_was_told_of_so_many_delays_of_each() -> None:
    """Each recipient has its own age: one notice may tell of a second delay of one and of the first of another."""
    late = attempt(NOW, "w", {0: status(DEFERRED), 1: status(DEFERRED)}, Notice(1, NOW, [], [0, 1], levels=[2, 1], until=5.0))
    history = History(3).replay([json.loads(json.dumps(late))])
    assert history.warned == [2, 1, 0]
    assert (history.notices[1].levels, history.notices[1].until) == ([2, 1], 5.0)
    history.replay([attempt(NOW, "w", {0: status(DEFERRED)}, Notice(2, NOW, [], [0], levels=[1]))])
    assert history.warned == [2, 1, 0]


ROW: list[Any] = [0, FAILED, "5.0.0", "no", 550, "h", "p", False]


@pytest.mark.parametrize(
    "event",
    [
        {"event": "attempt"},
        {"event": "attempt", "relay": "w"},
        {"event": "attempt", "relay": "w", "results": None},
        {"event": "attempt", "relay": "w", "results": [ROW[:5]]},
        {"event": "attempt", "relay": "w", "results": [[-1, *ROW[1:]]]},  # not the last one from behind
        {"event": "attempt", "relay": "w", "results": [[5, *ROW[1:]]]},
        {"event": "attempt", "relay": "w", "results": [[float("inf"), *ROW[1:]]]},
        {"event": "attempt", "relay": "w", "results": [[*ROW[:4], float("nan"), *ROW[5:]]]},
        {"event": "attempt", "relay": "w", "results": [ROW, ["x"]]},  # all of it or nothing
        {"event": "attempt", "relay": "w", "results": [ROW], "notice": None},
        {"event": "attempt", "relay": "w", "results": [ROW], "notice": {"number": 1, "time": NOW}},
        {"event": "attempt", "relay": "w", "results": [ROW], "notice": {"number": 1, "time": NOW, "recipients": [-1]}},
        {"event": "attempt", "relay": "w", "results": [ROW], "notice": {"number": 1, "time": NOW, "recipients": [9]}},
        {"event": "attempt", "relay": "w", "results": [ROW], "notice": {"number": 1, "time": float("nan"), "recipients": [0]}},
        {"event": "attempt", "relay": "w", "results": [ROW], "notice": {"number": 1, "time": 1e300, "recipients": [0]}},
        {"event": "attempt", "relay": "w", "results": [ROW], "notice": {"number": 1, "time": -5, "recipients": [0]}},
        {
            "event": "attempt",
            "relay": "w",
            "results": [ROW],
            "notice": {"number": 1, "time": 5, "recipients": [], "delayed": [0]},
        },
        {"event": "bounced"},
        {"event": "bounced", "number": float("inf")},
        {"event": "bounced", "number": 1},
    ],
)
def test_what_cannot_be_does_not_count(event: Event) -> None:  # C-013
    history = History(2).replay([event])
    assert (history.last, history.notices, history.relay) == ([None, None], {}, "")


def test_text_from_a_journal_is_printable() -> None:
    history = History(1).replay([attempt(NOW, "w", {0: status(DEFERRED, "a\x1b[31m\r\n\u2028b")})])
    assert history.last[0] is not None and history.last[0].text == "a?[31m b"


def test_what_another_hand_wrote_into_a_journal_is_fit_for_a_terminal() -> None:
    """A lone surrogate cannot be printed, and an escape sequence must not be."""
    row = [0, "deferred", "4.\x1b", "t\ud800", 450, "h\x1b[31m\nNEW\tLINE\ud800", "p\n", False]
    history = History(1).replay([{"event": "attempt", "time": 1.0, "relay": "r\x1b", "results": [row], "hosts": ["\ud800"]}])
    status = history.last[0]
    assert status is not None
    for word in (status.dsn, status.text, status.host, status.phase, history.relay, *history.hosts[0]):
        assert word.isascii() and word.isprintable()
