"""What whole passes do with the memory for bad hosts: whom they leave alone, whom they probe, and what a recovery sets going.

Each pass has a memory of its own on the same spool, as each process has; time moves by the test's clock.
"""

import os
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from smartrelay.config import Relay, Timeouts
from smartrelay.mail.status import deferred
from smartrelay.relay.report import Report
from smartrelay.routing.bad_hosts import BadHost, BadHosts
from smartrelay.spool.history import attempt
from smartrelay.spool.journal import Journal
from smartrelay.spool.lock import hosts_lock
from smartrelay.values import Rate
from tests.support.clock import FakeClock
from tests.support.exchangers import Exchangers
from tests.support.place import Place, recipients
from tests.support.queues import put
from tests.support.smtp_script import TIMEOUT
from tests.support.smtp_server import Action, Session

D = "u@d.example"
DIRECT = Relay("direct", (("mx",),), "/c.toml: [[relay]] direct: ")
BUSY = b"421 4.3.2 busy"


@pytest.fixture
def here(tmp_path: Path, clock: FakeClock, exchangers: Exchangers) -> Place:
    """A place with a clock of its own, that knows the exchangers."""
    place = Place(str(tmp_path), clock)
    place.mx = exchangers.settings
    return place


def send(place: Place, *addresses: str, count: int = 1, **more: Any) -> Report:
    """So many messages for each address, and a pass."""
    for address in addresses or (D,):
        for _ in range(count):
            put(place.queue, [address])
    return place.run(DIRECT, **more)


def memory(place: Place) -> BadHosts:
    """What another process knows."""
    return BadHosts(f"{place.spool}/hosts.json", partial(hosts_lock, place.spool), clock=place.clock, warn=pytest.fail)


def bad(place: Place) -> dict[str, BadHost]:
    """The hosts that are known as bad, by name."""
    return {host.key.partition(":")[0]: host for host in memory(place).entries()}


def reasons(place: Place) -> set[str]:
    """Why what waits does, for each recipient his latest."""
    return {status.text for entry in place.left() for status in entry.history.last if status is not None}


# What a host that is down costs


def test_a_dead_domain_costs_one_time_out_in_this_pass_and_none_in_the_next(
    here: Place, exchangers: Exchangers, clock: FakeClock
) -> None:  # C-010
    """A hundred messages: one connection in all, an attempt for each of them, with the reason that was found out."""
    silent = exchangers.start("d.example", 2, replies={"GREETING": Action.SILENCE})
    here.timeouts = Timeouts(greeting=0.2)
    report = send(here, count=100)
    assert (report.deferred, report.bounced, len(silent.sessions)) == (100, 0, 1)
    assert {entry.history.attempts for entry in here.left()} == {1}
    clock.advance(59)
    report = send(here, count=100)
    assert (report.deferred, len(silent.sessions)) == (100, 1)
    assert {entry.history.attempts for entry in here.left()} == {1}
    (first, again) = sorted(reasons(here), key=len)
    assert first.startswith("timed out while waiting for the greeting") and again == f"{first} (not tried again yet)"
    assert [status.dsn for entry in here.left() for status in entry.history.last if status].count("4.4.1") == 100


def test_probes_come_after_a_minute_then_after_two_and_so_on(here: Place, exchangers: Exchangers, clock: FakeClock) -> None:
    """One connection for each, whatever waits; in between nobody asks the host."""  # C-010
    server = exchangers.start("d.example", 2, replies={"GREETING": BUSY})
    send(here, count=3)
    for step, seen in ((60, 1), (120, 2), (240, 3)):
        assert len(server.sessions) == seen
        clock.advance(step - 1)
        send(here, count=2)
        assert len(server.sessions) == seen
        clock.advance(1)
        send(here, count=2)
    assert len(server.sessions) == 4
    assert bad(here)["d.example"].failures == 4


def test_a_host_that_was_away_for_ten_seconds_costs_a_minute(here: Place, exchangers: Exchangers, clock: FakeClock) -> None:
    server = exchangers.start("d.example", 2, replies={"GREETING": BUSY})
    send(here)
    server.replies.clear()
    clock.advance(61)
    assert send(here).sent == 2 and bad(here) == {}


