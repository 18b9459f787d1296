"""Turns by a rate: a pace ("5/s") is waited for in line, one message in hand."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from smartrelay.config import Limits
from smartrelay.relay.budget import Budgets
from smartrelay.relay.turns import Turns
from smartrelay.values import Rate
from tests.support.clock import START, FakeClock
from tests.support.place import Place, recipients, rule
from tests.support.queues import files, put
from tests.test_attempt import Start, in_background


class Line:
    """Workers that come for turns."""

    def __init__(self, folder: Path, clock: Callable[[], float], rate: Rate) -> None:
        self.stopping = threading.Event()
        budgets = Budgets(os.fspath(folder / "rates.json"), {"work": rate}, horizon=86400.0, clock=clock, warn=pytest.fail)
        self.turns = Turns(budgets, "work", self.stopping, clock)
        self.taken: list[float] = []
        self.at_head = self.most_at_head = 0

    def come(self) -> None:
        """A worker, and the one message that it takes if it comes to the head of the line."""
        if not self.turns.line_up():
            return
        try:
            self.at_head += 1
            self.most_at_head = max(self.most_at_head, self.at_head)
            self.taken.append(self.turns.take(START))
            self.at_head -= 1
        finally:
            self.turns.leave_line()

    def workers(self, number: int) -> list[threading.Thread]:
        """So many of them, at once."""
        threads = [threading.Thread(target=self.come) for _ in range(number)]
        for thread in threads:
            thread.start()
        return threads


def test_one_message_is_in_hand_while_its_turn_is_waited_for(tmp_path: Path) -> None:
    """The others have not taken any yet: those are left to operators, and to other connections."""
    line = Line(tmp_path, time.time, Rate(1, 0.05))
    for thread in line.workers(6):
        thread.join()
    assert line.taken == [0.0] * 6 and line.most_at_head == 1
    assert not line.turns.are_waited_for


def test_who_waits_is_seen_so_that_no_more_connections_are_made(tmp_path: Path, clock: FakeClock) -> None:
    """And a pass that is to stop waits for nobody's turn."""
    line = Line(tmp_path, clock, Rate(1, 1))
    line.come()
    assert line.taken == [0.0]
    threads = line.workers(3)  # by a clock that stands still
    while not line.at_head:
        threading.Event().wait(0.001)
    assert line.turns.are_waited_for and line.taken == [0.0]
    line.stopping.set()
    for thread in threads:
        thread.join()
    assert line.taken == [0.0, START + 1] and not line.turns.are_waited_for


def test_a_turn_that_is_further_off_is_told_at_once(tmp_path: Path, clock: FakeClock) -> None:
    line = Line(tmp_path, clock, Rate(1, 3600))
    line.come()
    line.come()
    assert line.taken == [0.0, START + 3600]


def test_who_must_not_wait_comes_to_the_head_only_where_a_turn_is_there(tmp_path: Path, clock: FakeClock) -> None:
    line = Line(tmp_path, clock, Rate(1, 1))
    assert line.turns.line_up(waits=False)
    assert not line.turns.line_up(waits=False)  # somebody is in line
    assert line.turns.take(START, waits=False) == 0.0
    assert line.turns.take(START, waits=False) == START + 1
    line.turns.leave_line()
    assert not line.turns.line_up(waits=False)
    clock.advance(1)
    assert line.turns.line_up(waits=False)


@pytest.mark.parametrize("keywords", [[], ["PIPELINING"], ["PIPELINING", "CHUNKING"]])
def test_no_turn_is_waited_for_within_a_transaction(
    tmp_path: Path, smtp_server: Start, clock: FakeClock, keywords: list[str]
) -> None:
    """The server gets the text that it asked for, and its verdict is written, before the next message's turn comes: who is
    killed while he waits for that must not leave in doubt what has arrived. What waits stays as it is when the pass stops."""
    place = Place(os.fspath(tmp_path), clock)
    place.limits = Limits(max_connections_per_host=1, pipeline_window=8 if "CHUNKING" in keywords else 1)
    server = smtp_server(keywords=keywords)
    for number in range(3):
        put(place.queue, [f"r{number}@x"], arrived=START)
    manager = place.manager(rule(server, rate=Rate(1, 1)))
    thread = in_background(manager)
    for sent in (1, 2):
        server.wait_for(lambda sent=sent: len(server.accepted) == sent)  # type: ignore[misc]
        while len(files(place.spool)["cur"]) > 3 - sent:
            threading.Event().wait(0.001)
        clock.advance(1 if sent == 1 else 0)
    manager.stop()
    thread.join()
    assert len(set(recipients(server))) == manager.report.sent == 2
    (entry,) = place.left()
    assert (entry.history.attempts, entry.due) == (0, START)
