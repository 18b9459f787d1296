"""Rate budgets: never more than the count in any window, whatever the clock, the file or the threads do."""

import json
import os
import stat
import threading
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartrelay.relay.budget import Budgets
from smartrelay.relay.quota import SOON
from smartrelay.values import Rate
from tests.support.clock import START, FakeClock

HOUR = 3600.0
DAY = 86400.0
HOURLY = {"work": Rate(500, HOUR)}


class Desk:
    """Budgets on disk, and what was said of them."""

    def __init__(self, folder: Path, clock: FakeClock) -> None:
        self.path = os.fspath(folder / "rates.json")
        self.clock = clock
        self.said: list[str] = []

    def open(self, rates: dict[str, Rate], horizon: float = DAY) -> Budgets:
        return Budgets(self.path, rates, horizon=horizon, clock=self.clock, warn=self.said.append)

    def holding(self, content: bytes) -> Budgets:
        with open(self.path, "wb") as file:
            file.write(content)
        return self.open({"work": Rate(2, HOUR)})


@pytest.fixture
def desk(tmp_path: Path, clock: FakeClock) -> Desk:
    return Desk(tmp_path, clock)


def ask(budgets: Budgets, name: str = "work", arrived: float = START) -> float:
    """When a message may go: 0.0 for now."""
    return budgets.take(name, arrived)


def taken(budgets: Budgets, name: str = "work", most: int = 100_000, arrived: float = START) -> int:
    """How many are granted right now."""
    number = 0
    while number < most and not ask(budgets, name, arrived):
        number += 1
    return number


def most_in_a_window(times: list[float], seconds: float) -> int:
    """The most of `times`, in ascending order, that lie in any span of that length (half open)."""
    first = most = 0
    for last, at in enumerate(times):
        while at - times[first] >= seconds:
            first += 1
        most = max(most, last + 1 - first)
    return most


# never more than the count

RATES = st.builds(Rate, st.integers(1, 70), st.sampled_from([1.0, 7.0, 60.0, 100.0, HOUR]))
# times in parts of 256, so that their sums are exact
NAMES = st.sampled_from(["a", "a", "b", "none of these"])
STEPS = st.lists(st.tuples(st.integers(0, 200), NAMES, st.integers(1, 60), st.booleans()), max_size=60)


@given(RATES, RATES, RATES, STEPS)
def test_no_window_ever_has_more_than_the_count(
    tmp_path_factory: pytest.TempPathFactory, own: Rate, other: Rate, everywhere: Rate, steps: list[tuple[int, str, int, bool]]
) -> None:
    """In any window, for each relay and for all together, whoever saves and comes back when."""
    clock = FakeClock()
    desk = Desk(tmp_path_factory.mktemp("budget"), clock)
    rates = {"a": own, "b": other, "": everywhere}
    budgets = desk.open(rates)
    sent: dict[str, list[float]] = {"a": [], "b": [], "none of these": [], "": []}
    for parts, name, number, again in steps:
        clock.advance(parts * own.seconds / 256)
        for _ in range(number):
            if not ask(budgets, name):
                sent[name].append(clock())
                sent[""].append(clock())
        if again:
            budgets.save()
            budgets = desk.open(rates)
    for name, rate in rates.items():
        assert most_in_a_window(sent[name], rate.seconds) <= rate.messages
    assert not desk.said


@pytest.mark.parametrize("rate", [Rate(1, 1), Rate(1, DAY), Rate(7, 60), Rate(500, HOUR), Rate(1000, 10)])
def test_a_burst_takes_the_whole_budget_and_one_window_later_again(desk: Desk, rate: Rate) -> None:
    budgets = desk.open({"work": rate})
    for _ in range(3):
        assert taken(budgets) == rate.messages
        desk.clock.advance(rate.seconds - 0.5)
        assert not taken(budgets)
        desk.clock.advance(0.5)


def test_what_is_compacted_costs_little_of_the_budget(desk: Desk) -> None:
    """What was taken little by little returns so, each message at most one part in 64 of the window late."""
    budgets = desk.open({"work": Rate(3600, HOUR)})
    for _ in range(3600):
        assert not ask(budgets)
        desk.clock.advance(0.5)
    desk.clock.now = START + HOUR
    back = 0
    for half_second in range(3600):
        back += taken(budgets)
        assert back >= half_second - 2 * (HOUR / 64 + 1)
        desk.clock.advance(0.5)


