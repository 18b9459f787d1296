"""`Queue` on a real spool: every state is a name, every change one rename, and nothing that is corrupt is ever deleted."""

import os
import resource
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartrelay.errors import SpoolError
from smartrelay.mail.envelope import Envelope, Recipient
from smartrelay.spool import names, queue_id
from smartrelay.spool.history import bounced
from smartrelay.spool.journal import Journal
from smartrelay.spool.message import lock
from smartrelay.spool.queue import Queue
from smartrelay.spool.remains import OSSIFIED, WRITER_LIFE
from smartrelay.spool.trouble import CorruptMessage, MessageBusy, NoSuchMessage
from tests.support.clock import FakeClock
from tests.support.queues import TEXT, few, files, new_spool, pieces, put


@pytest.fixture
def spool(tmp_path: Path) -> str:
    return new_spool(str(tmp_path))


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def queue(spool: str, clock: FakeClock, warnings: list[str]) -> Queue:
    numbers = iter(range(1 << 20))
    return Queue(spool, clock=clock, entropy=lambda size: next(numbers).to_bytes(size, "big"), warn=warnings.append)


def read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def write(path: str, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)


# New messages


def test_a_message_is_nowhere_before_its_commit_and_in_new_after_it(queue: Queue, spool: str) -> None:  # C-001
    draft = queue.create_new_message(Envelope("", [Recipient("a@x")], 1.0, 0))
    draft.write(TEXT)
    assert files(spool) == {"tmp": [draft.queue_id]}
    draft.commit()
    assert files(spool) == {"new": [draft.queue_id]}
    draft.discard()
    assert files(spool) == {"new": [draft.queue_id]}
    assert os.stat(f"{spool}/new/{draft.queue_id}").st_mode & 0o777 == 0o600
    assert read(f"{spool}/new/{draft.queue_id}").partition(b"\n")[2] == TEXT


def test_a_draft_that_is_discarded_leaves_nothing(queue: Queue, spool: str) -> None:  # D-086
    draft = queue.create_new_message(Envelope("", [Recipient("a@x")], 1.0, 0))
    draft.write(TEXT)
    draft.discard()
    draft.discard()
    assert files(spool) == {}


def test_a_derived_id_is_published_once(queue: Queue, spool: str) -> None:  # C-040
    one = queue_id.derived(5, queue_id.new(1, b"1234"), 1)

    def publish(text: bytes) -> bool:
        draft = queue.create_new_message(Envelope("", [Recipient("a@x")], 1.0, 0), one)
        draft.write(text)
        return draft.commit(exclusive=True)

    assert not queue.is_published(one)
    assert publish(b"first\n")
    assert queue.is_published(one)
    assert not publish(b"second\n")
    assert read(f"{spool}/new/{one}").endswith(b"\nfirst\n")
    assert files(spool) == {"new": [one]}


def test_a_published_message_is_known_in_every_state(queue: Queue, spool: str) -> None:
    one = put(queue)
    for name in (f"cur/{one},n=5", f"hold/{one}", f"new/{one}"):
        os.rename(queue.get_path(one), f"{spool}/{name}")
        assert queue.is_published(one) and queue.get_path(one) == f"{spool}/{name}"
    os.unlink(f"{spool}/new/{one}")
    assert not queue.is_published(one)


def test_what_a_crash_left_of_a_notice_does_not_hinder_the_next_try(queue: Queue, spool: str) -> None:
    one = queue_id.derived(5, queue_id.new(1, b"1234"), 1)
    write(f"{spool}/tmp/{one}", b"half")
    put(queue, one=one)
    assert files(spool) == {"new": [one]}


CUTS = st.lists(st.integers(0, 300), max_size=5)


