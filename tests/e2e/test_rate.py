"""Rate budgets: what a relay, and all of them together, may be sent in what time, over passes in processes of their own."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from smartrelay.spool.queue import Queue
from tests.e2e.commands import Machine, Result, relay
from tests.support.exchangers import Exchangers
from tests.support.place import recipients
from tests.support.queues import LAWFUL, put
from tests.support.smtp_server import ScriptedServer, Session

Start = Callable[..., ScriptedServer]

HOUR = 3600


def enqueue(machine: Machine, *addresses: str, count: int = 1) -> list[str]:
    """So many messages for each address, without a process for each."""
    machine.flush()  # makes the spool
    queue = Queue(machine.spool)
    return [put(queue, [address], sender="me@a.example", text=LAWFUL) for _ in range(count) for address in addresses]


def url(server: ScriptedServer) -> str:
    return f"smtp://127.0.0.1:{server.port}"


def let_pass(machine: Machine, seconds: float) -> None:
    """Time goes by: what was taken was taken earlier, and what waits for its turn is due earlier."""
    path = Path(machine.spool, "var", "rates.json")
    taken = json.loads(path.read_bytes())["taken"]
    moved = {name: [[last - seconds, number] for last, number in slots] for name, slots in taken.items()}
    path.write_text(json.dumps({"taken": moved}))
    for one in machine.ids("cur"):
        os.rename(machine.path(one), f"{machine.spool}/cur/{one},n={machine.due(one) - int(seconds)}")


def taken(machine: Machine) -> dict[str, int]:
    """How much of each budget was taken, by the file."""
    found = json.loads(Path(machine.spool, "var", "rates.json").read_bytes())["taken"]
    return {name: sum(number for _, number in slots) for name, slots in found.items()}


def held_back(result: Result, count: int) -> None:
    """So many messages wait for their turn, and that is no failure of anything."""
    assert result.code == 0
    assert f"{count} held back by a rate" in result.said
    assert " 0 deferred, 0 bounced" in result.said and "status=deferred" not in result.errors


def test_over_budget_is_put_off_to_its_turn_and_is_no_attempt(machine: Machine, smtp_server: Start) -> None:
    """The oldest go first; each of the others is told when its turn comes, and no pass before that touches it."""
    machine.relay_to(server := smtp_server(), rate='"2/h"')
    began = time.time()
    ids = enqueue(machine, *(f"u{number}@b.example" for number in range(5)))
    result = machine.flush()
    held_back(result, 3)
    assert recipients(server) == ["u0@b.example", "u1@b.example"]
    assert machine.ids("cur") == sorted(ids[2:])
    turns = [machine.due(one) for one in ids[2:]]
    assert turns == sorted(turns) and turns[0] < turns[2] - HOUR + 60
    assert began + HOUR <= turns[0] <= time.time() + HOUR + 60
    before = machine.tree()
    assert machine.flush().errors == "" and machine.tree() == before
    let_pass(machine, HOUR + 60)
    machine.flush()
    assert recipients(server) == [f"u{number}@b.example" for number in range(4)]
    let_pass(machine, HOUR + 60)
    machine.flush()
    assert len(server.accepted) == 5 and machine.ids() == []


def test_a_message_that_another_host_is_asked_to_take_is_counted_once(machine: Machine, smtp_server: Start) -> None:
    """A detour is not another message: with a budget of one it would never come to its second host."""
    first, second = smtp_server(replies={"MAIL": b"550 5.7.1 not from you"}), smtp_server()
    machine.configure(relay(url(first), url(second), rate='"1/h"'))
    enqueue(machine, "a@b.example")
    machine.flush()
    assert recipients(second) == ["a@b.example"] and machine.ids() == []


def test_queue_show_says_what_it_waits_for(machine: Machine, smtp_server: Start) -> None:
    machine.configure(relay(url(smtp_server()), name='"bulk"', rate='"1/h"'))
    enqueue(machine, "a@b.example", "b@b.example")
    machine.flush()
    (one,) = machine.ids()
    turn = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(machine.due(one)))
    shown = machine.run("queue", "show", one).output.decode()
    assert f"the rate of relay bulk was used up; its turn comes {turn}" in shown and f"Next attempt {turn}, in " in shown
    assert "<b@b.example>: not tried yet" in shown


def test_mail_that_comes_in_meanwhile_gets_no_more_than_the_budget(machine: Machine, smtp_server: Start) -> None:
    """In another pass too, and told to flush all: what another process took counts."""
    machine.relay_to(server := smtp_server(), rate='"2/h"')
    for count in (1, 1, 2):
        enqueue(machine, "u@b.example", count=count)
        machine.flush()
    held_back(machine.flush("--all"), 2)
    assert len(server.accepted) == 2 and len(machine.ids()) == 2
    assert taken(machine) == {"relay1": 2}


def test_each_relay_has_its_own_budget_and_one_is_for_all(machine: Machine, smtp_server: Start) -> None:
    """One that is used up holds back no other relay's mail; of the common one each takes its part."""
    a, b = smtp_server(), smtp_server()
    machine.configure(
        relay(url(a), recipient='["*@a.example"]', name='"a"', rate='"1/h"'),
        relay(url(b), name='"b"'),
        '[limits]\nrate = "4/h"',
    )
    enqueue(machine, "u@a.example", count=3)
    held_back(machine.flush(), 2)
    enqueue(machine, "u@b.example", count=5)
    held_back(machine.flush(), 2)
    assert (len(a.accepted), len(b.accepted)) == (1, 3)
    assert taken(machine) == {"a": 1, "": 4}


def test_a_message_counts_once_at_each_next_hop(machine: Machine, exchangers: Exchangers) -> None:
    """However many recipients it has there; what is held back at one goes on at another."""
    c, d = exchangers.start("c.example", 2), exchangers.start("d.example", 3)
    machine.configure(
        relay("mx", recipient='["*@c.example"]', name='"c"', rate='"1/h"'), relay("mx", name='"rest"'), exchangers.table
    )
    machine.flush()
    everyone = [f"u{number}@{name}.example" for name in "cd" for number in range(3)]
    for _ in range(2):
        put(Queue(machine.spool), everyone, sender="me@a.example", text=LAWFUL)
    machine.flush()
    assert [len(each.rcpt_to) for each in c.accepted] == [3]
    assert [len(each.rcpt_to) for each in d.accepted] == [3, 3]
    (one,) = machine.ids()
    assert time.time() + HOUR - 60 < machine.due(one) <= time.time() + HOUR + 60


def test_what_a_session_that_ended_before_did_not_take_is_given_back(machine: Machine, smtp_server: Start) -> None:
    """A server that has enough after each message costs the budget nothing."""

    def on(point: str, argument: bytes, session: Session) -> bytes | None:
        return b"421 4.3.2 one is enough" if point == "MAIL" and session.transactions else None

    machine.relay_to(server := smtp_server(on=on), rate='"5/h"', more="[limits]\nmax_connections_per_host = 1")
    enqueue(machine, "u@b.example", count=5)
    machine.flush()
    assert len(server.accepted) == 5 and machine.ids() == []
    assert taken(machine) == {"relay1": 5}


def test_a_rate_of_seconds_is_a_pace_and_puts_nothing_off(machine: Machine, smtp_server: Start) -> None:
    machine.relay_to(server := smtp_server(), rate='"4/s"')
    enqueue(machine, "u@b.example", count=9)
    began = time.monotonic()
    result = machine.flush()
    assert time.monotonic() - began >= 2
    assert len(server.accepted) == 9 and "held back" not in result.said
