"""What is synced when, as the kernel saw it: process death keeps the page cache, so only the order of calls shows it.

The commands run under strace; a call that it makes fail is one that the kernel never did.
"""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.commands import SENDMAIL, SMARTRELAY, Machine, Result, relay
from tests.support.smtp_server import ScriptedServer

CALLS = "openat,write,pwrite64,fsync,fdatasync,rename,renameat,renameat2,link,linkat,unlink,unlinkat,sendto,exit_group"
MIXED = {"RCPT TO:<bad@": b"550 5.1.1 no", "RCPT TO:<later@": b"450 4.2.1 later"}
_CALL = re.compile(r"^\d+ +(\w+)\((.*)\) += (-?\d+)")
_LEFT = re.compile(r"^(\d+) +(\w+\(.*) <unfinished \.\.\.>$")
_BACK = re.compile(r"^(\d+) +<\.\.\. \w+ resumed>(.*)$")
_PATH = re.compile(r'<([^<>]*)>|"([^"]*)"')


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A private machine with the installed commands."""
    return Machine(tmp_path)


@dataclass(frozen=True)
class Call:
    """A system call that succeeded. paths: below the spool, in the order of the arguments."""

    name: str
    paths: tuple[str, ...]
    arguments: str

    def __str__(self) -> str:
        return f"{self.name} {' '.join(self.paths)}"


def trace(machine: Machine, program: str, *arguments: str, text: bytes = b"", inject: str = "") -> tuple[Result, list[Call]]:
    """Runs a program; how it ended, and its calls in the spool, in order, with those on the network and the exit."""
    path = os.path.join(machine.folder, "strace")
    options = ["-f", "-y", "-s", "200", "-o", path, "-e", f"trace={CALLS}", *(["-e", f"inject={inject}"] if inject else [])]
    with machine.start_program("strace", *options, program, *arguments, text=text) as running:
        result = running.wait()
    with open(path, encoding="utf-8", errors="replace") as lines:
        return result, list(_calls(lines, machine.spool))


def _calls(lines: Iterator[str], spool: str) -> Iterator[Call]:
    unfinished: dict[str, str] = {}
    for line in lines:
        line = line.rstrip("\n")
        if left := _LEFT.match(line):
            unfinished[left[1]] = left[2]
            continue
        if (back := _BACK.match(line)) and back[1] in unfinished:
            line = f"{back[1]} {unfinished.pop(back[1])}{back[2]}"
        found = _CALL.match(line)
        if not found:
            if "exit_group(" in line:
                yield Call("exit_group", (), line.partition("(")[2].partition(")")[0])
            continue
        if int(found[3]) < 0:
            continue
        named = [first or second for first, second in _PATH.findall(found[2])]
        paths = tuple(each.removeprefix(f"{spool}/") for each in named if each.startswith(f"{spool}/"))
        if paths or found[1] == "sendto":
            yield Call(found[1], paths, found[2])


def place(calls: list[Call], name: str, what: Callable[[Call], bool], after: int = -1) -> int:
    """Where the first call of this name and kind is behind `after`."""
    for number, call in enumerate(calls):
        if number > after and call.name in name.split() and what(call):
            return number
    raise AssertionError(f"no {name} behind {after} in:\n" + "\n".join(map(str, calls)))


def on(path: str) -> Callable[[Call], bool]:
    """Whether a call's first path is, or begins with, this."""
    return lambda call: bool(call.paths) and call.paths[0].startswith(path)


def exactly(path: str) -> Callable[[Call], bool]:
    """Whether a call is on this path."""
    return lambda call: call.paths[:1] == (path,)