@few
@given(st.lists(st.sampled_from([b"\n", b"\r", b"\0", b"\xff", b"a", b"line\n"]), max_size=20).map(b"".join), CUTS)
def test_the_facts_are_those_of_the_text_however_it_was_cut(text: bytes, cuts: list[int]) -> None:  # A-090 A-093
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        queue = Queue(new_spool(folder))
        draft = queue.create_new_message(Envelope("", [Recipient("a@x")], 1.0, 0))
        for piece in pieces(text, cuts):
            draft.write(piece)
        draft.commit()
        facts = queue.get_envelope(draft.queue_id).facts
        assert read(queue.get_path(draft.queue_id)).endswith(b"}\n" + text)
    lines = text.split(b"\n")
    assert facts.stored == len(text)
    assert facts.octets == len(text) + text.count(b"\n") + (2 if text and not text.endswith(b"\n") else 0)
    assert facts.longest == max(map(len, lines))
    assert (facts.eight_bit, facts.nul, facts.bare_cr) == (not text.isascii(), b"\0" in text, b"\r" in text)


def test_a_large_text_has_its_facts_in_front(queue: Queue) -> None:
    """They are written back over their place when the beginning has left the buffer long ago."""
    one = put(queue, text=b"line\n" * 50_000)
    assert queue.get_envelope(one).facts.stored == 250_000


# States


def test_the_way_of_a_message_that_is_tried_twice_and_delivered(queue: Queue, spool: str, clock: FakeClock) -> None:  # C-002
    one = put(queue)
    assert (queue.has_waiting(), queue.get_waiting(), queue.count_waiting()) == (False, [], 1)
    assert queue.take_in() == [one]
    assert files(spool) == {"cur": [f"{one},n={int(clock.now)}"]}
    assert (queue.has_waiting(), queue.get_waiting(), queue.get_relayed()) == (True, [one], [])

    message = queue.set_relaying(one)
    assert (queue.has_waiting(), queue.get_waiting(), queue.get_relayed()) == (False, [], [one])
    assert queue.get_path(one) == message.path
    assert b"".join(message.text()) == b"".join(message.text()) == TEXT

    queue.set_waiting(one, clock.now + 60)
    assert files(spool) == {"cur": [f"{one},n={int(clock.now) + 60}"]}
    assert (queue.get_waiting(), queue.get_relayed(), queue.next_due) == ([], [], clock.now + 60)
    assert queue.read_directory() == 1 and queue.get_waiting() == []

    clock.advance(60)
    assert queue.read_directory() == 0 and queue.get_waiting() == [one]
    queue.set_relaying(one)
    queue.done(one)
    queue.settle()
    assert files(spool) == {}
    assert (queue.get_relayed(), queue.count_waiting()) == ([], 0)
    with pytest.raises(NoSuchMessage):
        queue.get_path(one)


def test_waiting_messages_come_oldest_first(queue: Queue, clock: FakeClock) -> None:
    ids = []
    for _ in range(5):
        ids.append(put(queue))
        clock.advance(1)
    queue.take_in()
    assert queue.get_waiting() == ids


def test_only_what_is_wanted_is_taken_in(queue: Queue, spool: str) -> None:
    wanted, other = put(queue, ["a@x"]), put(queue, ["b@x"])
    write(f"{spool}/new/{queue_id.new(1, b'9999')}", b"corrupt")
    assert queue.take_in(lambda envelope, one: envelope.recipients[0].address == "a@x") == [wanted]
    assert other in files(spool)["new"]


def test_everything_can_be_looked_at_before_its_time(queue: Queue, clock: FakeClock) -> None:
    one = put(queue)
    queue.take_in()
    queue.set_relaying(one)
    queue.set_waiting(one, clock.now + 3600)
    assert queue.read_directory() == 1 and not queue.has_waiting()
    assert queue.read_directory(everything=True) == 0 and queue.get_waiting() == [one]


def test_a_message_in_hand_is_not_waiting_at_the_next_look(queue: Queue) -> None:
    one = put(queue)
    queue.take_in()
    queue.set_relaying(one)
    queue.read_directory(everything=True)
    assert queue.get_waiting() == []
    queue.put_back(one)
    assert (queue.get_waiting(), queue.get_relayed()) == ([one], [])
    queue.set_relaying(one)


def test_a_notice_of_this_pass_waits_at_once(queue: Queue, spool: str) -> None:
    one = put(queue)
    queue.add_message(one)
    assert queue.get_waiting() == [one] and "new" not in files(spool)
    queue.add_message(one)  # an operator, or another look, was quicker
    assert queue.get_waiting() == [one]