def test_relays_without_a_rate_are_bound_by_the_global_one_alone(desk: Desk) -> None:
    budgets = desk.open({"work": Rate(2, HOUR), "": Rate(5, HOUR)})
    assert taken(budgets, "work") == 2
    assert taken(budgets, "home") == 3
    assert taken(desk.open({"work": Rate(2, HOUR)}), "home", most=50) == 50


def test_it_is_taken_from_both_budgets_or_from_none(desk: Desk) -> None:
    """A message that the relay's own budget refuses costs the global one nothing, and the other way round."""
    budgets = desk.open({"work": Rate(2, 60), "": Rate(5, HOUR)})
    assert taken(budgets, "work") == 2
    for _ in range(10):
        assert ask(budgets)
    assert taken(budgets, "home") == 3
    assert ask(budgets) == START + HOUR
    desk.clock.advance(60)
    assert ask(budgets) == START + HOUR
    desk.clock.advance(HOUR - 60)
    assert taken(budgets, "work") == 2


# turns


def test_turns_are_spread_as_the_budget_returns(desk: Desk) -> None:
    """10,000 messages over a budget of 500 an hour: 500 of them become due in each hour, in their order."""
    budgets = desk.open(HOURLY)
    assert taken(budgets, most=500) == 500
    turns = [ask(budgets) for _ in range(9500)]
    assert turns == sorted(turns)
    assert Counter(turns) == {START + hour * HOUR: 500 for hour in range(1, 20)}


def test_what_was_taken_little_by_little_returns_so(desk: Desk) -> None:
    budgets = desk.open({"work": Rate(3, HOUR)})
    for _ in range(3):
        assert not ask(budgets)
        desk.clock.advance(600)
    turns = [ask(budgets) - START for _ in range(5)]
    assert turns == [3600, 4200, 4800, 7200, 7800]


def test_no_turn_is_beyond_the_horizon(desk: Desk) -> None:
    """A name whose time is further off would be taken for a clock's mistake, and be due at once (design 2.4)."""
    budgets = desk.open({"work": Rate(10, HOUR)})
    taken(budgets)
    turns = [ask(budgets) for _ in range(1000)]
    assert max(turns) == START + DAY
    assert sorted(turns) == turns
    assert not ask(desk.open({"work": Rate(1, 30 * DAY)}, horizon=2 * DAY))
    budgets = desk.open({"work": Rate(1, 30 * DAY)}, horizon=2 * DAY)
    taken(budgets)
    assert ask(budgets) == START + 2 * DAY


@pytest.mark.parametrize("seconds", [5, 60, HOUR])
def test_turns_are_whole_seconds_at_which_there_is_budget(desk: Desk, seconds: float) -> None:
    """The names of messages hold whole seconds, and cut off what is more: none comes back a moment too early."""
    desk.clock.advance(0.75)
    budgets = desk.open({"work": Rate(1, seconds)})
    assert not ask(budgets)
    turn = ask(budgets)
    assert turn == START + seconds + 1
    desk.clock.now = turn
    assert not ask(budgets)


def test_a_pace_is_waited_for_in_hand_and_nothing_else_is(desk: Desk) -> None:
    """With "5/s" a message waits a moment and asks again; whoever is told a later time is deferred, and comes in its turn."""
    pace = desk.open({"work": Rate(5, 1)})
    desk.clock.advance(0.25)
    assert taken(pace) == 5
    assert {ask(pace) for _ in range(100)} == {START + 1.25}
    desk.clock.now = START + 1.25
    assert taken(pace, arrived=desk.clock()) == 5
    slow = desk.open({"work": Rate(5, 3)})
    assert taken(slow) == 5
    desk.clock.advance(2)
    assert ask(slow) > desk.clock() + SOON


def test_what_returns_is_kept_for_those_who_were_told_so(desk: Desk) -> None:
    """New mail that comes at that very moment finds nothing; after five minutes it does: that mail may have been deleted."""
    budgets = desk.open({"work": Rate(3, HOUR)})
    assert taken(budgets, most=3) == 3
    told = [ask(budgets) for _ in range(3)]
    assert told == [START + HOUR] * 3
    desk.clock.now = START + HOUR
    assert ask(budgets, arrived=desk.clock()) == START + 2 * HOUR
    assert not ask(budgets)
    assert not ask(budgets)
    desk.clock.advance(301)
    assert not ask(budgets, arrived=desk.clock())


