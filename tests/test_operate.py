"""What an operator does: one rename or unlink under the message's lock, whatever a pass does meanwhile."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from smartrelay.errors import EX_NOINPUT, EX_TEMPFAIL
from smartrelay.spool import operate, queue_id
from smartrelay.spool.journal import Journal
from smartrelay.spool.queue import Queue
from smartrelay.spool.trouble import MessageBusy, NoSuchMessage
from tests.support.clock import START, FakeClock
from tests.support.queues import files, new_spool, put

Verb = Callable[..., None]
VERBS = [operate.hold, operate.release, operate.retry, operate.delete]


@pytest.fixture
def spool(tmp_path: Path) -> str:
    return new_spool(str(tmp_path))


@pytest.fixture
def queue(spool: str) -> Queue:
    return Queue(spool)


def place(spool: str, queue: Queue, state: str) -> tuple[str, str]:
    """A message in that state; its id and its name."""
    one = put(queue)
    name = f"{state}/{one},n=99999999999" if state == "cur" else f"{state}/{one}"
    os.rename(f"{spool}/new/{one}", f"{spool}/{name}")
    return one, name


def where(spool: str) -> list[str]:
    return [f"{folder}/{name}" for folder, names in files(spool).items() for name in names if folder != "state"]


@pytest.mark.parametrize(
    ("verb", "state", "to"),
    [
        (operate.hold, "new", "hold"),
        (operate.hold, "cur", "hold"),
        (operate.hold, "hold", "hold"),
        (operate.release, "hold", "new"),
        (operate.retry, "cur", "new"),
        (operate.retry, "new", "new"),
    ],
)
def test_each_verb_is_one_change_of_state(spool: str, queue: Queue, verb: Verb, state: str, to: str) -> None:
    one, _ = place(spool, queue, state)
    verb(spool, one)
    assert where(spool) == [f"{to}/{one}"]
    events = [event["event"] for event in Journal(spool, one).events]
    assert events == ([] if state == to else [verb.__name__])


@pytest.mark.parametrize(("verb", "state"), [(operate.hold, "cur"), (operate.release, "hold"), (operate.retry, "cur")])
def test_the_journal_says_when_by_the_clock_that_is_given(spool: str, queue: Queue, verb: Verb, state: str) -> None:
    """Law 9; a mail's age is summed up from these times (law 11)."""
    one, _ = place(spool, queue, state)
    verb(spool, one, clock=FakeClock(START + 0.5))
    assert [event["time"] for event in Journal(spool, one).events] == [START + 0.5]


@pytest.mark.parametrize("state", ["new", "cur"])
def test_releasing_what_is_not_held_changes_nothing(spool: str, queue: Queue, state: str) -> None:
    one, name = place(spool, queue, state)
    operate.release(spool, one)
    assert where(spool) == [name] and "state" not in files(spool)


def test_retrying_what_is_held_is_refused_with_the_way_out(spool: str, queue: Queue) -> None:
    one, name = place(spool, queue, "hold")
    with pytest.raises(NoSuchMessage, match=f"queue release {one}") as caught:
        operate.retry(spool, one)
    assert caught.value.exit_code == EX_NOINPUT
    assert where(spool) == [name]


@pytest.mark.parametrize("state", ["new", "cur", "hold"])
def test_what_is_deleted_is_gone_with_its_journal(spool: str, queue: Queue, state: str) -> None:
    one, _ = place(spool, queue, state)
    other, name = place(spool, queue, "hold")
    Journal(spool, one).append({"event": "test"}, sync=True)
    operate.delete(spool, one)
    assert where(spool) == [name] and "state" not in files(spool)
    assert other in name


@pytest.mark.parametrize("verb", VERBS)
def test_what_is_not_there_is_66(spool: str, verb: Verb) -> None:
    with pytest.raises(NoSuchMessage) as caught:
        verb(spool, queue_id.new(1, b"1234"))
    assert caught.value.exit_code == EX_NOINPUT


@pytest.mark.parametrize("verb", VERBS)
def test_what_is_being_delivered_is_busy_and_stays_as_it_is(spool: str, queue: Queue, verb: Verb) -> None:
    one = put(queue)
    queue.take_in()
    message = queue.set_relaying(one)
    with pytest.raises(MessageBusy, match="--wait") as caught:
        verb(spool, one)
    assert caught.value.exit_code == EX_TEMPFAIL
    assert os.path.exists(message.path) and "state" not in files(spool)
    queue.put_back(one)
    verb(spool, one)


def test_an_operator_may_wait_for_a_message_and_finds_it_under_its_new_name(spool: str, queue: Queue) -> None:
    one = put(queue)
    queue.take_in()
    queue.set_relaying(one)
    started = threading.Event()

    def let_go() -> None:
        started.wait()
        queue.set_waiting(one, 99_999_999_999)

    thread = threading.Thread(target=let_go)
    thread.start()
    started.set()
    operate.hold(spool, one, wait=20.0)
    thread.join()
    assert where(spool) == [f"hold/{one}"]


def test_an_operator_who_waits_for_what_is_delivered_meanwhile_is_told_so(spool: str, queue: Queue) -> None:
    one = put(queue)
    queue.take_in()
    queue.set_relaying(one)
    thread = threading.Thread(target=queue.done, args=(one,))
    thread.start()
    with pytest.raises(NoSuchMessage):
        operate.hold(spool, one, wait=20.0)
    thread.join()


def test_a_pass_does_not_see_what_is_held_and_sees_what_is_released(spool: str, queue: Queue) -> None:
    one = put(queue)
    operate.hold(spool, one)
    assert queue.take_in() == [] and queue.read_directory(everything=True) == 0 and not queue.has_waiting()
    operate.release(spool, one)
    assert queue.take_in() == [one]


def test_what_cannot_be_opened_can_still_be_deleted(spool: str) -> None:
    one = queue_id.new(1, b"1234")
    os.symlink("nowhere", f"{spool}/hold/{one}")
    operate.delete(spool, one)
    assert files(spool) == {}
