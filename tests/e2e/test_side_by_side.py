"""Many commands at once on one spool: each message goes exactly once or is deleted, never both and never neither."""

import os
import re
import threading
from collections import Counter
from collections.abc import Callable

from tests.e2e.commands import Machine, Result
from tests.support.smtp_server import ScriptedServer

PASSES, MESSAGES, WRITERS = 5, 100, 4
_CALM = "[limits]\nmax_connections = 4"


def arrived(server: ScriptedServer) -> Counter[str]:
    """How often each message, by its Subject, was taken."""
    subjects: Counter[str] = Counter()
    for transaction in server.accepted:
        found = re.search(rb"^Subject: (\S+)\r$", transaction.content, re.MULTILINE)
        assert found
        subjects[found[1].decode()] += 1
    return subjects


def together(*works: Callable[[], object]) -> None:
    """Does all of this at once; what one of them raises is raised when all have ended."""
    raised: list[BaseException] = []

    def guarded(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if raised:
        raise raised[0]


def is_calm(result: Result, codes: tuple[int, ...] = (0, 66, 75)) -> None:
    """A command among others may find its message gone or busy, but nothing worse."""
    assert result.code in codes, result.errors
    assert "Traceback" not in result.errors
    assert "a bug of" not in result.errors


def test_two_flushes_at_once_send_each_of_50_messages_once(
    machine: Machine, smtp_server: Callable[..., ScriptedServer]
) -> None:
    """C-012, law 10."""
    server = smtp_server()
    machine.relay_to(server)
    for number in range(50):
        machine.enqueue(b"Subject: m%d\n\nx\n" % number, "you@b.example")
    together(machine.flush, machine.flush)
    machine.flush()  # what the second was told is on its way went with the first
    assert arrived(server) == {f"m{number}": 1 for number in range(50)}
    assert machine.ids() == []


def test_the_lock_of_a_killed_pass_holds_nobody_up(machine: Machine, smtp_server: Callable[..., ScriptedServer]) -> None:
    """C-012: the lock and the message in hand are free at once when their pass is gone; told what to do, a second pass that
    meets a living one says 75."""
    server = smtp_server()
    machine.relay_to(server)
    one = machine.enqueue(b"Subject: m\n\nx\n", "you@b.example")
    gate = server.gate("DATA")
    with machine.start("flush") as first:
        gate.wait_reached()
        assert machine.run("flush").code == 0
        assert machine.run("flush", "--fail-if-busy").code == 75
        assert machine.run("flush", "--all").code == 75
        for verb in ("hold", "retry", "delete"):
            busy = machine.run("queue", verb, one)
            assert busy.code == 75, busy.errors
            assert "being delivered now" in busy.errors
        first.process.kill()
        first.wait()
    gate.open()
    machine.flush()
    assert arrived(server) == {"m": 1}
    assert machine.ids() == []


def test_passes_enqueues_and_operators_at_once(  # noqa: PLR0915
    machine: Machine, smtp_server: Callable[..., ScriptedServer]
) -> None:
    """Laws 1 and 10, 2.4 (in hand): 5 passes, 100 enqueues and a stream of hold, release, retry and delete. What the delete
    commands said is gone never arrived, what arrived was never deleted, and the rest arrived once."""
    server = smtp_server(replies={"RCPT TO:<slow@": b"450 4.2.1 later"})
    machine.relay_to(server, more=_CALM)
    subjects: dict[str, str] = {}  # by queue id
    deleted: set[str] = set()
    enqueued = threading.Event()
    numbers = iter(range(MESSAGES))
    lock = threading.Lock()

    def write() -> None:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            recipient = "slow@b.example" if number % 3 else "fast@b.example"
            one = machine.enqueue(b"Subject: m%d\n\nx\n" % number, recipient)
            subjects[one] = f"m{number}"

    def relay() -> None:
        once_more = True
        while once_more:
            once_more = not enqueued.is_set()
            is_calm(machine.run("flush", "--all", "--wait", "20s"))

    def operate() -> None:
        once_more = True
        while once_more:
            once_more = not enqueued.is_set()
            is_calm(machine.run("queue", "hold", "--recipient", "slow@*"))
            ids = [line.split("\t")[0] for line in machine.run("queue", "list").output.decode().splitlines()]
            for one in ids[:2]:
                result = machine.run("queue", "delete", "--yes", one)
                is_calm(result)
                if "1 message deleted" in result.errors:
                    deleted.add(one)
            is_calm(machine.run("queue", "release", "--all"))
            is_calm(machine.run("queue", "retry", "--all"))

    def enqueue() -> None:
        try:
            together(*[write] * WRITERS)
        finally:
            enqueued.set()

    machine.flush()  # makes the spool: an operator's command says that there is none before
    together(enqueue, operate, operate, *[relay] * PASSES)
    is_calm(machine.run("queue", "release", "--all"), codes=(0,))
    server.replies.clear()
    machine.flush("--all")
    assert len(subjects) == MESSAGES
    expected = {subject: 1 for one, subject in subjects.items() if one not in deleted}
    assert deleted, "the operators never deleted anything, so this test shows nothing"
    assert arrived(server) == expected
    assert machine.ids() == []
    assert os.listdir(f"{machine.spool}/tmp") == os.listdir(f"{machine.spool}/corrupt") == []
    assert os.listdir(f"{machine.spool}/state") == []
