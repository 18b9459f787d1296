"""SIGTERM and Ctrl-C at any moment: nothing is lost, and the process dies by the signal."""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.commands import SENDMAIL, Machine, relay
from tests.support.smtp_server import ScriptedServer

Start = Callable[..., ScriptedServer]

X = b"Subject: x\n\nhello\n"
ME = ("-f", "me@a.example")
YOU = "you@b.example"
AT_ONCE = 8.0
"""Seconds: less than the ten that a final dot would get."""

BOTH = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)


def assert_nothing_lost(machine: Machine, server: ScriptedServer, ids: list[str]) -> None:
    """All these messages are in the queue, and go to a server that takes them."""
    assert machine.ids("cur", "new") == ids
    machine.relay_to(server)
    machine.make_due()
    machine.flush()
    assert len(server.accepted) == len(ids)
    assert machine.ids() == []


@BOTH
def test_the_idle_loop_ends_at_once(machine: Machine, smtp_server: Start, number: signal.Signals) -> None:
    machine.relay_to(server := smtp_server())
    machine.enqueue(X, *ME, YOU)
    with machine.start("flush", "--every", "1h") as running:
        running.wait_for_error("1 sent, 0 deferred, 0 bounced; 0 messages waiting\n")
        running.signal(number)
        assert running.wait(AT_ONCE).code == -number
    assert len(server.accepted) == 1


@BOTH
@pytest.mark.parametrize("loop", [(), ("--every", "1h")], ids=["once", "every"])
@pytest.mark.parametrize("point", ["GREETING", "EHLO"])
def test_a_server_that_hangs_before_any_message_holds_nobody_up(
    machine: Machine, smtp_server: Start, number: signal.Signals, point: str, loop: tuple[str, ...]
) -> None:
    """No transaction has begun: there is nothing to wait for."""
    machine.relay_to(server := smtp_server())
    gate = server.gate(point)
    ids = [machine.enqueue(X, *ME, YOU)]
    with machine.start("flush", *loop) as running:
        gate.wait_reached()
        running.signal(number)
        assert running.wait(AT_ONCE).code == -number
    assert_nothing_lost(machine, smtp_server(), ids)


def test_a_connection_that_never_comes_about_holds_nobody_up(machine: Machine, smtp_server: Start) -> None:
    """Neither does a thread in the system's calls: a full backlog keeps `connect` waiting."""
    with deaf_port() as port:
        machine.configure(relay(f"smtp://127.0.0.1:{port}"))
        ids = [machine.enqueue(X, *ME, YOU)]
        with machine.start("flush") as running:
            running.wait_for_socket()
            running.signal(signal.SIGTERM)
            assert running.wait(AT_ONCE).code == -signal.SIGTERM
    assert_nothing_lost(machine, smtp_server(), ids)


