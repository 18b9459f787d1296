"""A machine without a network, or without any resolver: the pass ends at once, says so once, and nothing has happened to the
mail."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.commands import SMARTRELAY, Machine, Result, relay
from tests.support.place import recipients
from tests.support.process import free_port
from tests.support.smtp_server import ScriptedServer

Start = Callable[..., ScriptedServer]

X = b"Subject: x\n\nhello\n"
ME = ("-f", "me@a.example")
YOU = "you@b.example"

APART = ("unshare", "-n") if os.geteuid() == 0 else ("unshare", "-rn")
"""Runs a command in a network of its own, which has nothing but a loopback interface that is down."""


@pytest.fixture
def socket_path() -> Iterator[str]:
    """A name for a socket, which must be short."""
    folder = tempfile.mkdtemp(prefix="sr-")
    yield f"{folder}/s"
    shutil.rmtree(folder)


def offline_pass(machine: Machine, *arguments: str) -> Result:
    """A pass without a network; nothing is waited for."""
    began = time.monotonic()
    with machine.start_program(*APART, SMARTRELAY, "flush", *arguments) as running:
        result = running.wait()
    assert time.monotonic() - began < 4  # the shortest wait for anything would be one of 30 s
    assert result.code == 0, result.errors
    return result


def untouched(machine: Machine, result: Result, *ids: str) -> None:
    """Said once, no attempt counted, nothing bounced, nothing remembered of any host; all of it is due as it was."""
    assert result.said.count("offline, no attempt is counted") == 1
    assert result.errors.count("offline") == 2  # once to the person, once to the log
    assert os.listdir(f"{machine.spool}/state") == []
    assert machine.ids() == sorted(ids)
    assert all(machine.due(one) <= time.time() for one in ids)
    assert machine.run("hosts", "list").output == b""


@pytest.mark.parametrize(
    "host",
    ["smtp://relay.example", "smtps://192.0.2.1", "smtp+tls://[2001:db8::1]", "mx", "mx+smtp+tls://relay.example"],
)
def test_without_a_network_nothing_is_an_attempt(machine: Machine, host: str) -> None:
    machine.configure(relay(host))
    ids = [machine.enqueue(X, *ME, f"u{number}@d{number}.example") for number in range(3)]
    untouched(machine, offline_pass(machine), *ids)
    untouched(machine, offline_pass(machine), *ids)
    untouched(machine, offline_pass(machine, "--all"), *ids)


def test_several_hosts_are_one_network(machine: Machine) -> None:
    """By name and by address, in groups, for several rules."""
    machine.configure(
        relay("smtp://192.0.2.1", "smtp://relay.example", recipient='["*@b.example"]'),
        '[[relay]]\nhosts = [["smtp://192.0.2.2", "smtp://192.0.2.3"], "smtp://[2001:db8::1]"]\n',
    )
    ids = [machine.enqueue(X, *ME, YOU, "u@c.example") for _ in range(2)]
    untouched(machine, offline_pass(machine), *ids)


def test_what_needs_no_network_goes(machine: Machine, socket_path: str, smtp_server: Start) -> None:
    """A relay at a local socket; the other rule's mail stays as it was, in the same message too."""
    here = smtp_server(lmtp=True, path=socket_path)
    machine.configure(relay(f"lmtp://{socket_path}", recipient='["*@here.example"]'), relay("smtp://192.0.2.1"))
    machine.enqueue(X, *ME, "u@here.example")
    away, both = machine.enqueue(X, *ME, YOU), machine.enqueue(X, *ME, "v@here.example", YOU)
    result = offline_pass(machine)
    assert recipients(here) == ["u@here.example", "v@here.example"]
    assert result.said.count("offline") == 1 and "deferred (" not in result.errors
    assert machine.ids() == sorted([away, both])
    assert os.listdir(f"{machine.spool}/state") == [both]
    shown = machine.run("queue", "show", both).output.decode()
    assert "<you@b.example>: not tried yet" in shown


def test_what_comes_back_is_used_by_the_next_pass(machine: Machine, smtp_server: Start) -> None:
    """Nobody was marked as bad for our own trouble."""
    machine.relay_to(server := smtp_server())
    one = machine.enqueue(X, *ME, YOU)
    untouched(machine, offline_pass(machine), one)
    machine.flush()
    assert recipients(server) == [YOU]


def test_without_any_resolver_mail_by_exchangers_stays_and_the_rest_goes(machine: Machine, smtp_server: Start) -> None:
    """There is a network, but nobody answers where the name servers should be."""
    server = smtp_server()
    closed = f'[mx]\nnameservers = ["127.0.0.1:{free_port()}", "127.0.0.2:{free_port()}"]'
    machine.configure(relay(f"smtp://127.0.0.1:{server.port}", recipient='["*@here.example"]'), relay("mx"), closed)
    ids = [machine.enqueue(X, *ME, f"u@{domain}.example") for domain in ("here", "d", "e")]
    began = time.monotonic()
    result = machine.flush()
    assert time.monotonic() - began < 4
    untouched(machine, result, *ids[1:])
    assert recipients(server) == ["u@here.example"]


def test_without_any_resolver_a_relay_that_is_known_by_name_costs_no_attempt(machine: Machine, smtp_server: Start) -> None:
    """The system's resolver, with a name server where nobody is; a relay that is known by its address takes its mail."""
    server = smtp_server()
    machine.configure(relay(f"smtp://127.0.0.1:{server.port}", recipient='["*@here.example"]'), relay("smtp://relay.example"))
    ids = [machine.enqueue(X, *ME, f"u@{domain}.example") for domain in ("here", "d", "e")]
    resolv_conf = f"{machine.folder}/resolv.conf"
    with open(resolv_conf, "w", encoding="ascii") as file:
        file.write("nameserver 127.0.0.99\n")
    program = f'mount --bind "{resolv_conf}" /etc/resolv.conf && exec "{SMARTRELAY}" flush'
    own_files = ("unshare", "-m") if os.geteuid() == 0 else ("unshare", "-rm")
    with machine.start_program(*own_files, "sh", "-c", program) as running:
        result = running.wait()
    untouched(machine, result, *ids[1:])
    assert recipients(server) == ["u@here.example"]
