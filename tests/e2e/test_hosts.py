"""`smartrelay hosts`: what is known of bad hosts, as a person and as a program sees it, and how it is forgotten."""

import json
import os
import pty
import re
import subprocess
import time
from functools import partial
from pathlib import Path

import pytest

from smartrelay.routing.bad_hosts import BadHosts
from smartrelay.spool.lock import hosts_lock
from tests.e2e.commands import SMARTRELAY, Machine, Result

MX, BACKUP, SOCKET = "mx.example.org:25", "backup.example.org:465", "/run/lmtp"
REASON = "connection refused"


@pytest.fixture
def spool(machine: Machine) -> str:
    """A spool with three bad hosts in its memory, as a pass leaves them."""
    machine.flush()  # makes the spool
    memory = BadHosts(f"{machine.spool}/hosts.json", partial(hosts_lock, machine.spool), warn=pytest.fail)
    for key in (MX, BACKUP, SOCKET):
        memory.mark_bad(key, REASON)
    assert memory.save()
    return machine.spool


def hosts(machine: Machine) -> list[str]:
    """The hosts that are listed."""
    result = machine.run("hosts", "list")
    assert (result.code, result.errors) == (0, "")
    return [line.split("\t")[0] for line in result.output.decode().splitlines()]


def said(result: Result, code: int, *lines: str) -> None:
    """It ended so, and these lines are all that it printed."""
    assert (result.code, result.output, result.errors.splitlines()) == (code, b"", [f"smartrelay: {line}" for line in lines])


def test_in_a_pipe_each_host_is_a_line_with_tabs(machine: Machine, spool: str) -> None:
    result = machine.run("hosts", "list")
    assert (result.code, result.errors) == (0, "")
    rows = [line.split("\t") for line in result.output.decode().splitlines()]
    assert [row[0] for row in rows] == [SOCKET, BACKUP, MX]
    for _, since, until, probe, failures, reason in rows:
        assert abs(int(since) - time.time()) < 60
        assert (int(probe) - int(since), int(until) - int(since), failures, reason) == (60, 3600, "1", REASON)


def test_as_json_each_host_is_an_object_on_a_line(machine: Machine, spool: str) -> None:
    result = machine.run("hosts", "list", "--json")
    assert (result.code, result.errors) == (0, "")
    found = [json.loads(line) for line in result.output.splitlines()]
    assert [each["host"] for each in found] == [SOCKET, BACKUP, MX]
    since = found[0]["since"]
    assert found[0] == {
        "host": SOCKET,
        "reason": REASON,
        "since": since,
        "until": since + 3600,
        "probe": since + 60,
        "failures": 1,
    }


def terminal(machine: Machine, *arguments: str) -> str:
    """What the command shows on a terminal."""
    ours, theirs = pty.openpty()
    environment = {**machine.environment, "COLUMNS": "100", "TERM": "xterm", "NO_COLOR": "1"}
    done = subprocess.run([SMARTRELAY, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=environment, check=False)
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 1 << 16):
            shown += piece
    except OSError:  # how a terminal without the other side ends
        pass
    os.close(ours)
    assert done.returncode == 0, shown
    return re.sub(r"\x1b\[[\d;]*m", "", shown.decode())


def test_on_a_terminal_it_is_a_table(machine: Machine, spool: str) -> None:
    shown = terminal(machine, "hosts", "list").splitlines()
    assert shown[0].split() == ["Host", "Bad", "for", "Failures", "Next", "probe", "For", "another", "Why"]
    assert [line.split()[0] for line in shown[1:4]] == [SOCKET, BACKUP, MX]
    assert all(REASON in line for line in shown[1:4])
    assert shown[4:] == ["3 hosts"]
    machine.run("hosts", "reset")
    assert terminal(machine, "hosts", "list").splitlines() == ["No host is known to be bad."]


