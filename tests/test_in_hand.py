"""What a pass has in hand, seen from outside without touching a lock."""

from pathlib import Path

from smartrelay.spool.in_hand import in_hand
from smartrelay.spool.queue import Queue
from tests.support.queues import new_spool, put


def test_what_a_worker_has_taken_is_in_hand_until_it_lets_go(tmp_path: Path) -> None:
    """And nobody who looks keeps a worker from taking it."""
    queue = Queue(new_spool(str(tmp_path)))
    one, two = put(queue), put(queue)
    queue.take_in()
    assert in_hand(queue.spool) == frozenset()
    queue.set_relaying(one)
    assert in_hand(queue.spool) == {one}
    queue.set_relaying(two)
    assert in_hand(queue.spool) == {one, two}
    queue.put_back(one)
    queue.put_back(two)
    assert in_hand(queue.spool) == frozenset()


def test_where_the_kernel_does_not_tell_nothing_is(tmp_path: Path) -> None:
    """No table, other files, and lines of another kind."""
    queue = Queue(new_spool(str(tmp_path)))
    one = put(queue)
    queue.take_in()
    queue.set_relaying(one)
    table = tmp_path / "locks"
    assert in_hand(queue.spool, str(table)) == frozenset()
    table.write_text("1: FLOCK  ADVISORY  WRITE 7 ff:ff:0 0 EOF\n2: -> POSIX  ADVISORY  READ 7 x 0 EOF\n\nnonsense\n")
    assert in_hand(queue.spool, str(table)) == frozenset()
