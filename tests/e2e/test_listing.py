"""The queue as people and monitoring see it: on terminals, in pipes, through the real `check_mailq`, as `postqueue -j`."""

import fcntl
import json
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.commands import DOMAIN, SMARTRELAY, Machine, relay
from tests.support import debian

ME, YOU = f"me@{DOMAIN}", "you@b.example"
X = b"Subject: x\n\nbody\n"
PLUGINS = "usr/lib/nagios/plugins"


def on_terminal(machine: Machine, width: int, *arguments: str, **variables: str) -> str:
    """What a terminal of this width is shown."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    environment = {**machine.environment, "TERM": "xterm-256color", **variables}
    process = subprocess.Popen([SMARTRELAY, *arguments], stdin=theirs, stdout=theirs, env=environment)
    os.close(theirs)
    shown = bytearray()
    while True:
        try:
            block = os.read(ours, 1 << 16)
        except OSError:  # nobody has the other side any more
            break
        shown += block
    os.close(ours)
    assert process.wait() == 0
    return shown.decode().replace("\r\n", "\n")


def put_off(machine: Machine) -> list[str]:
    """One message that was put off, one that is new, one that is held; their ids."""
    machine.configure(relay("smtp://127.0.0.1:1"))
    first = machine.enqueue(X, "-f", ME, YOU, "other@b.example")
    machine.flush()
    second = machine.enqueue(X, "-f", ME, YOU)
    third = machine.enqueue(X, "-f", "<>", YOU)
    assert machine.run("queue", "hold", third).code == 0
    return [first, second, third]


def timeless(shown: str) -> str:
    """A table without ages, and without the blanks whose number goes with theirs."""
    return re.sub(r" +", " ", re.sub(r" *\d+[sm]", " _", shown))


@pytest.mark.parametrize("width", [80, 160])
def test_a_terminal_gets_a_table_that_fits_in_colours(machine: Machine, width: int) -> None:
    """2.1: age, size, sender, recipients, state, next attempt, reason."""
    ids = put_off(machine)
    shown = on_terminal(machine, width, "queue", "list")
    plain = on_terminal(machine, width, "queue", "list", NO_COLOR="1")
    assert "\x1b[35mheld" in shown and "\x1b" not in plain
    without_colour = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert timeless(without_colour) == timeless(plain), "but for a second that has gone by"
    lines = plain.splitlines()
    assert max(map(len, lines)) <= width
    assert [line[:17] for line in lines if line[:1] == "2"] == ids
    assert re.search(rf"^{ids[0]} +\d+s +\d+ +in \d+[sm] +{ME} +{YOU} \+1\b", plain, re.MULTILINE)
    assert "connection refused" in plain
    assert lines[-1].startswith("3 messages, ") and lines[-1].endswith(": 1 new, 1 waiting, 1 held")


def test_sorted_filtered_and_reversed_in_every_form(machine: Machine) -> None:
    first, second, third = put_off(machine)
    for form in ((), ("--json",)):
        listed = machine.run("queue", "list", "--sort", "state", "--reverse", *form).output.decode()
        assert re.findall("|".join((first, second, third)), listed) == [third, first, second]
        held = machine.run("queue", "list", "--state", "held", "--sender", "<>", *form).output.decode()
        assert third in held and first not in held and len(held.splitlines()) == 1
    refused = machine.run("queue", "list", "--sort", "colour")
    assert refused.code == 64 and "colour" in refused.said and len(refused.said.splitlines()) == 1


def test_an_old_terminal_and_a_name_that_it_cannot_show(machine: Machine) -> None:
    """Whatever cannot be encoded is shown as its escape; nothing fails."""
    machine.enqueue(X, "-f", "björn@a.example", "田中@b.example")
    for arguments in (("queue", "list"), ("mailq",), ("queue", "list", "--json")):
        result = machine.run(*arguments, env={"PYTHONIOENCODING": "ascii"})
        assert (result.code, result.errors) == (0, "") and b"rn@a.example" in result.output
    assert "rn@a.example" in on_terminal(machine, 80, "queue", "list", PYTHONIOENCODING="ascii")


class Plugin:
    """Debian's check_mailq, built as for a machine whose mailq is ours: the path of mailq stands in its utils.pm."""

    def __init__(self, folder: Path, machine: Machine) -> None:
        self._machine = machine
        self._plugins = folder / "plugins"
        source = debian.program("monitoring", PLUGINS)
        self._plugins.mkdir()
        shutil.copy(f"{source}/check_mailq", self._plugins)
        self._mailq = folder / "mailq"
        utils = Path(source, "utils.pm").read_text(encoding="utf-8")
        (self._plugins / "utils.pm").write_text(utils.replace("/usr/bin/mailq", str(self._mailq)), encoding="utf-8")

    def check(self, mailer: str, *arguments: str) -> tuple[int, str]:
        """Exit code and what it says, with limits of 2 and 3 messages."""
        self._mailq.unlink(missing_ok=True)
        if mailer == "sendmail":
            link = self._mailq.with_name("ours")
            link.mkdir(exist_ok=True)
            if not (link / "mailq").is_symlink():
                (link / "mailq").symlink_to(self._door())
            self._mailq.write_text(f'#!/bin/sh\nexec "{link}/mailq" --format sendmail\n')
            self._mailq.chmod(0o755)
        else:
            self._mailq.symlink_to(self._door())
        command = ["perl", str(self._plugins / "check_mailq"), "-M", mailer, "-w", "2", "-c", "3", *arguments]
        done = subprocess.run(command, env=self._machine.environment, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout.strip()

    def _door(self) -> Path:
        """A program that is called by the name of the link to it, as the one that `setup` makes."""
        door = self._mailq.with_name("door")
        door.write_text(f"#!{sys.executable}\nfrom smartrelay.door import main\nmain()\n")
        door.chmod(0o755)
        return door


@pytest.mark.parametrize("mailer", ["postfix", "sendmail"])
def test_the_real_check_mailq_counts_what_is_there(machine: Machine, tmp_path: Path, mailer: str) -> None:
    plugin = Plugin(tmp_path, machine)
    code, said = plugin.check(mailer)
    assert code == 0 and f"OK: {mailer} mailq" in said and "unsent=0;2;3;0" in said
    machine.configure(relay("smtp://127.0.0.1:1"))
    expected = {1: (0, "OK", "below"), 2: (1, "WARNING", "is 2"), 3: (2, "CRITICAL", "is 3")}
    for count, (code, word, how) in expected.items():
        machine.enqueue(X, "-f", ME, YOU, "other@b.example")
        machine.flush() if count == 1 else None
        found, said = plugin.check(mailer)
        assert found == code and said.startswith(f"{word}: {mailer} mailq") and how in said
        assert f"unsent={count};2;3;0" in said


def test_the_real_check_mailq_finds_the_domain_that_too_much_comes_from(machine: Machine, tmp_path: Path) -> None:
    for _ in range(2):
        machine.enqueue(X, "-f", "cron@deep.host.example", YOU)
    code, said = Plugin(tmp_path, machine).check("sendmail", "-w", "8", "-c", "9", "-W", "2", "-C", "3")
    assert code == 1 and "2 messages in queue FROM host.example" in said


# What Postfix's postqueue(1) says of `postqueue -j`, member by member, with the type of each.
MEMBERS = {
    "queue_name": str,
    "queue_id": str,
    "arrival_time": int,
    "message_size": int,
    "forced_expire": bool,
    "sender": str,
    "recipients": list,
}


def parsed(output: bytes) -> list[dict[str, Any]]:
    """A program that reads `postqueue -j`: one object a line, the documented members, others ignored."""
    messages = [json.loads(line) for line in output.decode("ascii").splitlines()]
    for message in messages:
        assert {name: type(message[name]) for name in MEMBERS} == MEMBERS
        assert message["queue_name"] in ("maildrop", "incoming", "active", "deferred", "hold", "corrupt")
        for recipient in message["recipients"]:
            assert type(recipient["address"]) is str
            assert type(recipient.get("delay_reason", "")) is str
    return [{name: message[name] for name in MEMBERS} for message in messages]


def test_a_program_made_for_postqueue_j_reads_ours(machine: Machine) -> None:
    """2.5: Postfix's members."""
    assert parsed(machine.run("queue", "list", "--json").output) == []
    first, second, third = put_off(machine)
    for more in ((), ("--sort", "age")):  # with and without the parser of the command line
        found = parsed(machine.run("queue", "list", "--json", *more).output)
        assert [message["queue_id"] for message in found] == [first, second, third]
        assert [message["queue_name"] for message in found] == ["deferred", "incoming", "hold"]
        assert [message["sender"] for message in found] == [ME, ME, "MAILER-DAEMON"]
        assert [len(message["recipients"]) for message in found] == [2, 1, 1]
        assert "connection refused" in found[0]["recipients"][0]["delay_reason"]
        assert "delay_reason" not in found[1]["recipients"][0]