@contextmanager
def deaf_port() -> Iterator[int]:
    """A port on which connections are neither accepted nor refused."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port: int = listener.getsockname()[1]
        callers = [socket.socket() for _ in range(3)]
        for caller in callers:
            caller.setblocking(False)
            caller.connect_ex(("127.0.0.1", port))
        yield port
        for caller in callers:
            caller.close()


@BOTH
@pytest.mark.parametrize("point", ["MAIL", "DATA"])
def test_a_transaction_before_its_dot_may_finish(
    machine: Machine, smtp_server: Start, number: signal.Signals, point: str
) -> None:
    """A server that answers within the ten seconds gets the message, or it stays in the queue: never both, never neither."""
    machine.relay_to(server := smtp_server())
    gate = server.gate(point)
    one = machine.enqueue(X, *ME, YOU)
    with machine.start("flush") as running:
        gate.wait_reached()
        running.signal(number)
        gate.open()
        assert running.wait(AT_ONCE).code == -number
    assert len(server.accepted) == (machine.ids() == [])
    assert machine.ids() in ([], [one])


@pytest.mark.parametrize("point", ["MAIL", "DATA"])
def test_a_hung_server_before_the_dot_and_a_second_signal(machine: Machine, smtp_server: Start, point: str) -> None:
    """It ends at once; nothing was sent, so there is no doubt, and the message waits."""
    machine.relay_to(server := smtp_server())
    gate = server.gate(point)
    ids = [machine.enqueue(X, *ME, YOU)]
    with machine.start("flush") as running:
        gate.wait_reached()
        running.signal(signal.SIGTERM)
        running.signal(signal.SIGINT)
        result = running.wait(AT_ONCE)
    assert result.code in (-signal.SIGTERM, -signal.SIGINT)
    assert "delivered twice" not in result.errors
    assert_nothing_lost(machine, smtp_server(), ids)


@BOTH
def test_a_final_dot_in_flight_is_waited_for(machine: Machine, smtp_server: Start, number: signal.Signals) -> None:
    """Answered within ten seconds: delivered, and out of the queue; no new transaction begins."""
    machine.relay_to(server := smtp_server(), more="[limits]\nmax_connections = 1")
    gate = server.gate("DOT")
    first, second = machine.enqueue(X, *ME, YOU), machine.enqueue(X, *ME, YOU)
    with machine.start("flush") as running:
        gate.wait_reached()
        running.signal(number)
        # Work that takes longer than the pass needs to see the signal; the dot is waited for all the while.
        for arguments in (["list"], ["show", first], ["show", second], ["list", "--json"]):
            assert machine.run("queue", *arguments).code == 0
        gate.open()
        result = running.wait(AT_ONCE)
    assert result.code == -number
    result.line(first, "status=sent")
    assert len(server.accepted) == 1
    assert machine.ids("cur") == machine.ids() == [second]
    assert "1 sent, 0 deferred, 0 bounced; 1 message waiting" in result.said
    assert "status=deferred" not in result.errors


def test_a_final_dot_that_is_never_answered_is_in_doubt(machine: Machine, smtp_server: Start) -> None:
    """After the second signal it ends at once: deferred, with the word that it may arrive twice."""
    machine.relay_to(server := smtp_server())
    gate = server.gate("DOT")
    ids = [machine.enqueue(X, *ME, YOU)]
    with machine.start("flush") as running:
        gate.wait_reached()
        running.signal(signal.SIGTERM)
        running.signal(signal.SIGINT)
        result = running.wait(AT_ONCE)
    assert result.code in (-signal.SIGTERM, -signal.SIGINT)
    result.line(ids[0], "status=deferred", "stopped", "delivered twice")
    assert "(1 of the deferred may have arrived)" in result.said
    assert machine.due(ids[0]) > 1
    assert_nothing_lost(machine, smtp_server(), ids)


def test_verdicts_that_were_reached_before_the_signal_stand(machine: Machine, smtp_server: Start) -> None:
    """A recipient that was delivered before is not tried again."""
    quick, hung = smtp_server(), smtp_server()
    gate = hung.gate("DATA")
    machine.configure(
        relay(f"smtp://127.0.0.1:{hung.port}", recipient='["*@hung.example"]'), relay(f"smtp://127.0.0.1:{quick.port}")
    )
    ids = [machine.enqueue(X, *ME, "a@quick.example", "b@hung.example")]
    with machine.start("flush") as running:
        gate.wait_reached()
        running.wait_for_error("status=sent")
        running.signal(signal.SIGTERM)
        running.signal(signal.SIGINT)
        running.wait(AT_ONCE)
    assert_nothing_lost(machine, after := smtp_server(), ids)
    assert [each.recipients for each in after.accepted] == [[b"<b@hung.example>"]]
    assert len(quick.accepted) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda number: number.name)
def test_a_message_that_is_handed_in_half_is_not_taken(machine: Machine, number: signal.Signals) -> None:
    """`smartrelay-sendmail` killed while it reads: not 0, nothing queued, nothing left over."""  # D-086
    read, write = os.pipe()
    with machine.start_program(SENDMAIL, *ME, YOU, text=read) as running:
        os.close(read)
        # More than a pipe holds: when all is written, the command has begun its draft.
        os.write(write, X)
        for _ in range(8):
            os.write(write, b"x" * 60 + b"\n" + b"y" * 65475)
        running.signal(number)
        result = running.wait(AT_ONCE)
    os.close(write)
    assert result.code == 75
    assert "nothing was accepted" in result.errors
    assert machine.ids("tmp", "new", "cur", "hold", "corrupt") == []