def test_who_waited_in_vain_is_told_the_next_return_not_the_last(desk: Desk) -> None:
    budgets = desk.open({"work": Rate(10, HOUR)})
    assert taken(budgets, most=10) == 10
    for _ in range(100):
        ask(budgets)
    desk.clock.now = START + HOUR + 30  # half a minute late, so that an hour later it is too early
    assert taken(budgets, most=10) == 10
    desk.clock.now = START + 2 * HOUR
    new = desk.clock()
    assert ask(budgets, arrived=new) == START + 11 * HOUR + 30
    assert ask(budgets) == START + 2 * HOUR + 30
    desk.clock.now = START + 2 * HOUR + 29
    assert {ask(budgets) for _ in range(9)} == {START + 2 * HOUR + 32}
    desk.clock.now = START + 2 * HOUR + 30
    assert ask(budgets, arrived=new + 1)  # a second too early, and already promised


def test_another_relays_long_line_is_not_in_the_way(desk: Desk) -> None:
    """What waits for its own relay's budget does not stand in the line for the global one."""
    budgets = desk.open({"slow": Rate(10, HOUR), "": Rate(500, HOUR)})
    assert taken(budgets, "slow") == 10
    desk.clock.advance(60)
    for _ in range(5000):
        ask(budgets, "slow")
    assert taken(budgets, "quick", most=490) == 490
    assert ask(budgets, "quick") == START + HOUR  # what "slow" has taken of the global one is the first to return
    desk.clock.now = START
    budgets = desk.open({"slow": Rate(10, 2 * HOUR), "": Rate(10, HOUR)})
    assert taken(budgets, "slow", most=10) == 10
    assert [ask(budgets, "slow") for _ in range(20)] == [START + 2 * HOUR] * 10 + [START + 4 * HOUR] * 10
    assert ask(budgets, "quick") == START + HOUR


@pytest.mark.parametrize("distance", [0.5, 60.0])
@pytest.mark.parametrize("one_pass", [False, True])
@pytest.mark.parametrize("rate", [Rate(10, 60), Rate(50, HOUR)])
def test_no_mail_is_left_behind(desk: Desk, one_pass: bool, distance: float, rate: Rate) -> None:
    """A backlog, then six times the new mail that the budget allows; passes that know no turns of earlier ones, or a single
    one that goes on for hours. Each message goes at most one window later than its rank in the order of arrival."""
    step = rate.seconds / rate.messages / 6
    arrived = [START] * 10 * rate.messages + [START + step * number for number in range(20 * rate.messages)]
    due = dict(enumerate(arrived))
    order: list[int] = []
    asked = 0
    budgets = desk.open({"work": rate})
    while due:
        budgets = budgets if one_pass else desk.open({"work": rate})
        for message in [one for one, at in due.items() if at <= desk.clock()]:
            asked += 1
            turn = ask(budgets, arrived=arrived[message])
            if turn:
                due[message] = int(turn)
            else:
                order.append(message)
                del due[message]
                desk.clock.advance(0.03125)  # it takes its time to send one
        budgets.save()
        # nothing happens until the next is due
        desk.clock.now = max(desk.clock() + distance, min(due.values(), default=0.0))
    assert max(place - message for place, message in enumerate(order)) <= rate.messages
    assert asked < 12 * len(arrived)


# what was not sent


def test_what_was_not_sent_is_given_back(desk: Desk) -> None:
    budgets = desk.open({"work": Rate(3, HOUR), "": Rate(3, HOUR)})
    taken(budgets)
    budgets.give_back("work", desk.clock())
    budgets.give_back("work", desk.clock())
    assert taken(budgets) == 2


def test_giving_back_never_lets_more_through(desk: Desk) -> None:
    """It is the oldest that is forgotten: those that went out later stay where they count longest."""
    budgets = desk.open({"work": Rate(2, 60)})
    begun = desk.clock()
    assert not ask(budgets)
    desk.clock.advance(50)
    assert not ask(budgets)  # this one is sent
    budgets.give_back("work", begun)
    assert taken(budgets) == 1
    desk.clock.advance(20)
    assert not taken(budgets)


def test_what_has_left_the_window_is_not_given_back_twice(desk: Desk) -> None:
    budgets = desk.open({"work": Rate(2, 60)})
    begun = desk.clock()
    assert not ask(budgets)
    desk.clock.advance(60)
    assert taken(budgets) == 2
    budgets.give_back("work", begun)
    assert not taken(budgets)


# on disk


