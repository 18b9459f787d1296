"""What waits is counted, and its age told, from names alone."""

import os
import sys
from pathlib import Path

import pytest

from smartrelay.spool import census, names, queue_id
from smartrelay.spool.census import Census, Group
from tests.support.queues import new_spool

NOW = 1_800_000_000.0


@pytest.fixture
def spool(tmp_path: Path) -> str:
    return new_spool(str(tmp_path))


def message(age: float) -> str:
    return queue_id.new(int((NOW - age) * 1e6), b"1234")


def touch(spool: str, *found: str) -> None:
    for name in found:
        os.symlink("nowhere", f"{spool}/{name}")


def test_an_empty_spool_has_nothing(spool: str) -> None:
    found = census.take(spool, NOW)
    assert found == Census() and found.waiting == Group(0, None)


def test_each_state_is_counted_with_the_arrival_of_its_oldest(spool: str) -> None:
    """No file is opened: they cannot be."""
    later = f",n={int(NOW) + 60}"
    touch(spool, f"new/{message(5)}", f"new/{message(7)}")
    touch(spool, f"cur/{message(100)},n={int(NOW)}", f"cur/{message(300)},n=5", f"cur/{message(200)}")
    touch(spool, f"cur/{message(1000)}{later}", f"cur/{message(2000)}{later}")
    touch(spool, f"hold/{message(9000)}", f"corrupt/{message(20)}", f"corrupt/{message(30)}.1", "corrupt/README")
    found = census.take(spool, NOW)
    assert found == Census(
        new=Group(2, NOW - 7),
        due=Group(3, NOW - 300),
        deferred=Group(2, NOW - 2000),
        held=Group(1, NOW - 9000),
        corrupt=Group(3, NOW - 20 - 10),
    )
    assert found.waiting == Group(7, NOW - 2000), "what is held or corrupt does not wait"


def test_what_is_no_message_has_no_age(spool: str) -> None:
    touch(spool, "corrupt/README", "corrupt/\udcff", "new/x")
    found = census.take(spool, NOW)
    assert (found.corrupt, found.new) == (Group(2, None), Group(1, None))


def test_a_look_that_was_taken_is_not_taken_again(spool: str) -> None:
    """100,000 names are listed once by an idle pass."""
    touch(spool, f"cur/{message(50)},n={int(NOW) + 60}")
    scan = names.idle(spool, NOW)
    seen: list[str] = []
    listening = True

    def listen(event: str, arguments: tuple[object, ...]) -> None:
        if listening and event in ("open", "os.listdir", "os.scandir") and str(arguments[0]).startswith(spool):
            seen.append(str(arguments[0]).removeprefix(spool))

    sys.addaudithook(listen)
    found = census.take(spool, NOW, scan=scan)
    listening = False
    assert found == Census(deferred=Group(1, NOW - 50))
    assert seen == ["/hold", "/corrupt"]
