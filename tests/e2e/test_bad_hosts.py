"""The memory for bad hosts over passes that are processes of their own: what one has found out, the next one knows."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from smartrelay.spool.queue import Queue
from tests.e2e.commands import Machine, relay
from tests.support.exchangers import Exchangers
from tests.support.place import recipients
from tests.support.queues import LAWFUL, put
from tests.support.smtp_server import Action

X = b"Subject: x\n\nhello\n"
ME = ("-f", "me@a.example")
D = "u@d.example"
SHORT = '[timeouts]\ngreeting = "1s"'
BUSY = b"421 4.3.2 busy"


@pytest.fixture
def here(machine: Machine, exchangers: Exchangers) -> Machine:
    """A machine that sends by exchangers, with a spool."""
    machine.configure(relay("mx"), exchangers.table, SHORT)
    machine.flush()
    return machine


def enqueue(machine: Machine, count: int, address: str = D) -> list[str]:
    """So many messages, without a process for each."""
    queue = Queue(machine.spool)
    return [put(queue, [address], sender="me@a.example", text=LAWFUL) for _ in range(count)]


def memory(machine: Machine) -> dict[str, Any]:
    """The file: what is known of each host."""
    found: dict[str, Any] = json.loads(Path(machine.spool, "hosts.json").read_bytes())["hosts"]
    return found


def let_pass(machine: Machine, seconds: float) -> None:
    """Time goes by for the memory: all that it says is earlier."""
    hosts = memory(machine)
    for row in hosts.values():
        for name in ("since", "failed", "probe", "until"):
            row[name] -= seconds
    Path(machine.spool, "hosts.json").write_text(json.dumps({"v": 1, "hosts": hosts}))


def test_a_hundred_messages_for_a_dead_domain_cost_one_time_out_over_two_passes(here: Machine, exchangers: Exchangers) -> None:
    """The second pass knows from the first, connects to nobody, and writes each message's attempt down."""  # C-010
    silent = exchangers.start("d.example", 2, replies={"GREETING": Action.SILENCE})
    enqueue(here, 100)
    began = time.monotonic()
    result = here.flush()
    assert time.monotonic() - began < 10
    assert len(silent.sessions) == 1
    lines = [line for line in result.log if "status=deferred (timed out while waiting for the greeting" in line]
    assert len(lines) == 100
    (key,) = memory(here)
    assert key == f"d.example:{exchangers.port}"
    here.make_due()
    enqueue(here, 100)
    result = here.flush()
    assert len(silent.sessions) == 1
    again = [line for line in result.log if "status=deferred" in line and "(not tried again yet)" in line]
    assert len(again) == 200
    assert all(len(Path(here.spool, "state", one).read_bytes().splitlines()) in (1, 2) for one in here.ids())
    shown = here.run("queue", "show", here.ids()[0]).output.decode()
    assert shown.count("timed out while waiting for the greeting") >= 2 and "not tried again yet" in shown


def test_the_next_pass_probes_once_and_then_after_twice_the_time(here: Machine, exchangers: Exchangers) -> None:  # C-010
    server = exchangers.start("d.example", 2, replies={"GREETING": BUSY})
    enqueue(here, 5)
    here.flush()
    for step, seen in ((61, 2), (61, 2), (61, 3)):
        let_pass(here, step)
        here.make_due()
        here.flush()
        assert len(server.sessions) == seen
    server.replies.clear()
    let_pass(here, 241)
    enqueue(here, 1)
    assert recipients(server) == []
    here.flush()
    assert recipients(server) == [D] * 6
    assert memory(here) == {}


def test_a_good_host_costs_no_write_and_what_cannot_be_read_is_set_aside(here: Machine, exchangers: Exchangers) -> None:
    server = exchangers.start("d.example", 2)
    enqueue(here, 1)
    here.flush()
    assert not os.path.exists(f"{here.spool}/hosts.json")
    Path(here.spool, "hosts.json").write_bytes(b"\0garbage")
    enqueue(here, 1)
    result = here.flush()
    assert recipients(server) == [D, D]
    assert "hosts.json.bad, and no host counts as bad" in result.errors
    assert Path(here.spool, "hosts.json.bad").read_bytes() == b"\0garbage"


def test_told_to_flush_all_a_pass_asks_the_host_at_once(here: Machine, exchangers: Exchangers) -> None:
    server = exchangers.start("d.example", 2, replies={"GREETING": BUSY})
    enqueue(here, 3)
    here.flush()
    server.replies.clear()
    here.make_due()
    here.flush()
    assert recipients(server) == []
    here.flush("--all")
    assert recipients(server) == [D] * 3 and memory(here) == {}


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("before", [True, False], ids=["failed before", "failed in this pass"])
def test_a_pass_that_runs_sees_hosts_reset(here: Machine, exchangers: Exchangers, named: bool, before: bool) -> None:
    """A person has put the host right and says so, while a pass hangs at another: new mail for it goes at once."""
    server = exchangers.start("d.example", 2, replies={"GREETING": BUSY})
    slow = exchangers.start("slow.example", 3)
    here.configure(relay("mx"), exchangers.table)
    if before:
        enqueue(here, 1)
        here.flush()
    gate = slow.gate("GREETING")
    enqueue(here, 1, "u@slow.example")
    enqueue(here, 1)
    with here.start("flush") as running:
        gate.wait_reached()
        running.wait_for_error("not tried again yet" if before else "status=deferred (421")
        server.replies.clear()
        assert here.run("hosts", "reset", *(["d.example"] if named else [])).code == 0
        enqueue(here, 1)
        server.wait_for(lambda: server.accepted)
        gate.open()
        assert running.wait().code == 0
    assert recipients(slow) == ["u@slow.example"]


def test_a_smart_host_that_was_away_for_ten_seconds_costs_a_minute(machine: Machine, exchangers: Exchangers) -> None:
    """Each relay of a rule is remembered, not mail exchangers alone; its recovery sends what waits, hours before its time,
    but not what an operator holds."""
    server = exchangers.start("unused.example", 2, replies={"GREETING": BUSY})
    machine.configure(relay(f"smtp://127.0.0.2:{exchangers.port}"))
    machine.flush()
    ids = enqueue(machine, 4)
    machine.flush()
    assert len(server.sessions) == 1
    assert machine.run("queue", "hold", ids[0]).code == 0
    for one in ids[1:]:
        os.rename(machine.path(one), f"{machine.spool}/cur/{one},n={int(time.time()) + 7000}")
    server.replies.clear()
    let_pass(machine, 61)
    enqueue(machine, 1)
    machine.flush()
    assert len(server.accepted) == 4 and machine.ids() == [ids[0]]