def test_what_was_taken_counts_in_the_next_pass(desk: Desk) -> None:
    budgets = desk.open(HOURLY)
    assert taken(budgets, most=400) == 400
    budgets.save()
    assert stat.S_IMODE(os.stat(desk.path).st_mode) == 0o600
    assert os.listdir(os.path.dirname(desk.path)) == ["rates.json"]
    desk.clock.advance(HOUR - 1)
    assert taken(desk.open(HOURLY)) == 100
    desk.clock.advance(1)
    assert taken(desk.open(HOURLY)) == 500


def test_turns_are_not_kept(desk: Desk) -> None:
    """The next pass does not know who stood in line: messages carry that in their names."""
    budgets = desk.open(HOURLY)
    taken(budgets)
    for _ in range(5000):
        ask(budgets)
    budgets.save()
    assert ask(desk.open(HOURLY)) == START + HOUR


def test_the_file_is_small_whatever_the_rate(desk: Desk) -> None:
    budgets = desk.open({"work": Rate(100_000, HOUR)})
    for _ in range(2 * 3600):
        taken(budgets, most=15)
        desk.clock.advance(1)
    budgets.save()
    assert os.path.getsize(desk.path) < 3000


def test_nothing_is_written_where_nothing_was_taken(desk: Desk) -> None:
    budgets = desk.open(HOURLY)
    budgets.save()
    assert not os.path.exists(desk.path)
    ask(budgets)
    budgets.save()
    os.unlink(desk.path)
    budgets.save()
    assert not os.path.exists(desk.path)


def test_another_rate_counts_what_the_one_before_had_taken(desk: Desk) -> None:
    """More than is allowed now: it has to leave the window before anything else goes, in its order."""
    budgets = desk.open({"work": Rate(4, HOUR)})
    for _ in range(4):
        ask(budgets)
        desk.clock.advance(600)
    budgets.save()
    budgets = desk.open({"work": Rate(2, HOUR)})
    assert [ask(budgets) - START for _ in range(3)] == [4800, 5400, 8400]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\xff" * 9,
        b"[]",
        b"{}",
        b'{"taken": 5}',
        b'{"taken": {"work": 5}}',
        b'{"taken": {"work": [5]}}',
        b'{"taken": {"work": [[1800000000]]}}',
        b'{"taken": {"work": [["1800000000", 1]]}}',
        b'{"taken": {"work": [[1800000000, 1.5]]}}',
        b'{"taken": {"work": [[1800000000, -5]]}}',
        b'{"taken": {"work": [[NaN, 1]]}}',
        b'{"taken": {"work": [[Infinity, 1]]}}',
        b'{"taken": {"work": [[1e400, 1]]}}',
        b'{"taken": {"work": [[-5, 1]]}}',
        b'{"taken": {"work": [[' + b"9" * 400 + b", 1]]}}",
        b'{"taken": {"work": [[' + b"9" * 9000 + b", 1]]}}",
        b'{"taken": {"work": ' + b"[" * 100_000,
        b'{"taken": {"work": [' + b"[1800000000, 1]," * 5000 + b"[1800000000, 1]]}}",
        b'{"taken": {"other": 5}}',
        b" " * (1 << 25),
    ],
)
def test_what_cannot_be_read_is_begun_anew_with_a_warning(desk: Desk, content: bytes) -> None:
    budgets = desk.holding(content)
    assert len(desk.said) == 1 and desk.path in desk.said[0] and "\n" not in desk.said[0]
    assert taken(budgets) == 2
    budgets.save()
    desk.open({"work": Rate(2, HOUR)})
    assert len(desk.said) == 1


@pytest.mark.parametrize(
    "rows", [[[START - 9 * DAY, 5]], [[START + 9 * DAY, 5]], [[START, 10**6]], [[START + 9 * DAY, 2], [START - 100, 1]]]
)
def test_whatever_the_file_says_blocks_for_no_longer_than_the_window(desk: Desk, rows: list[list[float]]) -> None:
    budgets = desk.holding(json.dumps({"taken": {"work": rows}}).encode())
    ask(budgets)
    desk.clock.advance(HOUR)
    assert taken(budgets) >= 1
    assert not desk.said


