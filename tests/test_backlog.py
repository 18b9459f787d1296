"""What one next hop has to send, taken and added to by many threads at once."""

import sys
import threading
from collections import Counter
from collections.abc import Iterator

import pytest

from smartrelay.relay.backlog import Backlog, Item

COUNT = 4000


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads take turns as often as can be."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_what_is_added_while_others_take_is_taken_once(restless: None) -> None:  # C-011
    """Messages on a detour are looked through one by one, and more of them come meanwhile."""
    backlog, taken, troubles = Backlog(), Counter[str](), list[BaseException]()

    def add() -> None:
        for number in range(COUNT):
            backlog.add(Item(str(number), None, stop=2 + number % 2))

    def take(stop: int) -> None:
        try:
            while adder.is_alive() or backlog:
                item = backlog.take(stop) if backlog.stop <= stop else None
                taken.update([item.queue_id] if item is not None else [])
        except RuntimeError as error:
            troubles.append(error)

    adder = threading.Thread(target=add)
    workers = [threading.Thread(target=take, args=(3,)), threading.Thread(target=take, args=(1,))]
    for thread in (adder, *workers):
        thread.start()
    for thread in (adder, *workers):
        thread.join()
    assert troubles == []
    assert taken == Counter({str(number): 1 for number in range(COUNT)})
