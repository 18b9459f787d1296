"""The journal: what was written before a crash is read after it, and what cannot be read does not count."""

import json
import os
import resource
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartrelay.spool import queue_id
from smartrelay.spool.journal import Event, Journal
from tests.support.queues import few, new_spool

ONE = queue_id.new(1, b"1234")


@pytest.fixture
def spool(tmp_path: Path) -> str:
    return new_spool(str(tmp_path))


def event(number: int) -> Event:
    return {"event": "test", "number": number, "text": "x" * (number % 50)}


def content(spool: str) -> bytes:
    with open(f"{spool}/state/{ONE}", "rb") as file:
        return file.read()


def write(spool: str, octets: bytes) -> None:
    with open(f"{spool}/state/{ONE}", "wb") as file:
        file.write(octets)


def test_a_message_that_nothing_happened_to_has_no_journal(spool: str) -> None:
    journal = Journal(spool, ONE)
    assert (journal.exists, journal.events) == (False, [])
    journal.remove()
    assert os.listdir(f"{spool}/state") == []


@pytest.mark.parametrize("sync", [True, False])
def test_events_are_read_in_the_order_in_which_they_were_written(spool: str, sync: bool) -> None:
    journal = Journal(spool, ONE)
    journal.append(event(1), event(2), sync=sync)
    journal.append(event(3), sync=sync)
    again = Journal(spool, ONE)
    again.append(event(4), sync=sync)
    assert Journal(spool, ONE).events == again.events == [event(number) for number in (1, 2, 3, 4)]
    assert all(json.loads(line) for line in content(spool).splitlines())
    assert os.stat(journal.path).st_mode & 0o777 == 0o600
    again.remove()
    assert not Journal(spool, ONE).exists and not again.exists


def test_reserved_room_is_on_disk_is_no_event_and_is_written_over(spool: str) -> None:  # C-014
    journal = Journal(spool, ONE)
    journal.reserve(500)
    assert len(content(spool)) == 500
    assert (Journal(spool, ONE).exists, Journal(spool, ONE).events) == (True, [])
    journal.append(event(40), sync=True)
    assert len(content(spool)) == 500
    Journal(spool, ONE).append(event(45), sync=True)
    assert len(content(spool)) == 500
    Journal(spool, ONE).reserve(1000)
    Journal(spool, ONE).append(event(3), sync=True)
    assert Journal(spool, ONE).events == [event(40), event(45), event(3)]


STEPS = st.lists(
    st.tuples(st.sampled_from(["append", "reserve", "read again", "tear"]), st.integers(0, 200)), min_size=1, max_size=12
)


@few
@given(STEPS)
def test_whatever_the_order_of_steps_no_whole_event_is_lost(steps: list[tuple[str, int]]) -> None:
    """tear: a crash in the middle of a write leaves the beginning of a line."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        spool = new_spool(folder)
        journal, written = Journal(spool, ONE), []
        for step, number in steps:
            if step == "append":
                journal.append(event(number), sync=False)
                written.append(event(number))
            elif step == "reserve":
                journal.reserve(number)
            elif step == "tear":
                end = content(spool).rfind(b"\n") + 1 if journal.exists else 0
                torn = json.dumps(event(99)).encode()[: number % 20]
                descriptor = os.open(journal.path, os.O_WRONLY | os.O_CREAT, 0o600)
                os.pwrite(descriptor, torn, end)
                os.close(descriptor)
                journal = Journal(spool, ONE)
            else:
                journal = Journal(spool, ONE)
            assert Journal(spool, ONE).events == written


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\n",
        b" " * 1000,
        b"\0" * 1000,
        b"\0" * 10 + b"\n",
        b"{}\n",
        b'{"event": 5}\n',
        b'["event"]\n',
        b"null\n5\n\"text\"\n",
        b'{"event": "test"',
        b"\xff\xfe\x00\n",
        b"[" * 100_000 + b"\n",
        b'{"event":' * 50_000 + b"\n",
        b"9" * 5000 + b"\n",
    ],
    ids=lambda garbage: repr(garbage[:20]),
)  # fmt: skip
def test_hostile_content_does_not_count_and_does_not_hinder(spool: str, garbage: bytes) -> None:  # C-013
    write(spool, garbage)
    journal = Journal(spool, ONE)
    assert journal.events == []
    journal.append(event(1), sync=True)
    assert Journal(spool, ONE).events == [event(1)]


def test_a_line_that_cannot_be_read_costs_no_other_line(spool: str) -> None:  # C-013
    write(spool, json.dumps(event(1)).encode() + b"\ngarbage\n" + json.dumps(event(2)).encode() + b'\n{"event": "to')
    assert Journal(spool, ONE).events == [event(1), event(2)]


def test_a_journal_that_is_no_file_is_an_error_and_not_an_empty_one(spool: str) -> None:
    """Taken for empty it would make final recipients wait again."""
    os.mkdir(f"{spool}/state/{ONE}")
    with pytest.raises(OSError):
        Journal(spool, ONE)
    os.rmdir(f"{spool}/state/{ONE}")
    os.symlink("/etc/passwd", f"{spool}/state/{ONE}")
    with pytest.raises(OSError):
        Journal(spool, ONE)


def test_a_verdict_behind_much_else_counts(tmp_path: Path) -> None:
    """Many recipients, put off for days, make a long journal: to read a part of it would send what was delivered once more."""
    os.mkdir(tmp_path / "state")
    with open(tmp_path / "state" / "ONE", "wb") as file:
        file.write(b'{"event":"hold"}\n' + b" " * (65 << 20) + b'\n{"event":"release"}\n')
    journal = Journal(os.fspath(tmp_path), "ONE")
    assert [event["event"] for event in journal.events] == ["hold", "release"]
    journal.append({"event": "retry"}, sync=False)
    assert [event["event"] for event in Journal(os.fspath(tmp_path), "ONE").events] == ["hold", "release", "retry"]


def test_one_that_is_too_long_to_be_read_is_not_written_either(tmp_path: Path) -> None:
    os.mkdir(tmp_path / "state")
    with open(tmp_path / "state" / "ONE", "wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(OSError, match="too long"):
        Journal(os.fspath(tmp_path), "ONE")


def test_what_cannot_be_written_is_named(spool: str) -> None:
    """A full disk says nothing of which file it was, and a person needs to know where to make room."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            Journal(spool, ONE).append(event(1), sync=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.filename == f"{spool}/state/{ONE}"