def test_a_bad_host_comes_after_the_good_ones_for_its_time(here: Place, exchangers: Exchangers, clock: FakeClock) -> None:
    better, worse = exchangers.start("a.example", 2, replies={"GREETING": BUSY}), exchangers.start("b.example", 3)
    exchangers.mx("d.example", "a.example", "b.example")
    assert send(here).sent == 1
    better.replies.clear()
    clock.advance(3599)  # its probe is long due: still nobody needs it
    assert send(here).sent == 1 and len(better.sessions) == 1
    clock.advance(2)
    assert send(here).sent == 1
    assert (len(better.accepted), len(worse.accepted)) == (1, 2)


def test_when_all_are_bad_and_no_probe_is_due_nobody_is_connected_to(
    here: Place, exchangers: Exchangers, clock: FakeClock
) -> None:  # C-010
    a = exchangers.start("a.example", 2, replies={"GREETING": BUSY})
    b = exchangers.start("b.example", 3, replies={"GREETING": BUSY})
    exchangers.mx("d.example", "a.example", "b.example")
    send(here)
    clock.advance(30)
    assert send(here, count=5).deferred == 5
    assert (len(a.sessions), len(b.sessions)) == (1, 1)
    a.replies.clear()
    clock.advance(30)
    assert send(here).sent == 7  # and what waited for the host that has recovered
    assert len(b.sessions) == 1 and list(bad(here)) == ["b.example"]


def test_told_to_send_all_a_pass_disregards_the_memory(here: Place, exchangers: Exchangers) -> None:
    """`flush --all`: the host is asked at once, and once."""
    server = exchangers.start("d.example", 2, replies={"GREETING": BUSY})
    send(here, count=3)
    assert here.run(DIRECT, everything=True).deferred == 3
    assert len(server.sessions) == 2
    server.replies.clear()
    assert here.run(DIRECT, everything=True).sent == 3
    assert bad(here) == {}


@pytest.mark.parametrize("refusal", [BUSY, Action.CLOSE])
def test_a_host_that_is_full_is_not_bad(here: Place, exchangers: Exchangers, refusal: Any) -> None:  # C-010 A-064
    lock, standing, refused = threading.Lock(), list[Session](), threading.Event()

    def on(point: str, argument: bytes, session: Session) -> Any:
        if point == "GREETING":
            with lock:
                if len([each for each in standing if not each.closed]) == 2:
                    refused.set()
                    return refusal
                standing.append(session)
        if point == "DOT" and (session.number or len(session.transactions) > 1):  # the first goes alone until it stands
            refused.wait(TIMEOUT)
        return None

    exchangers.start("d.example", 2, on=on)
    assert send(here, count=60).sent == 60
    assert refused.is_set() and bad(here) == {}


# Recovery


def test_a_hosts_recovery_makes_its_deferred_mail_due_in_the_same_pass(
    here: Place, exchangers: Exchangers, clock: FakeClock
) -> None:
    """Hours before its time, whatever domain it is for; and other hosts' mail stays where it is."""
    server = exchangers.start("a.example", 2, replies={"GREETING": BUSY})
    exchangers.mx("d.example", "a.example")
    exchangers.mx("e.example", "a.example")
    exchangers.zone["f.example"] = ["A 127.0.0.9"]
    send(here, D, "u@e.example", "u@f.example")
    for _ in range(6):
        clock.advance(8000)
        here.run(DIRECT)
    clock.advance(3601)
    assert len(here.left()) == 3 and all(entry.due > clock() for entry in here.left())
    server.replies.clear()
    report = send(here, "new@e.example")
    assert (report.sent, sorted(here.standing())) == (3, ["u@f.example"])
    assert recipients(server) == ["new@e.example", D, "u@e.example"]


def test_mail_that_waits_for_any_of_its_exchangers_goes_when_one_recovers(
    here: Place, exchangers: Exchangers, clock: FakeClock
) -> None:
    """Though the last that was asked was another."""
    a = exchangers.start("a.example", 2, replies={"GREETING": BUSY})
    exchangers.zone["b.example"] = ["A 127.0.0.9"]
    exchangers.mx("d.example", "a.example", "b.example")
    send(here)
    clock.advance(30)
    send(here)
    a.replies.clear()
    clock.advance(31)
    os.rename(here.left()[0].path, f"{here.spool}/cur/{here.left()[0].queue_id},n={int(clock()) + 3600}")
    assert send(here).sent == 3