@pytest.mark.parametrize("kind", ["directory", "pipe", "link"])
def test_what_is_no_plain_file_is_not_read(desk: Desk, kind: str, tmp_path: Path) -> None:
    if kind == "directory":
        os.mkdir(desk.path)
    elif kind == "pipe":
        os.mkfifo(desk.path)
    else:
        (tmp_path / "target").write_text('{"taken": {}}')
        os.symlink(tmp_path / "target", desk.path)
    budgets = desk.open({"work": Rate(2, HOUR)})
    assert len(desk.said) == 1
    assert taken(budgets) == 2
    budgets.save()
    if kind == "link":
        assert (tmp_path / "target").read_text() == '{"taken": {}}'


def test_a_disk_that_does_not_take_it_is_told_of_once(desk: Desk, tmp_path: Path) -> None:
    """Budgets are no reason to stop the mail: the pass goes on with what it has in memory."""
    desk.path = os.fspath(tmp_path / "rates.json" / "below")
    (tmp_path / "rates.json").write_text("no directory")
    budgets = desk.open({"work": Rate(2, HOUR)})
    desk.said.clear()
    for _ in range(3):
        ask(budgets)
        budgets.save()
    assert len(desk.said) == 1 and desk.path in desk.said[0]
    assert not taken(budgets)


def test_a_directory_that_was_deleted_is_made_again(desk: Desk, tmp_path: Path) -> None:
    """`var/` may be deleted at any time."""
    desk.path = os.fspath(tmp_path / "var" / "rates.json")
    budgets = desk.open(HOURLY)
    taken(budgets)
    budgets.save()
    assert not taken(desk.open(HOURLY))
    assert stat.S_IMODE(os.stat(tmp_path / "var").st_mode) == 0o700
    assert not desk.said


# clocks


@pytest.mark.parametrize("now", [0.0, 5.0, START - DAY, START - 1, START - 0.25])
def test_a_clock_set_back_blocks_mail_for_no_longer_than_the_window(desk: Desk, now: float) -> None:
    """1970 too; and what was taken still counts until then."""
    budgets = desk.open({"work": Rate(3, HOUR), "": Rate(9, HOUR)})
    taken(budgets)
    for _ in range(50):
        ask(budgets)
    desk.clock.now = now
    assert now < ask(budgets) <= now + HOUR + 1
    desk.clock.advance(HOUR - 1)
    assert not taken(budgets)
    desk.clock.advance(2)
    assert taken(budgets) == 3


@given(st.lists(st.tuples(st.integers(-4000, 4000), st.integers(1, 9)), max_size=40))
def test_a_clock_that_jumps_about_never_blocks_mail_for_longer(
    tmp_path_factory: pytest.TempPathFactory, jumps: list[tuple[int, int]]
) -> None:
    clock = FakeClock(5000.0)
    budgets = Desk(tmp_path_factory.mktemp("budget"), clock).open({"work": Rate(20, 1000)})
    for seconds, number in jumps:
        clock.now = max(0.0, clock.now + seconds)
        for _ in range(number):
            ask(budgets)
    ask(budgets)
    clock.advance(1001)
    assert taken(budgets) == 20


def test_what_was_taken_by_a_clock_far_ahead_counts_for_one_window_only(desk: Desk) -> None:
    """Each pass is a process of its own: the first that sees it writes down that it counts from then on."""
    desk.clock.advance(400 * DAY)
    taken(first := desk.open(HOURLY))
    first.save()
    desk.clock.advance(-400 * DAY)
    second = desk.open(HOURLY)
    assert ask(second) > desk.clock()
    second.save()
    desk.clock.advance(HOUR + 1)
    assert taken(desk.open(HOURLY)) == 500


# threads


def test_threads_share_one_budget(desk: Desk) -> None:
    budgets = desk.open({"a": Rate(700, HOUR), "b": Rate(700, HOUR), "": Rate(1000, HOUR)})
    granted: dict[str, list[int]] = {"a": [], "b": []}
    begin = threading.Barrier(8)

    def take(name: str) -> None:
        begin.wait()
        number = 0
        for turn in range(300):
            begun = desk.clock()
            if not ask(budgets, name):
                number += 1
                if turn % 3 == 0:
                    budgets.give_back(name, begun)
                    number -= 1
            if turn % 50 == 0:
                budgets.save()
        granted[name].append(number)

    threads = [threading.Thread(target=take, args=("ab"[n % 2],)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(granted["a"]) == len(granted["b"]) == 4
    assert sum(granted["a"]) <= 700 and sum(granted["b"]) <= 700
    assert sum(granted["a"]) + sum(granted["b"]) + taken(budgets, "c") == 1000
    budgets.save()
    assert not taken(desk.open({"": Rate(1000, HOUR)}), "a")