# In hand


def test_nobody_else_has_a_message_that_is_in_hand(queue: Queue, spool: str) -> None:  # C-012
    one = put(queue)
    queue.take_in()
    message = queue.set_relaying(one)
    other = Queue(spool)
    other.read_directory()
    with pytest.raises(MessageBusy):
        other.set_relaying(one)
    with pytest.raises(MessageBusy, match=one):
        lock(message.path)
    queue.put_back(one)
    os.close(lock(queue.get_path(one)))


@pytest.mark.parametrize("way", ["set_waiting", "done", "put_back"])
def test_the_lock_goes_with_the_message(queue: Queue, spool: str, way: str) -> None:
    one = put(queue)
    queue.take_in()
    message = queue.set_relaying(one)
    os.link(message.path, f"{spool}/hold/{one}")
    if way == "set_waiting":
        queue.set_waiting(one, 5)
    else:
        getattr(queue, way)(one)
    os.close(lock(f"{spool}/hold/{one}"))


def test_what_does_not_wait_cannot_be_taken_in_hand(queue: Queue, spool: str) -> None:
    with pytest.raises(NoSuchMessage):
        queue.set_relaying(queue_id.new(1, b"1234"))
    one = put(queue)
    queue.take_in()
    os.rename(queue.get_path(one), f"{spool}/hold/{one}")  # an operator's hold, behind our back
    with pytest.raises(NoSuchMessage):
        queue.set_relaying(one)
    assert queue.get_relayed() == [] and files(spool) == {"hold": [one]}


def test_the_history_comes_with_the_message(queue: Queue, spool: str) -> None:
    one = put(queue, ["a@x", "b@x"])
    row = [0, "delivered", "2.0.0", "ok", 250, "h", "p", False]
    Journal(spool, one).append({"event": "attempt", "relay": "w", "results": [row]}, sync=True)
    queue.take_in()
    message = queue.set_relaying(one)
    assert message.history.waiting == [1]
    message.record({"event": "attempt", "relay": "w", "results": [[1, *row[1:]]]}, sync=True)
    assert message.history.waiting == []
    assert len(Journal(spool, one).events) == 2


# The end


def test_a_journal_goes_only_after_the_unlinks_are_durable(queue: Queue, spool: str, clock: FakeClock) -> None:
    ids = [put(queue) for _ in range(3)]
    queue.take_in()
    for one in ids:
        Journal(spool, one).append({"event": "test"}, sync=False)
        queue.set_relaying(one)
    queue.done(ids[0])
    queue.done(ids[1])
    assert "cur" in files(spool) and len(files(spool)["cur"]) == 1
    assert files(spool)["state"] == ids
    assert queue.settle() == ids[:2]
    assert files(spool)["state"] == ids[2:]
    assert queue.settle() == []
    queue.done(ids[2])
    assert files(spool) == {"state": ids[2:]}
    queue.settle()
    assert files(spool) == {}


def test_a_batch_settles_by_itself_after_a_hundred_or_a_second(queue: Queue, spool: str, clock: FakeClock) -> None:
    ids = [put(queue) for _ in range(103)]
    queue.take_in()
    for one in ids:
        Journal(spool, one).append({"event": "test"}, sync=False)
        queue.set_relaying(one)
    for one in ids[:99]:
        assert queue.done(one) == []
    assert len(files(spool)["state"]) == 103
    assert queue.done(ids[99]) == ids[:100]
    assert len(files(spool)["state"]) == 3
    queue.done(ids[100])
    clock.advance(1.0)
    queue.done(ids[101])
    assert files(spool)["state"] == [ids[102]]
    queue.done(ids[102])
    clock.advance(-3600)  # a clock that was set back must not keep journals for an hour
    one = put(queue)
    queue.add_message(one)
    queue.set_relaying(one)
    queue.done(one)
    assert files(spool) == {}


