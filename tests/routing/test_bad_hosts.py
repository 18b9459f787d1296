"""The memory for bad hosts: when one is bad, who may ask it again and when, what threads and processes make of it."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

import pytest

from smartrelay.errors import SpoolError, TryAgain
from smartrelay.routing.bad_hosts import BadHost, BadHosts
from smartrelay.spool.lock import hosts_lock
from tests.support.bad_hosts import Spool
from tests.support.clock import START, FakeClock

MX, OTHER = "mx.example.org:25", "other.example.org:25"
HOUR, DAY = 3600.0, 86400.0
TIMEOUT = 30.0


@pytest.fixture
def spool(tmp_path: Path, clock: FakeClock) -> Spool:
    return Spool(tmp_path, clock)


# When a host is bad, and when it is asked again.


def test_a_host_is_bad_for_the_time_out_after_its_failure(spool: Spool, clock: FakeClock) -> None:  # C-010
    memory = spool.memory()
    assert not memory.is_bad(MX) and memory.get(MX) is None
    memory.mark_bad(MX, "connection refused")
    assert memory.get(MX) == BadHost(MX, "connection refused", START, START, 1, START + 60, START + HOUR)
    assert memory.entries() == [memory.get(MX)]
    clock.advance(HOUR - 1)
    assert memory.is_bad(MX) and not memory.is_bad(OTHER)
    clock.advance(1)
    assert not memory.is_bad(MX) and memory.get(MX) is None and memory.entries() == []


def test_probes_come_after_a_minute_and_then_after_twice_the_time_up_to_the_time_out(
    spool: Spool, clock: FakeClock
) -> None:  # C-010
    memory = spool.memory()
    steps = []
    for number in range(1, 10):
        memory.mark_bad(MX, f"failure {number}")
        found = memory.get(MX)
        assert found is not None
        assert (found.since, found.failed, found.failures) == (START, clock.now, number)
        assert (found.reason, found.until) == (f"failure {number}", clock.now + HOUR)
        steps.append(found.probe - clock.now)
        clock.advance(found.probe - clock.now)
    assert steps == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]


def test_no_number_of_failures_is_too_large_for_the_arithmetic(spool: Spool, clock: FakeClock) -> None:
    row = f'"since": {START}, "failed": {START}, "failures": {10**30}, "probe": {START}, "until": {START}'
    Path(spool.path).write_text(f'{{"v": 1, "hosts": {{"{MX}": {{"reason": "x", {row}}}}}}}')
    memory = spool.memory(52 * 7 * DAY)
    memory.mark_bad(MX, "again")
    assert memory.entries()[0].probe == START + 52 * 7 * DAY


def test_a_time_out_shorter_than_a_minute_is_the_step(spool: Spool, clock: FakeClock) -> None:
    memory = spool.memory(10)
    memory.mark_bad(MX, "x")
    assert memory.entries() == [BadHost(MX, "x", START, START, 1, START + 10, START + 10)]


def test_connections_that_fail_together_are_one_failure(spool: Spool, clock: FakeClock) -> None:
    """Twenty that are refused in the same second must not cost an hour; each moves the probe on to a minute after it."""
    memory = spool.memory()
    for _ in range(20):
        memory.mark_bad(MX, "connection refused")
        clock.advance(0.5)
    (found,) = memory.entries()
    assert (found.failures, found.since, found.probe) == (1, START, START + 9.5 + 60)
    clock.advance(60)
    memory.mark_bad(MX, "connection refused")
    assert memory.entries()[0].failures == 2


def test_a_host_that_failed_again_within_a_day_is_not_new(spool: Spool, clock: FakeClock) -> None:
    memory = spool.memory()
    memory.mark_bad(MX, "x")
    clock.advance(60)
    memory.mark_bad(MX, "x")
    clock.advance(HOUR + DAY - 1)
    assert not memory.is_bad(MX)
    memory.mark_bad(MX, "x")
    assert (memory.entries()[0].failures, memory.entries()[0].since) == (3, START)
    clock.advance(HOUR + DAY)
    memory.mark_bad(MX, "x")
    assert (memory.entries()[0].failures, memory.entries()[0].since) == (1, clock.now)


def test_success_forgets_and_is_news_only_where_there_was_a_failure(spool: Spool, clock: FakeClock) -> None:  # C-010
    memory = spool.memory()
    assert memory.mark_good(MX) is False
    memory.mark_bad(MX, "x")
    memory.mark_bad(OTHER, "x")
    assert memory.mark_good(MX) is True
    assert memory.mark_good(MX) is False
    assert memory.recovered == {MX}
    assert [host.key for host in memory.entries()] == [OTHER]
    memory.mark_bad(MX, "again")
    assert memory.recovered == set(), "what has failed again has not recovered"
    assert memory.entries()[0].failures == 1
    clock.advance(HOUR + 1)
    assert memory.mark_good(MX) is True, "mail that was deferred for it may wait still"
    assert memory.recovered == {MX}


def test_keys_of_hosts_are_without_case_and_those_of_sockets_are_not(spool: Spool) -> None:
    memory = spool.memory()
    memory.mark_bad("MX.Example.ORG:25", "x")
    memory.mark_bad("/run/LMTP", "x")
    assert memory.is_bad(MX) and memory.is_bad("/run/LMTP") and not memory.is_bad("/run/lmtp")
    assert [host.key for host in memory.entries()] == ["/run/LMTP", MX]
    assert not memory.claim_probe("mx.EXAMPLE.org:25")
    assert memory.mark_good("mx.EXAMPLE.org:25") and memory.recovered == {MX}
    assert memory.reset(["/RUN/lmtp"]) == [] and memory.reset(["/run/LMTP"]) == ["/run/LMTP"]


def test_a_reason_is_one_printable_line_of_bounded_length(spool: Spool) -> None:
    memory = spool.memory()
    memory.mark_bad(MX, "421 no\r\n\x1b[31mservice \u00e4" + "y" * 1000)
    memory.save()
    for found in (memory.get(MX), spool.kept()[MX]):
        assert found is not None
        assert found.reason == "421 no ?[31mservice ?" + "y" * (500 - 21)


# Probes.


def test_a_good_host_is_for_everybody(spool: Spool) -> None:
    memory = spool.memory()
    assert all(memory.claim_probe(MX) for _ in range(3))
    memory.mark_bad(MX, "x")
    memory.mark_good(MX)
    assert all(memory.claim_probe(MX) for _ in range(3))


def test_nobody_connects_before_the_probe_and_then_one(spool: Spool, clock: FakeClock) -> None:  # C-010
    memory = spool.memory()
    memory.mark_bad(MX, "x")
    clock.advance(59)
    assert not memory.claim_probe(MX)
    clock.advance(1)
    assert [memory.claim_probe(MX) for _ in range(3)] == [True, False, False]
    found = memory.get(MX)
    assert found is not None and found.probe > clock.now + 300, "a greeting may take five minutes, and nobody else comes then"
    memory.mark_bad(MX, "y")
    clock.advance(119)
    assert not memory.claim_probe(MX)
    clock.advance(1)
    assert [memory.claim_probe(MX) for _ in range(3)] == [True, False, False]


def test_a_claim_that_nothing_came_of_ends_after_a_quarter_of_an_hour(spool: Spool, clock: FakeClock) -> None:
    memory = spool.memory()
    memory.mark_bad(MX, "x")
    clock.advance(60)
    assert memory.claim_probe(MX)
    clock.advance(899)
    assert not memory.claim_probe(MX)
    clock.advance(1)
    assert [memory.claim_probe(MX) for _ in range(2)] == [True, False]


def test_a_claim_does_not_outlive_what_came_of_it(spool: Spool, clock: FakeClock) -> None:
    memory = spool.memory()
    for _ in range(8):
        memory.mark_bad(MX, "x")
        clock.advance(HOUR)
        assert memory.claim_probe(MX)
    memory.mark_good(MX)
    memory.mark_bad(MX, "anew")
    found = memory.get(MX)
    assert found is not None and found.probe == clock.now + 60
    clock.advance(60)
    assert memory.claim_probe(MX)


def test_a_host_whose_time_is_over_is_still_for_one_until_it_has_answered(spool: Spool, clock: FakeClock) -> None:
    """The hundred messages that came for a dead host meanwhile cost one connection, not one each."""  # C-010
    memory = spool.memory()
    memory.mark_bad(MX, "connection timed out")
    clock.advance(HOUR)
    assert not memory.is_bad(MX)
    assert [memory.claim_probe(MX) for _ in range(3)] == [True, False, False]
    found = memory.get(MX)
    assert found is not None, "while one asks, the others are told why they wait"
    assert found.reason == "connection timed out" and clock.now < found.probe <= found.until
    memory.mark_good(MX)
    assert all(memory.claim_probe(MX) for _ in range(3))


def test_a_host_that_stays_down_is_probed_once_each_time_out(spool: Spool, clock: FakeClock) -> None:
    memory = spool.memory()
    memory.mark_bad(MX, "x")
    probes = []
    for minute in range(1, 24 * 60):
        clock.advance(60)
        won = [memory.claim_probe(MX) for _ in range(3)]
        if any(won):
            assert won == [True, False, False]
            probes.append(minute)
            memory.mark_bad(MX, "x")
    assert probes == [1, 3, 7, 15, 31, 63, *range(123, 24 * 60, 60)]


# A clock that was wrong.


def test_an_entry_from_the_future_is_void(spool: Spool, clock: FakeClock) -> None:
    memory = spool.memory()
    memory.mark_bad(MX, "x")
    memory.save()
    clock.advance(-1)
    for each in (memory, spool.memory()):
        assert not each.is_bad(MX) and each.claim_probe(MX) and each.mark_good(MX) is False
    memory.mark_bad(MX, "y")
    assert (memory.entries()[0].failures, memory.entries()[0].since) == (1, clock.now)


def test_an_entry_that_lasts_longer_than_the_time_out_is_void(spool: Spool) -> None:
    long = spool.memory(2 * HOUR)
    long.mark_bad(MX, "x")
    long.save()
    assert list(spool.kept(HOUR)) == []
    assert list(spool.kept(2 * HOUR)) == [MX]


def test_a_clock_set_back_does_not_keep_the_memory_from_being_written(spool: Spool, clock: FakeClock) -> None:
    memory = spool.memory()
    memory.mark_bad(MX, "x")
    clock.advance(-10 * DAY)
    memory.mark_bad(OTHER, "x")
    assert list(spool.kept()) == [OTHER]


# What an operator takes off it.


def test_reset_forgets_what_it_is_told_to(spool: Spool) -> None:
    keys = ["/run/lmtp", "[2001:db8::1]:25", "a.example:25", "a.example:587", "b.example:25", "xa.example:25"]
    for wanted, found in (
        (None, keys),
        ([], []),
        (["A.example"], ["a.example:25", "a.example:587"]),
        (["a.example:587"], ["a.example:587"]),
        (["2001:db8::1"], ["[2001:db8::1]:25"]),
        (["[2001:DB8::1]"], ["[2001:db8::1]:25"]),
        (["[2001:db8::1]:25"], ["[2001:db8::1]:25"]),
        (["/run/lmtp"], ["/run/lmtp"]),
        (["/run", "run/lmtp", "example", "25", ":25", "", "*"], []),
        (["b.example", "b.example:25", "nowhere"], ["b.example:25"]),
    ):
        memory = spool.memory()
        for key in keys:
            memory.mark_bad(key, "x")
        assert memory.reset(wanted) == found
        assert [host.key for host in memory.entries()] == [key for key in keys if key not in found]
        assert memory.save() and list(spool.kept()) == [key for key in keys if key not in found]
        assert memory.recovered == set(), "nobody has spoken to it"


def test_reset_forgets_what_is_only_counted_on_too(spool: Spool, clock: FakeClock) -> None:
    memory = spool.memory()
    memory.mark_bad(MX, "x")
    clock.advance(2 * HOUR)
    assert memory.entries() == []
    assert memory.reset() == [MX]
    memory.mark_bad(MX, "x")
    assert memory.entries()[0].since == clock.now


# Over threads, processes and passes.


def test_the_next_process_knows_what_this_one_has_learnt(spool: Spool, clock: FakeClock) -> None:  # C-010
    memory = spool.memory()
    memory.mark_bad(MX, "connection refused")
    clock.advance(60)
    memory.mark_bad(MX, "connection refused")
    memory.mark_bad(OTHER, "421 busy")
    assert memory.save()
    assert spool.kept() == {host.key: host for host in memory.entries()}
    memory.mark_good(MX)
    assert memory.save()
    assert list(spool.kept()) == [OTHER]
    assert os.listdir(spool.folder) == ["hosts.json"]
    assert os.stat(spool.path).st_mode & 0o7777 == 0o600


def test_a_claim_is_no_business_of_the_file(spool: Spool, clock: FakeClock) -> None:
    """A process that dies while it probes must not put the probe off."""
    memory = spool.memory()
    memory.mark_bad(MX, "x")
    clock.advance(60)
    assert memory.claim_probe(MX) and memory.save()
    assert spool.memory().claim_probe(MX)


def test_whoever_learns_nothing_writes_nothing(spool: Spool) -> None:
    memory = spool.memory()
    assert not memory.is_bad(MX) and memory.claim_probe(MX) and not memory.mark_good(MX) and memory.reset() == []
    assert memory.save()
    assert spool.lock.taken == 0 and os.listdir(spool.folder) == []


def test_who_only_looks_writes_nothing_and_sets_nothing_aside(spool: Spool) -> None:
    spool.memory().mark_bad(MX, "x")
    looker = BadHosts(spool.path, None, clock=spool.clock, warn=spool.warnings.append)
    assert [host.key for host in looker.entries()] == [MX] and looker.is_bad(MX)
    with open(spool.path, "w", encoding="ascii") as file:
        file.write("garbage")
    assert looker.entries() == looker.entries() == []
    assert spool.warnings == [f"{spool.path} is not JSON in ASCII; no host counts as bad"]
    assert os.listdir(spool.folder) == ["hosts.json"]


def test_a_thousand_bad_hosts_are_a_handful_of_writes(spool: Spool, clock: FakeClock) -> None:
    memory = spool.memory()
    for number in range(1000):
        memory.mark_bad(f"mx{number}:25", "connection timed out")
        clock.advance(0.001)
    assert 2 <= spool.lock.taken <= 3
    assert memory.save() and spool.lock.taken <= 4
    assert len(spool.kept()) == 1000


def test_what_waits_to_be_written_goes_with_the_next_call_after_half_a_second(spool: Spool, clock: FakeClock) -> None:
    memory = spool.memory()
    memory.mark_bad(MX, "x")
    memory.mark_bad(OTHER, "x")
    assert list(spool.kept()) == [MX]
    clock.advance(0.5)
    memory.is_bad(MX)
    assert list(spool.kept()) == [MX, OTHER]


def test_a_running_pass_sees_a_reset(spool: Spool) -> None:
    running, operator = spool.memory(), spool.memory()
    running.mark_bad(MX, "x")
    running.mark_bad(OTHER, "x")
    running.save()
    assert operator.reset(["mx.example.org"]) == [MX] and operator.save()
    assert not running.is_bad(MX) and running.claim_probe(MX) and running.is_bad(OTHER)
    os.unlink(spool.path)
    assert running.entries() == [], "nothing is lost by deleting it"


def test_processes_do_not_undo_each_other(spool: Spool, clock: FakeClock) -> None:
    one, two = spool.memory(), spool.memory()
    one.mark_bad("a:1", "x")
    one.mark_bad("b:1", "x")
    one.save()
    assert two.is_bad("b:1")
    # each has something that the other does not know
    one.mark_bad("c:1", "x")
    two.mark_bad("d:1", "x")
    two.mark_good("b:1")
    assert two.save() and one.save()
    assert list(spool.kept()) == ["a:1", "c:1", "d:1"]
    assert [host.key for host in one.entries()] == [host.key for host in two.entries()] == ["a:1", "c:1", "d:1"]


def test_a_failure_that_waits_to_be_written_does_not_undo_a_reset(spool: Spool, clock: FakeClock) -> None:
    running, operator = spool.memory(), spool.memory()
    running.mark_bad(MX, "x")
    clock.advance(60)
    running.mark_bad(OTHER, "written now")
    running.mark_bad(MX, "waits")
    operator.reset([MX])
    operator.save()
    running.save()
    assert list(spool.kept()) == [OTHER]


def test_of_two_failures_the_later_one_stands(spool: Spool, clock: FakeClock) -> None:
    for first in (0, 1):
        memories = [spool.memory(), spool.memory()]
        for memory in memories:
            memory.mark_bad(OTHER, "so that what follows waits")
        memories[first].mark_bad(MX, "earlier")
        clock.advance(0.1)
        memories[1 - first].mark_bad(MX, "later")
        assert all(memory.save() for memory in memories)
        assert spool.kept()[MX].reason == "later"
        assert all(memory.get(MX) == spool.kept()[MX] for memory in memories)
        os.unlink(spool.path)
        clock.advance(10)


def test_memory_and_file_are_bounded_and_the_newest_stay(spool: Spool, clock: FakeClock) -> None:
    memory = spool.memory()
    for number in range(10_100):
        memory.mark_bad(f"mx{number:05}:25", "x")
        clock.advance(0.0001)
    memory.save()
    found = [host.key for host in memory.entries()]
    assert found == list(spool.kept()) == [f"mx{number:05}:25" for number in range(100, 10_100)]


def test_a_file_is_never_longer_than_is_read_again(spool: Spool, clock: FakeClock) -> None:
    memory = spool.memory()
    for number in range(9000):
        memory.mark_bad(f"mx{number:05}:25", "y" * 500)
        clock.advance(0.0001)
    memory.save()
    assert os.path.getsize(spool.path) <= 4 << 20
    found = spool.kept()
    assert len(found) > 4000 and "mx08999:25" in found and "mx00000:25" not in found


def together(count: int, work: Callable[[int], object]) -> list[object]:
    """What this many threads make of `work(number)`, all let go at once."""
    gate = threading.Barrier(count)
    results: list[object] = [None] * count

    def run(number: int) -> None:
        gate.wait(TIMEOUT)
        results[number] = work(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_of_many_threads_one_may_probe(spool: Spool, clock: FakeClock) -> None:  # C-010
    memory = spool.memory()
    for _ in range(20):
        memory.mark_bad(MX, "x")
        assert not any(together(8, lambda number: memory.claim_probe(MX)))
        clock.advance(HOUR)
        assert sum(bool(won) for won in together(8, lambda number: memory.claim_probe(MX))) == 1
    assert spool.warnings == []


def test_threads_that_hammer_one_memory_lose_nothing(tmp_path: Path) -> None:
    """With the real lock and the real clock, beside a process that resets what is not theirs."""
    warnings: list[str] = []
    memory = BadHosts(f"{tmp_path}/hosts.json", partial(hosts_lock, str(tmp_path)), warn=warnings.append)
    other = BadHosts(f"{tmp_path}/hosts.json", partial(hosts_lock, str(tmp_path)), warn=warnings.append)

    def work(number: int) -> None:
        for round_ in range(50):
            mine = f"t{number}-{round_}:25"
            memory.mark_bad(mine, "x")
            assert memory.is_bad(mine) and not memory.claim_probe(mine)
            if round_ % 2:
                assert memory.mark_good(mine)
            memory.mark_bad("shared:25", "x")
            if round_ % 10 == 0:
                assert memory.save()
                other.mark_bad(f"o{number}-{round_}:25", "x")
                assert other.reset([f"o{number}-{round_}"]) == [f"o{number}-{round_}:25"]
                assert other.save()

    together(6, work)
    assert memory.save() and other.save() and warnings == []
    expected = {"shared:25"} | {f"t{number}-{round_}:25" for number in range(6) for round_ in range(0, 50, 2)}
    assert {host.key for host in memory.entries()} == {host.key for host in other.entries()} == expected
    assert memory.recovered == {f"t{number}-{round_}:25" for number in range(6) for round_ in range(1, 50, 2)}


PROCESS = """
import sys
from functools import partial
from smartrelay.routing.bad_hosts import BadHosts
from smartrelay.spool.lock import hosts_lock
spool, name = sys.argv[1:]
memory = BadHosts(f"{spool}/hosts.json", partial(hosts_lock, spool), warn=sys.exit)
for number in range(40):
    memory.mark_bad(f"{name}-{number}:25", "x")
    if number % 4 == 3:
        assert memory.reset([f"{name}-{number}"]) and memory.mark_good(f"{name}-{number - 1}:25")
    assert memory.save()
