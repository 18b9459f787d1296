"""Incidents last from pass to pass until they are over, and cost nothing where there are none (laws 5 and 10)."""

import json
import os
import stat
import threading
from pathlib import Path

import pytest

from smartrelay.spool.incidents import ACCOUNT, CONFIGURATION, DOUBT, KEPT, Incident, Incidents
from smartrelay.spool.queue import Queue
from tests.support.clock import FakeClock
from tests.support.queues import new_spool, put

SENTENCE = "relay work cannot be used: 535 5.7.8 wrong; its mail waits until this is put right"


class Passes:
    """The incidents of one spool, pass after pass."""

    def __init__(self, spool: str, clock: FakeClock) -> None:
        self.spool = spool
        self.path = f"{spool}/var/incidents.json"
        self.clock = clock
        self.warnings: list[str] = []

    def begin(self, *relays: str) -> Incidents:
        return Incidents(self.spool, relays=relays or None, clock=self.clock, warn=self.warnings.append)

    def content(self) -> list[dict[str, object]]:
        with open(self.path, encoding="ascii") as file:
            found: list[dict[str, object]] = json.load(file)["incidents"]
        return found


@pytest.fixture
def passes(tmp_path: Path, clock: FakeClock) -> Passes:
    return Passes(new_spool(str(tmp_path)), clock)


def test_without_incidents_there_is_no_file(passes: Passes) -> None:
    found = passes.begin("work")
    found.end(ACCOUNT, "work")
    found.save()
    assert os.listdir(f"{passes.spool}/var") == [] and passes.warnings == []


def test_an_incident_lasts_over_passes_and_is_counted_once_in_each(passes: Passes) -> None:
    first = passes.clock()
    for number in range(3):
        found = passes.begin("work")
        found.note(ACCOUNT, "work", SENTENCE)
        found.note(ACCOUNT, "work", SENTENCE)
        found.save()
        assert passes.begin("work").get(ACCOUNT, "work") == Incident(
            ACCOUNT, "work", first, passes.clock(), number + 1, SENTENCE
        )
        passes.clock.advance(60)
    assert stat.S_IMODE(os.stat(passes.path).st_mode) == 0o600
    assert os.listdir(f"{passes.spool}/var") == ["incidents.json"]


def test_one_that_ends_is_gone_with_the_file_and_begins_anew(passes: Passes) -> None:
    found = passes.begin("work")
    found.note(ACCOUNT, "work", SENTENCE)
    found.save()
    passes.clock.advance(60)
    later = passes.begin("work")
    later.end(ACCOUNT, "work")
    later.save()
    assert later.entries() == [] and not os.path.exists(passes.path)
    anew = passes.begin("work")
    anew.note(ACCOUNT, "work", SENTENCE)
    anew.save()
    assert [(row["since"], row["passes"]) for row in passes.content()] == [(passes.clock(), 1)]


def test_one_that_ends_and_comes_again_in_one_pass_was_never_over(passes: Passes) -> None:
    """Some of a relay's mail goes and some does not, on connections side by side."""
    found = passes.begin("work")
    found.note(ACCOUNT, "work", SENTENCE)
    found.save()
    first = passes.clock()
    passes.clock.advance(60)
    later = passes.begin("work")
    later.end(ACCOUNT, "work")
    later.note(ACCOUNT, "work", SENTENCE)
    later.save()
    assert [(row["since"], row["passes"]) for row in passes.content()] == [(first, 2)]


def test_it_is_over_with_relays_and_messages_that_are_no_more(passes: Passes) -> None:
    """Operators change the configuration and delete messages; only passes write here."""
    there = put(Queue(passes.spool))
    found = passes.begin()
    for name in ("work", "home"):
        found.note(ACCOUNT, name, SENTENCE)
    for one in (there, there[:-1] + "x"):
        found.note(DOUBT, one, "lost")
    found.note(CONFIGURATION, "", "a secret is missing")
    found.save()
    assert len(passes.begin().entries()) == 4, "who does not know the relays ends only what is about a message that is gone"
    later = passes.begin("work")
    assert [(each.kind, each.name) for each in later.entries()] == [(ACCOUNT, "work"), (DOUBT, there)]
    later.save()
    assert len(passes.content()) == 2


def test_as_many_are_kept_as_fit_the_newest(passes: Passes) -> None:
    found = passes.begin()
    for number in range(KEPT + 10):
        found.note(ACCOUNT, f"relay{number}", "x" * 5000)
    found.note(ACCOUNT, "relay10", "again")
    found.note(ACCOUNT, "one more", "\x1b[2J\nü")
    found.save()
    names = [each.name for each in passes.begin().entries()]
    assert len(names) == KEPT and names[0] == "relay12" and names[-2:] == ["relay10", "one more"]
    assert passes.begin().entries()[-1].sentence == "?[2J?ü"
    assert passes.warnings == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 100,
        b"[" * 100_000,
        b"{}",
        b'{"v": 2, "incidents": []}',
        b'{"v": 1, "incidents": [{"kind": "account"}]}',
        b'{"v": 1, "incidents": [{"kind": "account", "name": "x", "since": NaN, "last": 1, "passes": 1, "sentence": "x"}]}',
        b'{"v": 1, "incidents": [%s1]}' % (b"1," * 2000),
        b" " * (9 << 20),
    ],
)
def test_garbage_is_begun_anew_with_a_warning(passes: Passes, content: bytes) -> None:
    with open(passes.path, "wb") as file:
        file.write(content)
    found = passes.begin()
    assert found.entries() == []
    assert len(passes.warnings) == 1 and passes.path in passes.warnings[0]
    found.save()
    assert not os.path.exists(passes.path)


@pytest.mark.parametrize("kind", ["fifo", "symlink", "directory"])
def test_what_is_no_file_is_not_read(passes: Passes, kind: str) -> None:
    if kind == "fifo":
        os.mkfifo(passes.path)
    elif kind == "symlink":
        os.symlink("/dev/zero", passes.path)
    else:
        os.mkdir(passes.path)
    found = passes.begin()
    assert found.entries() == [] and len(passes.warnings) == 1
    found.note(ACCOUNT, "work", SENTENCE)
    found.save()
    found.note(ACCOUNT, "home", SENTENCE)
    found.save()
    assert len(passes.warnings) == (2 if kind == "directory" else 1), "that it cannot be written is said once"


def test_var_may_be_deleted_at_any_time(passes: Passes) -> None:
    found = passes.begin()
    os.rmdir(f"{passes.spool}/var")
    found.note(ACCOUNT, "work", SENTENCE)
    found.save()
    assert len(passes.content()) == 1


def test_threads_share_them(passes: Passes) -> None:
    found = passes.begin()

    def work(number: int) -> None:
        for each in range(50):
            found.note(DOUBT, f"{number}-{each}", "x")
            found.save()
            if each % 2:
                found.end(DOUBT, f"{number}-{each}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found.save()
    assert len(passes.content()) == 100
