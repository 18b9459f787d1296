"""The queue as a person sees it: all that can be read, in order, and nothing is touched."""

import os
from pathlib import Path

import pytest

from smartrelay.mail.status import DEFERRED, DELIVERED, Status
from smartrelay.spool import queue_id
from smartrelay.spool.glance import corrupt
from smartrelay.spool.history import attempt
from smartrelay.spool.journal import Journal
from smartrelay.spool.listing import Entry, entries, entry
from smartrelay.spool.queue import Queue
from smartrelay.spool.trouble import CorruptMessage, NoSuchMessage
from tests.support.clock import FakeClock
from tests.support.queues import files, new_spool, put


@pytest.fixture
def spool(tmp_path: Path) -> str:
    return new_spool(str(tmp_path))


def snapshot(spool: str) -> list[tuple[str, int, int, int]]:
    """Everything below the spool, with times and inodes."""
    found = []
    for folder, _, names in os.walk(spool):
        for name in ("", *names):
            status = os.lstat(os.path.join(folder, name))
            found.append((os.path.join(folder, name), status.st_ino, status.st_mtime_ns, status.st_size))
    return sorted(found)


def test_every_state_is_listed_oldest_first(spool: str, clock: FakeClock) -> None:
    queue = Queue(spool, clock=clock)
    ids = []
    for _ in range(4):
        ids.append(put(queue))
        clock.advance(1)
    os.rename(f"{spool}/new/{ids[0]}", f"{spool}/hold/{ids[0]}")
    os.rename(f"{spool}/new/{ids[1]}", f"{spool}/cur/{ids[1]},n=1800000077")
    os.rename(f"{spool}/new/{ids[2]}", f"{spool}/cur/{ids[2]}:2,S")
    before = snapshot(spool)
    found = list(entries(spool))
    assert [(each.queue_id, each.state, each.due) for each in found] == [
        (ids[0], "held", 0),
        (ids[1], "waiting", 1800000077),
        (ids[2], "waiting", 0),
        (ids[3], "new", 0),
    ]
    for each in found:
        again = entry(spool, each.queue_id)
        assert (again.path, again.state, again.due) == (each.path, each.state, each.due)
        assert os.path.exists(each.path)
    assert snapshot(spool) == before


def test_what_came_of_each_recipient_is_told(spool: str) -> None:
    queue = Queue(spool)
    one = put(queue, ["a@x", "b@x"])
    statuses = {0: Status(DELIVERED, "2.0.0", "ok"), 1: Status(DEFERRED, "4.0.0", "later")}
    Journal(spool, one).append(attempt(5.0, "work", statuses), sync=False)
    (found,) = entries(spool)
    assert (found.history.waiting, found.history.relay, found.history.attempts) == ([1], "work", 1)
    assert isinstance(found, Entry)


def test_messages_in_hand_are_listed_without_a_lock(spool: str) -> None:
    queue = Queue(spool)
    one = put(queue)
    queue.take_in()
    queue.set_relaying(one)
    assert [each.queue_id for each in entries(spool)] == [one]


def test_one_that_is_no_message_hides_no_other(spool: str) -> None:  # C-013
    queue = Queue(spool)
    good = put(queue)
    bad = [queue_id.new(number, b"1234") for number in range(6)]
    os.close(os.open(f"{spool}/new/{bad[0]}", os.O_CREAT))
    os.mkdir(f"{spool}/cur/{bad[1]},n=5")
    os.symlink("/etc/passwd", f"{spool}/hold/{bad[2]}")
    os.mkfifo(f"{spool}/new/{bad[3]}")
    os.close(os.open(f"{spool}/cur/README", os.O_CREAT))
    hostile = put(queue, one=bad[4])
    with open(f"{spool}/new/{hostile}", "r+b") as file:
        content = file.read().replace(b'"r1@example.net"', b'"r1@example.net>\\r\\nRCPT TO:<x@y"')
        file.seek(0)
        file.write(content)
    os.mkdir(f"{spool}/state/{good}")  # a journal that cannot be read
    assert [each.queue_id for each in entries(spool)] == [good]
    with pytest.raises(CorruptMessage):
        entry(spool, bad[0])
    with pytest.raises(NoSuchMessage):
        entry(spool, bad[5])


def test_what_was_set_aside_is_named(spool: str) -> None:
    assert corrupt(spool) == []
    for name in ("b", "a"):
        os.close(os.open(f"{spool}/corrupt/{name}", os.O_CREAT))
    assert corrupt(spool) == ["a", "b"] == files(spool)["corrupt"]