def test_one_probe_is_enough_for_all_the_domains_of_a_host(here: Place, exchangers: Exchangers, clock: FakeClock) -> None:
    """It is for one of them; the others' mail is put off, and goes in the same pass if the host has come back."""  # C-010
    server = exchangers.start("a.example", 2, replies={"GREETING": BUSY})
    domains = [f"d{number}.example" for number in range(6)]
    for domain in domains:
        exchangers.mx(domain, "a.example")
    send(here, *[f"u@{domain}" for domain in domains])
    seen = len(server.sessions)
    clock.advance(61)
    send(here, *[f"u@{domain}" for domain in domains])
    assert len(server.sessions) == seen + 1
    server.replies.clear()
    clock.advance(121)
    assert send(here, *[f"v@{domain}" for domain in domains]).sent == 18
    assert here.left() == []


def test_what_waits_for_its_turn_by_a_rate_stays_though_its_host_recovers(
    here: Place, exchangers: Exchangers, clock: FakeClock
) -> None:
    """Or all of it would be taken in hand only to be put off again."""
    server = exchangers.start("unused.example", 2)
    work = Relay("work", ((f"smtp://127.0.0.2:{exchangers.port}",),), "work:", rate=Rate(2, 3600.0))

    def run(*addresses: str) -> Report:
        for address in addresses:
            put(here.queue, [address])
        return here.run(work)

    assert run("one@d.example", "two@d.example").sent == 2
    assert run("turn@d.example").postponed == 1
    (turn,) = here.left()
    server.replies[b"GREETING"] = BUSY
    clock.advance(3000)
    run("put-off@d.example")
    server.replies.clear()
    clock.advance(61)
    run("new@d.example")
    after = next(entry for entry in here.left() if entry.queue_id == turn.queue_id)
    assert (after.due, after.history.events) == (turn.due, turn.history.events)
    assert {entry.envelope.recipients[0].address.partition("@")[0] for entry in here.left()} == {"turn", "put-off", "new"}


def test_what_is_in_its_third_doubt_and_what_is_held_stays(
    here: Place, exchangers: Exchangers, clock: FakeClock
) -> None:  # law 10
    server = exchangers.start("d.example", 2, replies={"GREETING": BUSY})
    send(here, "doubtful@d.example", "held@d.example", "other@d.example")
    for entry in here.left():
        (recipient,) = entry.envelope.recipients
        if recipient.address.startswith("doubtful"):
            status = deferred("4.4.2", "lost")._replace(doubt=True, host=f"d.example[127.0.0.2]:{exchangers.port}")
            Journal(here.spool, entry.queue_id).append(*[attempt(clock(), "direct", {0: status})] * 3, sync=True)
        if recipient.address.startswith("held"):
            os.rename(entry.path, f"{here.spool}/hold/{entry.queue_id}")
        else:
            os.rename(entry.path, f"{here.spool}/cur/{entry.queue_id},n={int(clock()) + 9000}")
    server.replies.clear()
    clock.advance(61)
    assert send(here).sent == 2
    assert recipients(server) == ["other@d.example", D]
    assert sorted(here.standing()) == ["doubtful@d.example", "held@d.example"]


def test_a_running_pass_sees_that_a_host_was_reset(here: Place, exchangers: Exchangers, clock: FakeClock) -> None:
    """By another process, while it is at work elsewhere; the next message for the host goes at once."""
    server = exchangers.start("d.example", 2, replies={"GREETING": BUSY})
    slow = exchangers.start("slow.example", 3)
    send(here)
    server.replies.clear()
    gate = slow.gate("GREETING")
    put(here.queue, ["u@slow.example"])
    put(here.queue, ["second@d.example"])
    put_off = threading.Event()
    manager = here.manager(DIRECT, progress=lambda report, backlog: put_off.set() if report.deferred else None)
    thread = threading.Thread(target=manager.check_state)
    thread.start()
    try:
        gate.wait_reached()
        assert put_off.wait(TIMEOUT)
        other = memory(here)
        assert other.reset() and other.save()
        put(here.queue, ["third@d.example"])
        server.wait_for(lambda: server.accepted)
    finally:
        gate.open()
        thread.join()
    assert "third@d.example" in recipients(server)