def test_what_a_server_said_is_no_markup(machine: Machine, spool: str) -> None:
    memory = BadHosts(f"{spool}/hosts.json", partial(hosts_lock, spool), warn=pytest.fail)
    memory.mark_bad("[::1]:25", "[red]421[/red] [/] no")
    assert memory.save()
    shown = terminal(machine, "hosts", "list")
    assert "[::1]:25" in shown and "[red]421[/red] [/] no" in shown


def test_without_a_bad_host_nothing_is_listed_and_nothing_is_made(machine: Machine) -> None:
    machine.flush()
    before = machine.tree()
    for arguments in (("list",), ("list", "--json")):
        said(machine.run("hosts", *arguments), 0)
    said(machine.run("hosts", "reset"), 0, "0 hosts forgotten")
    assert machine.tree() == before


def test_reset_forgets_all(machine: Machine, spool: str) -> None:
    said(machine.run("hosts", "reset"), 0, "3 hosts forgotten")
    assert hosts(machine) == []


def test_reset_forgets_those_that_are_named(machine: Machine, spool: str) -> None:
    said(machine.run("hosts", "reset", "MX.example.org"), 0, "1 host forgotten")
    assert hosts(machine) == [SOCKET, BACKUP]
    said(machine.run("hosts", "reset", SOCKET, BACKUP, "-q"), 0)
    assert hosts(machine) == []


def test_an_unknown_host_is_66_after_the_others_were_dealt_with(machine: Machine, spool: str) -> None:
    unknown = "is not in the bad-host memory; `smartrelay hosts list` shows what is"
    said(machine.run("hosts", "reset", "mx.example.org:587", MX), 66, f"mx.example.org:587 {unknown}", "1 host forgotten")
    assert hosts(machine) == [SOCKET, BACKUP]
    said(machine.run("hosts", "reset", ""), 66, f"'' {unknown}", "0 hosts forgotten")  # a script's variable that is not set


def test_garbage_is_set_aside_and_said(machine: Machine, spool: str) -> None:  # C-010
    Path(spool, "hosts.json").write_bytes(b"\0garbage\n")
    listed = machine.run("hosts", "list")
    path = f"{spool}/hosts.json"
    said(listed, 0, f"{path} is not JSON in ASCII; it was set aside as {path}.bad, and no host counts as bad")
    assert Path(f"{path}.bad").read_bytes() == b"\0garbage\n"
    assert hosts(machine) == []


def test_a_memory_that_cannot_be_written_is_74(machine: Machine, spool: str) -> None:
    os.mkdir(f"{spool}/hosts.json.tmp")
    result = machine.run("hosts", "reset")
    assert result.code == 74
    assert result.errors.splitlines()[-1] == "smartrelay: the bad-host memory is as it was"
    assert f"cannot write {spool}/hosts.json: " in result.errors and "forgotten" not in result.errors
    assert hosts(machine) == [SOCKET, BACKUP, MX]


def test_the_memory_of_another_spool_is_looked_at_where_one_is_named(machine: Machine, spool: str) -> None:
    """Both with the common options, before and behind the command's name."""
    environment = {"SMARTRELAY_SPOOL": "/nowhere"}
    for arguments in (("--spool", spool, "hosts", "list"), ("hosts", "list", "--spool", spool)):
        result = machine.run(*arguments, env=environment)
        assert result.code == 0 and result.output.count(b"\n") == 3
    said(machine.run("hosts", "list", env=environment), 78, "there is no spool at /nowhere")


def test_a_wrong_configuration_does_not_keep_anybody_from_the_memory(machine: Machine, spool: str) -> None:
    machine.configure("[[relay]]\nhostz = 1")
    assert hosts(machine) == [SOCKET, BACKUP, MX]
    said(machine.run("hosts", "reset"), 0, "3 hosts forgotten")


def test_help_names_it(machine: Machine) -> None:
    assert b"hosts" in machine.run("--help").output
    shown = machine.run("hosts", "reset", "--help")
    assert shown.code == 0 and b"smartrelay hosts reset mx1.example.org:25" in shown.output
