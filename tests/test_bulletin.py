"""What passes tell in the status file, and what they note for the next one."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from smartrelay.relay.bulletin import Bulletin
from smartrelay.relay.report import Report
from smartrelay.spool import names, status_file, totals
from smartrelay.spool.census import Census
from smartrelay.spool.incidents import ACCOUNT, CONFIGURATION, DOUBT, Incidents
from smartrelay.spool.queue import Queue
from smartrelay.spool.status_file import Noted, Status
from smartrelay.spool.totals import DONE, FAILED, IDLE, MISCONFIGURED, OFFLINE, RUNNING, STOPPED
from tests.support.clock import FakeClock
from tests.support.queues import new_spool, put


class Told:
    """The bulletins of one spool."""

    def __init__(self, folder: str, clock: FakeClock) -> None:
        self.clock = clock
        self.spool = new_spool(folder)
        self.path = f"{folder}/run/status.json"
        self.warnings: list[str] = []

    def begin(self, *, relays: tuple[str, ...] | None = ("work",), path: str | None = None) -> Bulletin:
        path = self.path if path is None else path
        return Bulletin(
            path, self.spool, needed=100, relays=relays, horizon=86400.0, clock=self.clock, warn=self.warnings.append
        )

    def idle(self, **more: Any) -> Status:
        scan = names.idle(self.spool, self.clock())
        assert scan is not None
        self.begin(**more).idle(scan)
        return self.status()

    def work(self, seconds: float = 2.0, bad_until: tuple[float, ...] = (), **counts: Any) -> Status:
        bulletin, report = self.begin(), Report()
        for name, value in counts.items():
            setattr(report, name, value)
        self.clock.advance(seconds)
        bulletin.end(report, bad_until)
        return self.status()

    def status(self) -> Status:
        return status_file.read(self.path)


@pytest.fixture
def told(tmp_path: Path, clock: FakeClock) -> Told:
    return Told(str(tmp_path), clock)


def test_an_idle_pass_tells_that_it_was_there(told: Told) -> None:
    """And writes nothing into the spool: a disk may sleep."""
    status = told.idle()
    assert (status.result, status.time, status.start) == (IDLE, told.clock(), told.clock())
    assert (status.messages, status.relays, status.needed) == (Census(), 1, 100)
    assert status.free is not None and status.free > 0
    assert status.totals == totals.Totals() and os.listdir(f"{told.spool}/var") == []


def test_a_pass_tells_what_it_did_and_the_next_ones_keep_count(told: Told) -> None:
    one = told.work(sent=3, deferred=2, bounced=2, expired=1, doubtful=1, messages=4, connections=5)
    assert (one.result, one.time - one.start) == (DONE, 2.0)
    assert one.totals.work._asdict() == {
        "start": one.start, "end": one.time, "result": DONE, "delivered": 3, "deferred": 2, "bounced": 1, "expired": 1,
        "doubtful": 1, "messages": 4, "notices": 0, "postponed": 0, "connections": 5,
    }  # fmt: skip
    told.clock.advance(60)
    two = told.work(sent=1, deferred=1)
    assert (two.totals.delivered, two.totals.deferred, two.totals.bounced, two.totals.expired) == (4, 3, 1, 1)
    assert two.totals.success == two.time
    told.clock.advance(60)
    three = told.work(deferred=1)
    assert (three.totals.delivered, three.totals.deferred, three.totals.success) == (4, 4, two.time)
    told.clock.advance(60)
    four = told.idle()
    assert four.totals == three.totals and four.time == told.clock() and four.result == IDLE


def test_a_pass_that_lasts_tells_now_and_then_and_is_counted_once(told: Told) -> None:
    """One that is killed has told nearly all of it."""
    told.work(sent=10)
    bulletin, report = told.begin(), Report()
    report.sent = 1
    bulletin.go_on(report)
    assert told.status().result == DONE, "that it has begun is no news"
    for seconds in range(1, 60):
        told.clock.advance(1)
        report.sent = seconds
        bulletin.go_on(report)
        status = told.status()
        if seconds >= 10:
            assert status.result == RUNNING and told.clock() - status.time < 10
            assert status.totals.delivered == 10 + seconds // 10 * 10
            assert status.totals == totals.load(told.spool)
    bulletin.end(report, [])
    assert (told.status().result, told.status().totals.delivered) == (DONE, 69)


def test_a_clock_that_is_set_back_does_not_silence_it(told: Told) -> None:
    bulletin = told.begin()
    told.clock.advance(-3600)
    bulletin.go_on(Report())
    assert told.status().time == told.clock()


@pytest.mark.parametrize(
    ("flags", "result"),
    [
        ({}, DONE),
        ({"offline": True}, OFFLINE),
        ({"stopped": True, "offline": True}, STOPPED),
        ({"misconfigured": True, "stopped": True}, MISCONFIGURED),
        ({"failed": True, "misconfigured": True}, FAILED),
    ],
)
def test_of_a_pass_the_worst_is_told(told: Told, flags: dict[str, bool], result: str) -> None:
    status = told.work(2.0, (), **flags)
    assert (status.result, status.totals.work.result) == (result, result)
    assert status.offline == flags.get("offline", False)


def test_a_pass_without_work_leaves_what_the_last_one_did(told: Told) -> None:
    before = told.work(sent=1)
    told.begin(relays=None).end_without_work(MISCONFIGURED)
    status = told.status()
    assert (status.result, status.relays, status.totals) == (MISCONFIGURED, None, before.totals)


def test_bad_hosts_are_forgotten_when_their_time_is_over(told: Told) -> None:
    """An idle pass does not open the memory; whoever reads the status must not be told of them for ever."""
    until = (told.clock() + 100, told.clock() + 300)
    assert told.work(bad_until=until).totals.bad_hosts == 2
    told.clock.advance(200)
    assert told.idle().totals.bad_hosts == 2
    told.clock.advance(100)
    assert told.idle().totals.bad_hosts == 0
    assert told.work().totals.bad_hosts == 0


def test_incidents_are_counted_and_only_relays_are_named(told: Told) -> None:
    """Nobody's address, and no text of a server's."""
    there = put(Queue(told.spool))
    found = Incidents(told.spool, clock=told.clock, warn=pytest.fail)
    for kind, name in ((ACCOUNT, "work"), (ACCOUNT, "home"), (DOUBT, there), (CONFIGURATION, "")):
        found.note(kind, name, "535 5.7.8 of you@b.example")
        told.clock.advance(1)
    found.save()
    first = told.clock() - 4
    told.begin(relays=None).end_without_work(MISCONFIGURED)
    status = told.status()
    assert status.incidents.account == Noted(2, first, ("work", "home"))
    assert status.incidents.doubt == Noted(1, first + 2)
    assert status.incidents.configuration == Noted(1, first + 3)
    content = Path(told.path).read_text()
    assert "@" not in content and there not in content and "535" not in content


def test_an_idle_pass_sees_which_incidents_are_over(told: Told) -> None:
    """The operator has deleted the message in doubt, and taken the relay out of the configuration."""
    found = Incidents(told.spool, clock=told.clock, warn=pytest.fail)
    for kind, name in ((ACCOUNT, "work"), (ACCOUNT, "gone"), (DOUBT, "0" * 17)):
        found.note(kind, name, "x")
    found.save()
    before = os.stat(f"{told.spool}/var/incidents.json").st_mtime_ns
    status = told.idle()
    assert status.incidents.account.relays == ("work",) and status.incidents.doubt.number == 0
    assert os.stat(f"{told.spool}/var/incidents.json").st_mtime_ns == before, "only a pass with the lock writes there"


def test_messages_are_counted_when_it_is_told(told: Told) -> None:
    put(Queue(told.spool))
    status = told.work()
    assert status.messages.new.number == 1 and status.messages.waiting.oldest is not None


def test_without_a_place_nothing_is_told_or_noted(told: Told) -> None:
    bulletin = told.begin(path="")
    bulletin.end(Report(), [])
    bulletin.end_without_work(FAILED)
    told.clock.advance(100)
    bulletin.go_on(Report())
    assert not os.path.exists(told.path) and os.listdir(f"{told.spool}/var") == [] and told.warnings == []


def test_a_directory_that_is_not_there_is_no_trouble(told: Told, tmp_path: Path) -> None:
    told.begin(path=f"{tmp_path}/not/there/status.json").end(Report(), [])
    assert told.warnings == [] and os.listdir(f"{told.spool}/var") == ["totals"]


def test_a_file_that_cannot_be_replaced_is_a_warning(told: Told) -> None:
    os.makedirs(told.path)
    told.begin().end(Report(), [])
    assert len(told.warnings) == 1 and "cannot write the status file" in told.warnings[0]


def test_totals_that_cannot_be_kept_are_a_warning(told: Told) -> None:
    """What is told is right all the same."""
    os.mkdir(f"{told.spool}/var/totals")
    assert told.work(sent=1).totals.delivered == 1
    assert len(told.warnings) == 1 and "is not counted" in told.warnings[0]


def test_the_file_is_json_for_everybody(told: Told) -> None:
    """Who has no smartrelay at hand reads it with what there is."""
    told.work(sent=1, deferred=1)
    found = json.loads(Path(told.path).read_text())
    assert found["format"] == 1
    assert found["pass"] == {"start": told.clock() - 2, "seconds": 2.0, "result": DONE}
    assert found["work"]["delivered"] == 1 and found["last_success"] == told.clock()
    assert found["messages"]["deferred"] == {"count": 0, "oldest": None}