@pytest.mark.parametrize("size", [100, 300_000])
def test_sendmail_says_yes_after_file_and_directory_are_synced(machine: Machine, size: int) -> None:
    """Law 1, C-001: the last write, fsync of the file, rename into new/, fsync of new/, exit 0."""
    result, calls = trace(machine, SENDMAIL, "you@b.example", text=b"Subject: x\n\n" + b"line\n" * (size // 5))
    assert result.code == 0, result.errors
    (one,) = machine.ids("new")
    written = max(n for n, call in enumerate(calls) if call.name in ("write", "pwrite64") and exactly(f"tmp/{one}")(call))
    synced = place(calls, "fsync", exactly(f"tmp/{one}"), written)
    renamed = place(calls, "rename renameat", exactly(f"tmp/{one}"), synced)
    assert calls[renamed].paths[1] == f"new/{one}"
    done = place(calls, "fsync", exactly("new"), renamed)
    place(calls, "exit_group", lambda call: call.arguments == "0", done)


def test_a_new_spool_is_durable_before_it_is_relied_on(machine: Machine) -> None:
    """Law 1: the directories are synced before `format`, which says that they are there, and the spool's own name too."""
    _, calls = trace(machine, SENDMAIL, "you@b.example", text=b"Subject: x\n\nx\n")
    written = place(calls, "fsync", on("tmp/format"))
    renamed = place(calls, "rename renameat", lambda call: call.paths[1:] == ("format",), written)
    (one,) = machine.ids("new")
    place(calls, "openat", exactly(f"tmp/{one}"), renamed)
    with open(os.path.join(machine.folder, "strace"), encoding="utf-8", errors="replace") as file:
        lines = file.read().splitlines()
    own = next(n for n, line in enumerate(lines) if "fsync(" in line and f"<{machine.folder}>" in line)
    directories = next(n for n, line in enumerate(lines) if "fsync(" in line and f"<{machine.spool}>" in line)
    formatted = next(n for n, line in enumerate(lines) if "rename" in line and "/format" in line)
    again = next(n for n, line in enumerate(lines) if n > formatted and "fsync(" in line and f"<{machine.spool}>" in line)
    assert own < formatted
    assert directories < formatted < again


def test_a_pass_writes_verdicts_in_the_lawful_order(machine: Machine, smtp_server: Callable[..., ScriptedServer]) -> None:
    """Law 3, C-014: room for verdicts before the mail goes; verdict with its bounce durable; the bounce durable in new/;
    "bounced" durable; unlink; cur/ synced; the journal unlinked."""
    machine.relay_to(smtp_server(replies=MIXED))
    one = machine.enqueue(b"Subject: x\n\nx\n", "ok@b.example", "bad@b.example")
    result, calls = trace(machine, SMARTRELAY, "flush")
    assert result.code == 0, result.errors
    journal = f"state/{one}"
    reserved = place(calls, "fdatasync", exactly(journal))
    reserved_name = place(calls, "fsync", exactly("state"), reserved)
    sent = place(calls, "sendto write", lambda call: b"MAIL FROM" in call.arguments.encode(), reserved_name)
    verdict = place(calls, "pwrite64", lambda call: exactly(journal)(call) and "attempt" in call.arguments, sent)
    durable = place(calls, "fdatasync", exactly(journal), verdict)
    bounce = place(calls, "fsync", on("tmp/"), durable)
    notice = calls[bounce].paths[0].removeprefix("tmp/")
    linked = place(calls, "link linkat", exactly(f"tmp/{notice}"), bounce)
    published = place(calls, "fsync", exactly("new"), linked)
    told = place(calls, "pwrite64", lambda call: exactly(journal)(call) and "bounced" in call.arguments, published)
    known = place(calls, "fdatasync", exactly(journal), told)
    gone = place(calls, "unlink unlinkat", on(f"cur/{one}"), known)
    settled = place(calls, "fsync", exactly("cur"), gone)
    place(calls, "unlink unlinkat", exactly(journal), settled)
    assert machine.ids() == []


KINDS = {
    "delay": (["later@b.example"], [], 5 * 3600, "rename renameat"),
    "success": (["ok@b.example"], ["-N", "success"], 0, "unlink unlinkat"),
    "double bounce": (["bad@b.example"], ["-f", "<>"], 0, "unlink unlinkat"),
    "expiry": (["later@b.example"], [], 50 * 3600, "unlink unlinkat"),
}
"""A notice's kind: recipients, options, seconds since it came in, and what then becomes of its message's name."""


@pytest.mark.parametrize("kind", KINDS)
def test_a_notice_of_any_kind_is_written_in_the_lawful_order(
    machine: Machine, smtp_server: Callable[..., ScriptedServer], kind: str
) -> None:
    """Law 3, C-040: the call for it durable; the notice, in new/; "bounced" durable; only then the name of its message changes.
    Where a success is to be told there is room for that line before the mail goes: sent again, it would be told of again."""
    recipients, options, old, end = KINDS[kind]
    server = smtp_server(replies=MIXED, keywords=("PIPELINING",))
    queue = '[queue]\nretry = ["24h"]\nlifetime = "48h"\n'
    machine.configure(relay(f"smtp://127.0.0.1:{server.port}"), queue, top='postmaster = "admin@a.example"')
    one = machine.enqueue(b"Subject: x\n\nx\n", *options, *recipients)
    machine.let_age(one, old)
    result, calls = trace(machine, SMARTRELAY, "flush")
    assert result.code == 0, result.errors
    journal, sent = f"state/{one}", -1
    if kind == "success":
        reserved = place(calls, "fdatasync", exactly(journal))
        sent = place(calls, "sendto write", lambda call: b"MAIL FROM" in call.arguments.encode(), reserved)
    called = place(calls, "pwrite64", lambda call: exactly(journal)(call) and "notice" in call.arguments, sent)
    durable = place(calls, "fdatasync", exactly(journal), called)
    written = place(calls, "fsync", on("tmp/"), durable)
    linked = place(calls, "link linkat", exactly(calls[written].paths[0]), written)
    published = place(calls, "fsync", exactly("new"), linked)
    told = place(calls, "pwrite64", lambda call: exactly(journal)(call) and "bounced" in call.arguments, published)
    known = place(calls, "fdatasync", exactly(journal), told)
    changed = place(calls, end, on(f"cur/{one}"))
    assert changed > known
    assert machine.ids() == ([one] if kind == "delay" else [])


@pytest.mark.parametrize("state", ["new", "hold"])
def test_giving_up_writes_in_the_lawful_order(machine: Machine, state: str) -> None:
    """Law 3: the verdict with its call for a bounce durable, then the bounce, then "bounced", then the message goes, then its
    journal; what was held leaves hold/ once it has its verdict, so that a pass can finish it."""
    one = machine.enqueue(b"Subject: x\n\nx\n", "you@b.example")
    if state == "hold":
        assert machine.run("queue", "hold", one).code == 0
    result, calls = trace(machine, SMARTRELAY, "queue", "expire", "--yes", one)
    assert result.code == 0, result.errors
    journal = f"state/{one}"
    verdict = place(calls, "pwrite64", lambda call: exactly(journal)(call) and "notice" in call.arguments)
    durable = place(calls, "fdatasync", exactly(journal), verdict)
    if state == "hold":
        durable = place(calls, "rename renameat", exactly(f"hold/{one}"), durable)
    else:
        durable = place(calls, "fsync", exactly("state"), durable)
    bounce = place(calls, "fsync", on("tmp/"), durable)
    linked = place(calls, "link linkat", on("tmp/"), bounce)
    published = place(calls, "fsync", exactly("new"), linked)
    told = place(calls, "pwrite64", lambda call: exactly(journal)(call) and "bounced" in call.arguments, published)
    known = place(calls, "fdatasync", exactly(journal), told)
    where = "new" if state == "new" else "cur"
    gone = place(calls, "unlink unlinkat", on(f"{where}/{one}"), known)
    settled = place(calls, "fsync", exactly(where), gone)
    place(calls, "unlink unlinkat", exactly(journal), settled)


def test_a_verdict_is_durable_while_others_wait(machine: Machine, smtp_server: Callable[..., ScriptedServer]) -> None:
    """2.4: a recipient that is final while others wait must not get its mail again: its line is synced, then the name moves."""
    machine.relay_to(smtp_server(replies=MIXED))
    one = machine.enqueue(b"Subject: x\n\nx\n", "ok@b.example", "later@b.example")
    result, calls = trace(machine, SMARTRELAY, "flush")
    assert result.code == 0, result.errors
    sent = place(calls, "sendto write", lambda call: b"DATA" in call.arguments.encode())
    verdict = place(calls, "pwrite64", exactly(f"state/{one}"), sent)
    durable = place(calls, "fdatasync", exactly(f"state/{one}"), verdict)
    place(calls, "rename renameat", on(f"cur/{one}"), durable)


def test_no_journal_goes_before_its_message_is_gone_for_good(
    machine: Machine, smtp_server: Callable[..., ScriptedServer]
) -> None:
    """Law 3, for a whole queue: between a message's unlink and that of its journal cur/ is synced; and nothing that was
    written to a journal is unsynced when its message goes."""
    machine.relay_to(smtp_server(replies=MIXED))
    for number in range(12):
        machine.enqueue(b"Subject: x\n\nx\n", f"ok{number}@b.example", f"{'bad' if number % 3 else 'fine'}@b.example")
    result, calls = trace(machine, SMARTRELAY, "flush")
    assert result.code == 0, result.errors
    unsynced_lines: set[str] = set()
    unsynced_ends: set[str] = set()
    journals = 0
    for call in calls:
        path = call.paths[0] if call.paths else ""
        if call.name == "pwrite64":
            unsynced_lines.add(path)
        elif call.name == "fdatasync":
            unsynced_lines.discard(path)
        elif call.name == "fsync" and path == "cur":
            unsynced_ends.clear()
        elif call.name.startswith("unlink") and path.startswith("cur/"):
            one = path[4:21]
            assert f"state/{one}" not in unsynced_lines
            unsynced_ends.add(one)
        elif call.name.startswith("unlink") and path.startswith("state/"):
            journals += 1
            assert path.removeprefix("state/") not in unsynced_ends
    assert journals == 12
    assert machine.ids() == []


@pytest.mark.parametrize(
    ("inject", "most"), [("fsync:error=EIO", 2), ("write:error=ENOSPC", 1), ("rename,renameat:error=EIO", 1)]
)
def test_sendmail_refuses_when_the_kernel_does(machine: Machine, inject: str, most: int) -> None:
    """C-001, C-014: with the real errors of the real kernel interface, one sentence, and nothing is left."""
    machine.enqueue(b"Subject: makes the spool\n\n", "you@b.example")
    (before,) = machine.ids("new")
    for when in range(1, most + 1):
        result, _ = trace(machine, SENDMAIL, "you@b.example", text=b"Subject: x\n\nx\n", inject=f"{inject}:when={when}")
        assert result.code in (74, 75), (when, result)
        assert result.errors.count("\n") <= 1, result.errors
        assert machine.ids("new") == [before]
        assert os.listdir(f"{machine.spool}/tmp") == []


def test_a_pass_that_cannot_sync_a_verdict_keeps_the_message(
    machine: Machine, smtp_server: Callable[..., ScriptedServer]
) -> None:
    """Laws 2 and 3: with the first fdatasync refused there is no room for verdicts, so nothing is sent; with the second one,
    the verdict is not durable, so the bounce is not written; either way 74, and the next pass does it all."""
    server = smtp_server(replies=MIXED)
    machine.relay_to(server)
    one = machine.enqueue(b"Subject: x\n\nx\n", "ok@b.example", "bad@b.example")
    result, _ = trace(machine, SMARTRELAY, "flush", inject="fdatasync:error=EIO:when=1")
    assert result.code == 74, result.errors
    assert not server.transactions
    machine.make_due()
    result, calls = trace(machine, SMARTRELAY, "flush", inject="fdatasync:error=EIO:when=2")
    assert result.code == 74, result.errors
    assert machine.ids() == [one]
    assert not any(call.name.startswith("link") for call in calls)
    machine.make_due()
    machine.flush()
    assert machine.ids() == []
    notices = [each for each in server.accepted if each.mail_from.startswith(b"MAIL FROM:<>")]
    assert len(notices) == 1