def test_a_publication_is_noted_once_at_its_origin(queue: Queue, spool: str) -> None:
    one = put(queue)
    queue.note_published(one, bounced(1.0, 1))
    assert "state" not in files(spool)  # it has no journal: nothing was ever called for
    Journal(spool, one).append({"event": "test"}, sync=True)
    for _ in range(2):
        queue.note_published(one, bounced(1.0, 1))
    queue.note_published(one, bounced(1.0, 2))
    assert [event["event"] for event in Journal(spool, one).events] == ["test", "bounced", "bounced"]


def test_an_origin_that_moves_meanwhile_is_told_all_the_same(queue: Queue, spool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law 3: an operator has it tried now between our look at its name and our lock; taken for gone, it would publish its
    notice once more."""
    one = put(queue)
    Journal(spool, one).append({"event": "test"}, sync=True)
    real, moves = os.open, [f"{spool}/cur/{one},n=1", f"{spool}/hold/{one}"]

    def meanwhile(path: str, flags: int, mode: int = 0o777) -> int:
        if one in path and "/state/" not in path and moves:
            os.rename(path, moves.pop(0))
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", meanwhile)
    queue.note_published(one, bounced(1.0, 1))
    assert moves == []
    assert Journal(spool, one).events[-1] == bounced(1.0, 1)


# What is corrupt


def test_a_moment_without_descriptors_sets_nothing_aside(queue: Queue, spool: str) -> None:  # C-013
    """It is not the file that is broken: the message waits as it did."""
    one = put(queue)
    queue.take_in()
    before = files(spool)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        for look in (queue.get_envelope, queue.set_relaying):
            with pytest.raises(OSError, match="Too many open files"):
                look(one)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert files(spool) == before
    queue.read_directory()
    queue.set_relaying(one)


GOOD_NAME = queue_id.new(77, b"1234")


def spoil(spool: str, queue: Queue, how: str) -> str:
    """A spool file that is no message, waiting in cur/; returns its name there."""
    name = f"{GOOD_NAME},n=5"
    path = f"{spool}/cur/{name}"
    put(queue, one=GOOD_NAME)
    os.rename(f"{spool}/new/{GOOD_NAME}", path)
    content = read(path)
    if how == "truncated":
        write(path, content[:-1])
    elif how == "longer":
        write(path, content + b"x")
    elif how == "within its envelope":
        write(path, content[:30])
    elif how == "empty":
        write(path, b"")
    elif how == "foreign":
        write(path, b"Subject: x\n\nno envelope\n")
    elif how == "hostile address":
        write(path, content.replace(b'"r1@example.net"', b'"r1@example.net>\\r\\nRCPT TO:<x@y"'))
    elif how == "newer version":
        write(path, content.replace(b'"v":1', b'"v":2'))
    else:
        os.unlink(path)
        if how == "directory":
            os.mkdir(path)
        elif how == "link":
            os.symlink("/etc/passwd", path)
        elif how == "dangling link":
            os.symlink("nowhere", path)
        elif how == "pipe":
            os.mkfifo(path)
    return name


@pytest.mark.parametrize(
    "how",
    [
        "truncated",
        "longer",
        "within its envelope",
        "empty",
        "foreign",
        "hostile address",
        "newer version",
        "directory",
        "link",
        "dangling link",
        "pipe",
    ],
)
def test_what_is_no_message_is_set_aside_and_never_deleted(
    queue: Queue, spool: str, warnings: list[str], how: str
) -> None:  # C-013 A-045
    name = spoil(spool, queue, how)
    before = os.lstat(f"{spool}/cur/{name}").st_ino
    good = put(queue)
    queue.take_in()
    queue.read_directory()
    assert queue.get_waiting() == [GOOD_NAME, good]
    with pytest.raises(CorruptMessage):
        queue.set_relaying(GOOD_NAME)
    assert files(spool)["corrupt"] == [name]
    assert os.lstat(f"{spool}/corrupt/{name}").st_ino == before
    assert (queue.get_waiting(), queue.get_relayed()) == ([good], [])
    (warning,) = warnings
    assert f"{spool}/corrupt/{name}" in warning and warning.isascii() and warning.isprintable()
    queue.set_relaying(good)


def test_a_message_that_we_had_no_descriptor_for_is_not_corrupt(queue: Queue, spool: str, warnings: list[str]) -> None:  # C-013
    """Laws 2 and 6: that a busy pass has run out of them says nothing of the file, which waits as it did."""
    one = put(queue)
    queue.take_in()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            queue.get_envelope(one)
        with pytest.raises(OSError, match="Too many open files"):
            queue.set_relaying(one)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert set(files(spool)) == {"cur"} and warnings == []


def test_a_probe_sets_aside_what_is_corrupt_and_leaves_the_rest(queue: Queue, spool: str) -> None:
    name = spoil(spool, queue, "truncated")
    good = put(queue)
    queue.take_in()
    queue.read_directory()
    queue.probe(GOOD_NAME)
    queue.probe(good)
    queue.probe(queue_id.new(1, b"1234"))
    assert files(spool)["corrupt"] == [name]
    assert queue.get_waiting() == [good]


def test_strange_names_are_set_aside_and_never_overwritten(queue: Queue, spool: str, warnings: list[str]) -> None:  # C-013
    strange = "\x1b[31m\n\udcff"
    for number in range(3):
        write(f"{spool}/new/README", b"%d" % number)
        write(f"{spool}/cur/{strange}", b"%d" % number)
        queue.take_in()
        queue.read_directory()
    assert len(files(spool)["corrupt"]) == 6 and set(files(spool)) == {"corrupt"}
    contents = sorted(read(f"{spool}/corrupt/{name}") for name in files(spool)["corrupt"])
    assert contents == [b"0", b"0", b"1", b"1", b"2", b"2"]
    assert len(warnings) == 6 and all(text.isascii() and text.isprintable() for text in warnings)


# What a crash left


def age(path: str, clock: FakeClock, seconds: float) -> None:
    os.utime(path, (clock.now - seconds, clock.now - seconds))


def test_a_sweep_takes_old_drafts_and_journals_of_nobody(queue: Queue, spool: str, clock: FakeClock) -> None:
    assert OSSIFIED > WRITER_LIFE
    orphan, strange = queue_id.new(1, b"1234"), "README"
    kept = [put(queue) for _ in range(4)]
    os.rename(f"{spool}/new/{kept[0]}", f"{spool}/cur/{kept[0]},n=5")
    os.rename(f"{spool}/new/{kept[1]}", f"{spool}/hold/{kept[1]}")
    os.rename(f"{spool}/new/{kept[2]}", f"{spool}/corrupt/{kept[2]},n=5")
    for name in (*kept, orphan, strange):
        write(f"{spool}/state/{name}", b"")
    os.mkdir(f"{spool}/state/{queue_id.new(2, b'1234')}")  # a foreign directory stops nothing
    os.mkdir(f"{spool}/tmp/folder")
    age(f"{spool}/tmp/folder", clock, OSSIFIED + 5)
    for name, seconds in (("young", WRITER_LIFE), ("old", OSSIFIED + 1), ("of the future", -OSSIFIED)):
        write(f"{spool}/tmp/{name}", b"")
        age(f"{spool}/tmp/{name}", clock, seconds)
    queue.sweep()
    assert files(spool)["tmp"] == ["folder", "of the future", "young"]
    assert set(files(spool)["state"]) == {*kept, strange, queue_id.new(2, b"1234")}
    assert queue.count_waiting() == 2


def test_a_spool_that_cannot_be_written_is_said_so_before_anything_is_sent(queue: Queue, spool: str) -> None:
    queue.must_be_writable()
    os.rename(f"{spool}/state", f"{spool}/elsewhere")
    with pytest.raises(SpoolError, match="state"):
        queue.must_be_writable()


def test_no_name_of_a_due_time_is_beyond_the_horizon(spool: str, clock: FakeClock) -> None:
    """What a pass writes, the next look must not take for a clock's mistake."""
    queue = Queue(spool, clock=clock, horizon=3 * 86400.0)
    one = put(queue)
    queue.take_in()
    queue.set_relaying(one)
    queue.set_waiting(one, clock.now + 2 * 86400)
    assert queue.read_directory() == 1
    assert names.Scan(spool, clock.now).waiting == 0  # with the common horizon it would be due