"""


def test_two_processes_share_a_file(tmp_path: Path) -> None:  # C-010
    """Each writes eighty times while the other does, and nothing of either is lost or comes back."""
    processes = [
        subprocess.Popen([sys.executable, "-c", PROCESS, str(tmp_path), name], stderr=subprocess.PIPE, text=True)
        for name in ("one", "two")
    ]
    for process in processes:
        _, errors = process.communicate(timeout=TIMEOUT)
        assert process.returncode == 0, errors
    memory = BadHosts(f"{tmp_path}/hosts.json", partial(hosts_lock, str(tmp_path)), warn=pytest.fail)
    expected = {f"{name}-{number}:25" for name in ("one", "two") for number in range(40) if number % 4 < 2}
    assert {host.key for host in memory.entries()} == expected
    assert sorted(os.listdir(tmp_path)) == ["hosts.json", "hosts.lock"]


# A file that cannot be written costs a warning.


def test_without_its_directory_the_memory_is_this_process_own(tmp_path: Path, clock: FakeClock) -> None:
    spool = Spool(tmp_path / "missing", clock)
    memory = spool.memory()
    for _ in range(3):
        memory.mark_bad(MX, "x")
        assert memory.is_bad(MX) and not memory.claim_probe(MX)
        assert not memory.save()
        clock.advance(HOUR)
        assert memory.claim_probe(MX)
    (warning,) = spool.warnings
    assert warning.startswith(f"cannot write {spool.path}: No such file or directory; ")


def test_trouble_is_tried_again_after_a_while_and_can_end(spool: Spool, clock: FakeClock) -> None:
    os.mkdir(f"{spool.path}.tmp")
    memory = spool.memory()
    memory.mark_bad(MX, "x")
    for _ in range(100):
        memory.mark_bad(OTHER, "x")
        clock.advance(0.1)
    assert spool.lock.taken == 1 and len(spool.warnings) == 1
    os.rmdir(f"{spool.path}.tmp")
    clock.advance(30)
    assert memory.is_bad(MX)
    spool.warnings.clear()
    assert list(spool.kept()) == [MX, OTHER] and memory.save()


@pytest.mark.parametrize("error", [TryAgain("another process has held it"), SpoolError("cannot lock it")])
def test_a_lock_that_cannot_be_had_costs_a_warning(tmp_path: Path, clock: FakeClock, error: Exception) -> None:
    def lock() -> AbstractContextManager[None]:
        raise error

    warnings: list[str] = []
    memory = BadHosts(f"{tmp_path}/hosts.json", lock, clock=clock, warn=warnings.append)
    memory.mark_bad(MX, "x")
    assert memory.is_bad(MX) and not memory.save()
    assert warnings == [f"{error}; which hosts are bad is known to this process alone"]


def test_nobody_waits_for_the_one_who_writes(tmp_path: Path, clock: FakeClock) -> None:
    """Law 7: while one thread waits for another process's lock, all others go on, and what they learn is written."""
    reached, go = threading.Event(), threading.Event()

    @contextmanager
    def lock() -> Iterator[None]:
        reached.set()
        assert go.wait(TIMEOUT)
        yield

    memory = BadHosts(f"{tmp_path}/hosts.json", lock, clock=clock, warn=pytest.fail)
    writer = threading.Thread(target=memory.mark_bad, args=(MX, "x"))
    writer.start()
    assert reached.wait(TIMEOUT)
    memory.mark_bad(OTHER, "y")
    clock.advance(60)
    assert memory.is_bad(MX) and memory.claim_probe(OTHER) and memory.mark_good(MX)
    go.set()
    writer.join()
    assert memory.save()
    assert [host.key for host in BadHosts(f"{tmp_path}/hosts.json", lock, clock=clock, warn=pytest.fail).entries()] == [OTHER]


def test_the_lock_is_private_bounded_and_let_go(tmp_path: Path) -> None:
    with hosts_lock(str(tmp_path)):
        assert os.stat(f"{tmp_path}/hosts.lock").st_mode & 0o7777 == 0o600
        with pytest.raises(TryAgain, match="has held"), hosts_lock(str(tmp_path), 0.0):
            pass
    with hosts_lock(str(tmp_path), 0.0):
        pass
    os.unlink(f"{tmp_path}/hosts.lock")
    os.mkdir(f"{tmp_path}/hosts.lock")
    with pytest.raises(SpoolError, match="cannot lock"), hosts_lock(str(tmp_path)):
        pass
