"""Getting connected: every address of a host, none of them waited for long, and the right word when none answers."""

import os
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from smartrelay.config import Timeouts
from smartrelay.smtp.connector import Address, Target, connect, interleaved
from smartrelay.smtp.dialogue import Answer, Phase, Trouble
from tests.smtp.scene import PATIENT, SHORT, Start, message, one, opened
from tests.support.process import free_port

V4, V6 = socket.AF_INET, socket.AF_INET6


def four(host: str) -> Address:
    return V4, (host, 25)


def six(host: str) -> Address:
    return V6, (host, 25, 0, 0)


@contextmanager
def listening(address: str = "127.0.0.1", port: int = 0) -> Iterator[socket.socket]:
    family = V6 if ":" in address else V4
    with socket.create_server((address, port), family=family) as listener:
        yield listener


@contextmanager
def dead(address: str, port: int) -> Iterator[None]:
    """An address that answers nothing, as behind a firewall: its queue of connections is full."""
    with ExitStack() as sockets:
        listener = sockets.enter_context(socket.socket())
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(0)
        fillers = [sockets.enter_context(socket.socket()) for _ in range(8)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex((address, port))
        yield


def resolving(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Makes the system's resolver give these addresses, in this order."""

    def found(host: str, port: int, **_: object) -> list[Any]:
        where = [six(address) if ":" in address else four(address) for address in addresses]
        return [(family, socket.SOCK_STREAM, 6, "", (place[0], port, *place[2:])) for family, place in where]

    monkeypatch.setattr(socket, "getaddrinfo", found)


def connected(port: int, timeouts: Timeouts = PATIENT, source: tuple[str, ...] = ()) -> tuple[str, str]:
    """The address that won, from which we came."""
    result = connect(Target("relay.example", port, source=source), timeouts)
    assert isinstance(result, socket.socket), result
    with result:
        return result.getpeername()[0], result.getsockname()[0]


def refused(target: Target, timeouts: Timeouts = PATIENT) -> Answer:
    result = connect(target, timeouts)
    assert isinstance(result, Answer)
    assert result.text.isprintable()
    return result


# The order


@pytest.mark.parametrize(
    ("found", "tried"),
    [
        ([], []),
        ([four("a")], [four("a")]),
        ([four("a"), four("b")], [four("a"), four("b")]),
        ([six("1"), six("2"), four("a")], [six("1"), four("a"), six("2")]),
        ([four("a"), six("1"), six("2"), four("b")], [four("a"), six("1"), four("b"), six("2")]),
        ([six("1"), six("2"), six("3"), four("a"), four("b")], [six("1"), four("a"), six("2"), four("b"), six("3")]),
    ],
)
def test_the_families_take_turns_each_in_the_resolvers_order(found: list[Address], tried: list[Address]) -> None:  # G-003
    assert interleaved(found) == tried


# The race


def test_the_first_address_that_answers_wins(monkeypatch: pytest.MonkeyPatch) -> None:  # G-003
    with listening("127.0.0.2") as one_, listening("127.0.0.3", one_.getsockname()[1]):
        resolving(monkeypatch, "127.0.0.2", "127.0.0.3")
        assert connected(one_.getsockname()[1])[0] == "127.0.0.2"


def test_an_address_that_refuses_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:  # G-003
    with listening("127.0.0.9") as listener:
        resolving(monkeypatch, *(f"127.0.0.{number}" for number in range(2, 10)))
        started = time.monotonic()
        assert connected(listener.getsockname()[1])[0] == "127.0.0.9"
        assert time.monotonic() - started < 1.0  # eight head starts would be 1.75 s


@pytest.mark.parametrize("count", [1, 2])
def test_an_address_that_says_nothing_costs_a_head_start_and_no_time_out(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    # G-003
    with ExitStack() as stack:
        listener = stack.enter_context(listening("127.0.0.9"))
        port = listener.getsockname()[1]
        for number in range(count):
            stack.enter_context(dead(f"127.0.0.{2 + number}", port))
        resolving(monkeypatch, *(f"127.0.0.{2 + number}" for number in range(count)), "127.0.0.9")
        started = time.monotonic()
        assert connected(port)[0] == "127.0.0.9"
        assert 0.2 * count < time.monotonic() - started < 0.5 * count


def test_a_family_that_is_dead_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:  # G-003
    """2001:db8:: is nowhere; whether the kernel says so or nobody answers."""
    with listening() as listener:
        resolving(monkeypatch, "2001:db8::1", "2001:db8::2", "127.0.0.1")
        started = time.monotonic()
        assert connected(listener.getsockname()[1])[0] == "127.0.0.1"
        assert time.monotonic() - started < 0.5


def test_ipv6_is_used_where_it_works(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening("::1") as listener:
        resolving(monkeypatch, "::1", "127.0.0.1")
        assert connected(listener.getsockname()[1])[0] == "::1"


def test_no_loser_of_the_race_stays_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening("127.0.0.9") as listener, dead("127.0.0.2", listener.getsockname()[1]):
        before = set(os.listdir("/proc/self/fd"))
        resolving(monkeypatch, "127.0.0.2", "127.0.0.9")
        connected(listener.getsockname()[1])
        assert set(os.listdir("/proc/self/fd")) <= before


# No connection


def test_when_all_refuse_the_first_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    resolving(monkeypatch, "127.0.0.2", "127.0.0.3")
    answer = refused(Target("relay.example", port))
    assert (answer.phase, answer.trouble) == (Phase.CONNECT, Trouble.NO_ROUTE)
    assert answer.text == f"connect to relay.example[127.0.0.2]:{port}: connection refused"


def test_when_nobody_answers_the_time_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:  # A-007 A-080
    """One limit for each address, side by side: two cost little more than one."""
    port = free_port()
    with dead("127.0.0.2", port), dead("127.0.0.3", port):
        resolving(monkeypatch, "127.0.0.2", "127.0.0.3")
        started = time.monotonic()
        answer = refused(Target("relay.example", port), Timeouts(connect=0.4))
        assert time.monotonic() - started < 1.2
    assert (answer.phase, answer.trouble) == (Phase.CONNECT, Trouble.TIMEOUT)
    assert answer.text == f"connect to relay.example[127.0.0.2]:{port}: connection timed out"


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_host_that_is_an_address_is_asked_of_nobody(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    def asked(*_: object, **__: object) -> object:
        raise AssertionError("somebody was asked")

    monkeypatch.setattr(socket, "getaddrinfo", asked)
    with listening(address) as listener:
        result = connect(Target(address, listener.getsockname()[1]), PATIENT)
        assert isinstance(result, socket.socket)
        with result:
            assert result.getpeername()[0] == address


def test_a_host_without_an_address_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch)
    answer = refused(Target("relay.example", 25))
    assert (answer.phase, answer.trouble) == (Phase.LOOKUP, Trouble.NO_HOST)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "x" * 64 + ".example", "a..b", ""])
def test_a_host_that_cannot_be_found_is_an_answer(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    look_up = socket.getaddrinfo

    def offline(name: str, port: int, **kinds: Any) -> object:
        if name.endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return look_up(name, port, **kinds)

    monkeypatch.setattr(socket, "getaddrinfo", offline)
    answer = refused(Target(host, free_port()))
    assert answer.trouble in (Trouble.NO_HOST, Trouble.NO_ROUTE)


def test_a_resolver_that_hangs_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    free = threading.Event()
    look_up = socket.getaddrinfo

    def hangs(*arguments: Any, **kinds: Any) -> object:
        free.wait()
        return look_up(*arguments, **kinds)

    monkeypatch.setattr(socket, "getaddrinfo", hangs)
    started = time.monotonic()
    answer = refused(Target("localhost", 25), Timeouts(lookup=SHORT))
    assert time.monotonic() - started < 20 * SHORT
    assert (answer.phase, answer.trouble, answer.text) == (Phase.LOOKUP, Trouble.TIMEOUT, "looking up host localhost timed out")
    free.set()
    for thread in threading.enumerate():
        if thread.name == "look up localhost":
            thread.join()


# Where from


def test_the_source_address_of_the_family_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening() as listener, listening("::1") as other:
        for source in (("127.0.0.7",), ("::1", "127.0.0.7"), ("127.0.0.7", "::1")):
            resolving(monkeypatch, "127.0.0.1")
            assert connected(listener.getsockname()[1], source=source) == ("127.0.0.1", "127.0.0.7")
        resolving(monkeypatch, "::1")
        assert connected(other.getsockname()[1], source=("127.0.0.7",)) == ("::1", "::1")


def test_a_source_address_that_is_not_ours_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, "127.0.0.1")
    answer = refused(Target("relay.example", 25, source=("192.0.2.1",)))
    assert (answer.phase, answer.trouble) == (Phase.CONNECT, Trouble.NO_NETWORK)


def test_descriptors_that_we_have_run_out_of_are_not_the_hosts_fault() -> None:
    """Law 5: or a busy pass would take its own limit for dead hosts."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        answer = refused(Target("127.0.0.1", 25))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert (answer.phase, answer.trouble) == (Phase.CONNECT, Trouble.NO_ROOM)
    assert answer.text == "connect to 127.0.0.1[127.0.0.1]:25: too many open files"


# Local sockets


def test_a_local_socket(smtp_server: Start, tmp_path: Path) -> None:
    path = f"{tmp_path}/lmtp"
    smtp_server(path=path)
    result = connect(Target("", path=path), PATIENT)
    assert isinstance(result, socket.socket)
    with result:
        assert result.family == socket.AF_UNIX and result.recv(100).startswith(b"220 ")


@pytest.mark.parametrize("name", ["missing", "file", "x" * 200])
def test_a_local_socket_that_is_none_is_an_answer(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    answer = refused(Target("", path=f"{tmp_path}/{name}"))
    assert (answer.phase, answer.trouble) == (Phase.CONNECT, Trouble.NO_ROUTE)
    assert str(tmp_path) in answer.text


@pytest.mark.parametrize(
    ("target", "text"),
    [(Target("h.example", 25), "h.example:25"), (Target("::1", 25), "[::1]:25"), (Target("", path="/run/x"), "/run/x")],
)
def test_a_target_as_logs_name_it(target: Target, text: str) -> None:
    assert str(target) == text


def test_the_peer_is_named_with_its_address(smtp_server: Start) -> None:  # G-003
    server = smtp_server()
    session = opened(server)
    assert session.peer == f"localhost[127.0.0.1]:{server.port}"
    assert one(session, message())[0].good
