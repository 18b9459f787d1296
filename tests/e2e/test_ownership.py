"""Root and the spool's owner take turns, and neither shuts the other out; nobody else gets in.

These tests need root, as the suite has it where changes are checked; without it they fail and say so.
"""

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e.commands import SENDMAIL, SMARTRELAY, Machine, Running, relay
from tests.e2e.terminal import Terminal, at_terminal
from tests.support.certificates import Certificates
from tests.support.process import NOBODY
from tests.support.smtp_server import ScriptedServer

pytestmark = pytest.mark.as_another_user

STRANGER = 65533
"""A uid that owns nothing, and that no user database knows."""

GROUPS = "4,24"
"""Supplementary groups that the caller has and the owner of the spool must not."""

ROOT_OF_CODE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Host(Machine):
    """A machine whose commands are run by a user of one's choice. Other users must reach it, so it is not pytest's."""

    def __init__(self, folder: str) -> None:
        super().__init__(folder)
        self.uid = 0

    def start_program(self, program: str, *arguments: str, text: bytes | int = b"", env: object = None) -> Running:
        """Start a program as the user `uid`."""
        assert env is None
        return super().start_program("setpriv", *self._who, program, *arguments, text=text)

    @property
    def _who(self) -> list[str]:
        return [f"--reuid={self.uid}", f"--regid={self.uid}", f"--groups={GROUPS}"]

    def at_terminal(self, *command: str, text: bytes = b"") -> Terminal:
        """Start a command from a terminal, as the user `uid`."""
        return at_terminal(self, "setpriv", *self._who, *command, text=text)

    def send_at_terminal(self) -> Terminal:
        """Send a message from a terminal, as the user `uid`, and watch."""
        return self.at_terminal(SENDMAIL, "-v", "-f", "me@a.example", "you@b.example", text=b"Subject: x\n\n")

    def by(self, uid: int) -> "Host":
        """This machine, for that user from now on."""
        self.uid = uid
        return self

    def owners(self) -> set[tuple[int, int, int]]:
        """Uid, gid and mode of everything in the spool: directories with S_IFDIR in the mode."""
        found = set()
        for folder, _, names in os.walk(self.spool):
            for path in (folder, *(os.path.join(folder, name) for name in names)):
                status = os.lstat(path)
                kind = stat.S_IFDIR if stat.S_ISDIR(status.st_mode) else 0
                found.add((status.st_uid, status.st_gid, kind | stat.S_IMODE(status.st_mode)))
        return found


SUBJECT = b"Subject: =?utf-8?q?x?=\n\n"
"""One that a notice decodes, which takes modules of its own: root must have loaded them while it was root."""

PRIVATE = {(NOBODY, NOBODY, stat.S_IFDIR | 0o700), (NOBODY, NOBODY, 0o600)}


@pytest.fixture
def host() -> Iterator[Host]:
    """A machine with a spool that belongs to the service user (here: nobody)."""
    assert os.geteuid() == 0, "the tests of ownership need root: run the suite as root, as .ci/run is"
    folder = tempfile.mkdtemp(prefix="smartrelay-owner-")
    try:
        os.chmod(folder, 0o755)
        machine = Host(folder)
        os.mkdir(machine.spool, 0o700)
        os.chown(machine.spool, NOBODY, NOBODY)
        os.chmod(machine.config, 0o644)
        yield machine
    finally:
        shutil.rmtree(folder)


def test_the_code_can_be_run_by_other_users() -> None:
    """What the tests below rest on: another uid can read the checkout and its Python."""
    done = subprocess.run(
        ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", sys.executable, "-c", "import smartrelay"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{ROOT_OF_CODE} is closed to other users: {done.stderr}"


def make_bad(host: Host, key: str) -> None:
    """A host in the bad-host memory, as the owner's pass writes it."""
    now = int(time.time())
    row = {"reason": "x", "since": now, "failed": now, "failures": 1, "probe": now + 60, "until": now + 3600}
    path = f"{host.spool}/hosts.json"
    with open(path, "w", encoding="ascii") as file:
        json.dump({"v": 1, "hosts": {key: row}}, file)
    os.chmod(path, 0o600)
    os.chown(path, NOBODY, NOBODY)


def test_root_and_the_owner_take_turns(host: Host, smtp_server: Callable[..., ScriptedServer]) -> None:
    """2.4, item 3 of the issue: at enqueue, flush, retry, hold, release, and at every file that one of them made first."""
    server = smtp_server(replies={"RCPT TO:<later@": b"450 4.2.1 later", "RCPT TO:<bad@": b"550 5.1.1 no"})
    host.relay_to(server)
    for first, second in ((0, NOBODY), (NOBODY, 0)):
        wait = host.by(first).enqueue(SUBJECT, "-f", "me@a.example", "later@b.example", "bad@b.example")
        host.by(second).enqueue(b"Subject: y\n\n", "-f", "me@a.example", "you@b.example")
        host.by(second).flush()
        assert host.owners() == PRIVATE
        for uid in (first, second):
            for verb in ("retry", "hold", "release"):
                assert host.by(uid).run("queue", verb, wait).code == 0
                assert host.owners() == PRIVATE
            host.by(uid).flush("--all")
            assert host.owners() == PRIVATE
            make_bad(host, "mx.example.org:25")
            assert b"mx.example.org:25" in host.by(uid).run("hosts", "list").output
            assert host.by(uid).run("hosts", "reset", "mx.example.org").code == 0
            assert host.owners() == PRIVATE
            assert wait.encode() in host.by(uid).run("queue", "list").output
            assert b"notice 1 was queued as" in host.by(uid).run("queue", "show", wait).output
        deleted = host.by(second).run("queue", "delete", "--yes", wait)
        assert deleted.code == 0, deleted.errors
    assert host.ids() == []
    assert len(server.accepted) == 4  # one message and one bounce in each turn


def test_root_and_the_owner_give_mail_up_alike(host: Host, smtp_server: Callable[..., ScriptedServer]) -> None:
    """2.4: the notice and what passes note are the owner's, whoever said so; root's configuration may be root's alone."""
    server = smtp_server(replies={"MAIL FROM:<me@": b"530 5.7.0 sign in first"})
    host.relay_to(server)
    for first, second in ((0, NOBODY), (NOBODY, 0)):
        ids = [host.by(first).enqueue(SUBJECT, "-f", "me@a.example", "you@b.example") for _ in range(2)]
        host.by(first).flush()
        assert os.listdir(f"{host.spool}/var") == ["incidents.json"]
        assert b"cannot be used" in host.by(second).run("queue", "show", ids[0]).output
        os.chmod(host.config, 0o600 if second == 0 else 0o644)
        for one, verb in zip(ids, (("expire",), ("delete", "--bounce")), strict=True):
            result = host.by(second).run("queue", *verb, "--yes", one)
            assert result.code == 0, result.errors
            assert host.owners() == PRIVATE
        os.chmod(host.config, 0o644)
        host.by(first).flush()
        assert host.ids() == [] and host.owners() == PRIVATE
    assert len(server.accepted) == 4


def test_root_makes_a_private_spool_for_itself_where_there_is_no_service_user(host: Host) -> None:
    """2.3: a missing spool is made 0700; the umask of the caller does not matter."""
    os.rmdir(host.spool)
    before = os.umask(0)
    try:
        host.by(0).enqueue(b"Subject: x\n\n", "-f", "me@a.example", "you@b.example")
    finally:
        os.umask(before)
    assert {mode for _, _, mode in host.owners()} == {stat.S_IFDIR | 0o700, 0o600}


def test_nobody_else_gets_into_a_spool_that_they_name(host: Host) -> None:
    """2.2, 2.4: another uid gets 77 from every command, told whose the spool is, and leaves no trace."""
    one = host.by(NOBODY).enqueue(b"Subject: x\n\n", "-f", "me@a.example", "you@b.example")
    before = host.tree()
    commands = [("flush",), ("flush", one), ("queue", "list"), ("queue", "show", one), ("queue", "hold", one)]
    commands += [("queue", "delete", "--yes", one), ("queue", "retry", "--all"), ("queue", "release", one)]
    commands += [("queue", "expire", "--yes", one), ("queue", "delete", "--bounce", "--yes", one)]
    commands += [("hosts", "list"), ("hosts", "reset")]
    for command in commands:
        refused = host.by(STRANGER).run(*command)
        assert refused.code == 77, (command, refused)
        assert refused.errors.count("\n") == 1
        assert "belongs to user nobody" in refused.errors
        assert not refused.output
    refused = host.by(STRANGER).sendmail(b"Subject: x\n\n", "-f", "me@a.example", "you@b.example")
    assert refused.code == 77
    assert refused.errors.count("\n") == 1
    assert host.tree() == before


def test_nobody_else_gets_into_the_spool_of_the_system(host: Host) -> None:
    """2.3: one who did not name the spool, and has no socket to submit to, is refused with 75: never queued where nothing
    flushes."""
    host.by(NOBODY).enqueue(b"Subject: x\n\n", "-f", "me@a.example", "you@b.example")
    # In a place where the system's spool is this one; nobody has named it.
    for name in ("SMARTRELAY_CONFIG", "SMARTRELAY_SPOOL"):
        del host.environment[name]
    os.rename(host.spool, f"{host.folder}/smartrelay")
    host.spool = f"{host.folder}/smartrelay"
    who = f"setpriv --reuid={STRANGER} --regid={STRANGER} --clear-groups"
    script = f"mount --bind {host.folder} /var/spool && exec {who} {SENDMAIL} -f me@a.example you@b.example"
    with host.by(0).start_program("unshare", "--mount", "sh", "-c", script, text=b"Subject: x\n\n") as running:
        refused = running.wait()
    assert refused.code == 75, refused
    assert refused.errors.count("\n") == 1
    assert "only root and user nobody may write to the spool /var/spool/smartrelay" in refused.errors
    assert len(host.ids()) == 1


def test_anybody_may_ask_for_a_way_and_only_the_owner_is_told_of_bad_hosts(host: Host) -> None:
    """2.4: what a stranger may not see is left out, in a word; root looks at it as the owner."""
    host.configure(relay("smtps://127.0.0.1"))
    host.by(NOBODY).enqueue(b"Subject: x\n\n", "-f", "me@a.example", "you@b.example")
    make_bad(host, "127.0.0.1:465")
    before = host.tree()
    for uid, known in ((0, True), (NOBODY, True), (STRANGER, False)):
        told = host.by(uid).run("route", "--sender", "me@a.example", "--json", "you@b.example")
        assert told.code == 0, told
        (way,) = json.loads(told.output)["hosts"]
        assert (way["bad"]["reason"] == "x") if known else ("bad" not in way)
        assert told.errors.count("\n") == (not known)
    assert "the bad-host memory is left out: the spool" in told.errors
    unknown = host.by(STRANGER).run("route", "you@b.example")
    assert (unknown.code, unknown.output) == (64, b"")
    assert "--sender" in unknown.errors
    assert host.tree() == before


def test_root_reads_its_own_secret_and_configuration_then_drops_root(
    host: Host, smtp_server: Callable[..., ScriptedServer]
) -> None:
    """2.4: what only root may read is read first; then the process is the owner, with no group but the owner's."""
    server = with_secrets_of_root(host, smtp_server)
    gate = server.gate("DATA")
    host.by(0).enqueue(b"Subject: x\n\n", "-f", "me@a.example", "you@b.example")
    with host.by(0).start("flush") as running:
        gate.wait_reached()
        assert_is_the_owner(running.process.pid)
        gate.open()
        assert running.wait().code == 0
    assert server.sessions[0].user == "me"
    assert host.owners() == PRIVATE
    refused = host.by(NOBODY).run("flush", "--all")
    assert refused.code == 78, refused
    assert "smartrelay.toml" in refused.errors


@pytest.mark.parametrize(("hosts", "loads"), [("smtp+notls://127.0.0.1:1", False), ("mx", True)])
def test_root_loads_what_asks_the_dns_only_for_a_rule_that_does(host: Host, hosts: str, loads: bool) -> None:
    """Before anything is asked, for it may not be within reach later: the one recipient's host needs no question."""
    host.configure(relay(hosts), "[mx]\nport = 1")
    host.by(NOBODY).enqueue(b"Subject: x\n\n", "-f", "me@a.example", "you@[127.0.0.1]")
    flush = [sys.executable, "-X", "importtime", "-m", "smartrelay", "--config", host.config, "flush"]
    with host.by(0).start_program(*flush) as running:
        result = running.wait()
    assert ("dns.name" in result.errors) == loads
    assert "status=deferred (" in result.errors


def test_root_at_the_keyboard_queues_as_the_owner_and_relays_as_the_owner(
    host: Host, smtp_server: Callable[..., ScriptedServer]
) -> None:
    """2.4, item 7 of the issue: it is root in between only, to read its secret. D-025"""
    server = with_secrets_of_root(host, smtp_server)
    gate = server.gate("DATA")
    with host.by(0).send_at_terminal() as terminal:
        gate.wait_reached()
        assert_is_the_owner(terminal.process.pid)
        assert host.owners() == PRIVATE
        gate.open()
        assert terminal.wait() == 0
    assert terminal.lines[-1] == "smartrelay: delivered to you@b.example"
    assert server.sessions[0].user == "me"
    assert host.ids() == [] and host.owners() == PRIVATE


def test_the_owner_at_the_keyboard_relays(host: Host, smtp_server: Callable[..., ScriptedServer]) -> None:  # D-025
    """What the sendmail command becomes once it has queued; no right of root's is needed."""
    host.relay_to(server := smtp_server())
    one = host.by(NOBODY).enqueue(b"Subject: x\n\n", "-f", "me@a.example", "you@b.example")
    with host.at_terminal(SMARTRELAY, "sendmail-now", "-v", one) as terminal:
        assert terminal.wait() == 0
    assert terminal.lines[-1] == "smartrelay: delivered to you@b.example"
    assert len(server.accepted) == 1 and host.owners() == PRIVATE


def test_nobody_else_relays_at_the_keyboard(host: Host, smtp_server: Callable[..., ScriptedServer]) -> None:
    """They are refused as without a terminal."""
    host.relay_to(server := smtp_server())
    host.by(NOBODY).enqueue(b"Subject: x\n\n", "-f", "me@a.example", "you@b.example")
    with host.by(STRANGER).send_at_terminal() as terminal:
        assert terminal.wait() == 77
    assert len(terminal.lines) == 1 and "belongs to user nobody" in terminal.text
    assert server.sessions == [] and len(host.ids("new")) == 1


def with_secrets_of_root(host: Host, smtp_server: Callable[..., ScriptedServer], **settings: Any) -> ScriptedServer:
    """A server that wants a password; only root may read it, and the configuration."""
    secret = os.path.join(host.folder, "secret")
    with open(secret, "w", encoding="ascii") as file:
        file.write("pass word\n")
    os.chmod(secret, 0o600)
    server = smtp_server(credentials=("me", "pass word"), **settings)
    host.configure(relay(f"smtp+notls://127.0.0.1:{server.port}", auth=f'{{ user = "me", secret = "file:{secret}" }}'))
    os.chmod(host.config, 0o600)
    return server


def assert_is_the_owner(pid: int) -> None:
    """The process has no right but those of the spool's owner, for good."""
    with open(f"/proc/{pid}/status", encoding="ascii") as text:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in text if ":\t" in line)
    assert status["Uid"].split() == [str(NOBODY)] * 4
    assert status["Gid"].split() == [str(NOBODY)] * 4
    assert status["Groups"].split() in ([], [str(NOBODY)])
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0


@pytest.mark.parametrize("verb", ["sendmail", "sendmail -v", "flush", "hold"])
def test_root_is_gone_before_anything_below_the_spool_is_opened(host: Host, verb: str) -> None:
    """2.4: a spool's owner cannot make root follow a path of theirs: with every directory a link to a place that only root
    may write, nothing appears there."""
    one = host.by(NOBODY).enqueue(b"Subject: x\n\n", "-f", "me@a.example", "you@b.example")
    target = os.path.join(host.folder, "of-root")
    os.mkdir(target, 0o700)
    for name in ("tmp", "new", "cur", "state", "hold"):
        shutil.rmtree(f"{host.spool}/{name}")
        os.symlink(target, f"{host.spool}/{name}")
    if verb == "sendmail -v":
        with host.by(0).send_at_terminal() as terminal:
            code, said = terminal.wait(), terminal.text
    else:
        if verb == "sendmail":
            result = host.by(0).sendmail(b"Subject: x\n\n", "-f", "me@a.example", "you@b.example")
        else:
            result = host.by(0).run(*(["flush", "--all"] if verb == "flush" else ["queue", "hold", one]))
        code, said = result.code, result.errors
    assert code != 0
    assert "Traceback" not in said
    assert os.listdir(target) == []


def checked(host: Host, uid: int) -> dict[str, dict[str, str]]:
    """What `check` finds that is not good, by kind."""
    result = host.by(uid).run("check", "--json")
    assert result.errors == ""
    found = json.loads(result.output)
    assert result.code == {"ok": 0, "warn": 1, "fail": 2}[found["status"]]
    return {each["kind"]: each for each in found["findings"] if each["status"] != "ok" and each["kind"] != "postmaster"}


def test_root_checks_as_a_pass_works(
    host: Host, smtp_server: Callable[..., ScriptedServer], certificates: Certificates
) -> None:
    """Secret and configuration are read by root, all else is tried as the owner of the spool; nothing is left there."""
    server = with_secrets_of_root(host, smtp_server, certificate=certificates.server)
    shutil.copy(certificates.ca_file, f"{host.folder}/ca.pem")
    auth = f'{{ user = "me", secret = "file:{host.folder}/secret" }}'
    host.configure(relay(f"smtp+tls://localhost:{server.port}", auth=auth, ca_file=f'"{host.folder}/ca.pem"'))
    os.chmod(host.config, 0o600)
    host.by(0).enqueue(b"Subject: x\n\n", "-f", "me@a.example", "you@b.example")
    gate = server.gate("AUTH")
    with host.by(0).start("check") as running:
        gate.wait_reached()
        assert_is_the_owner(running.process.pid)
        gate.open()
        result = running.wait()
    assert (result.code, result.errors) == (1, "")
    assert [line.split("\t")[1] for line in result.output.decode().splitlines() if not line.startswith("ok")] == ["postmaster"]
    assert f"ok\tconfiguration\t{host.config} can be read" in result.output.decode()
    assert server.sessions[0].user == "me"
    assert host.owners() == PRIVATE


def test_a_check_says_what_its_caller_cannot_try(host: Host, smtp_server: Callable[..., ScriptedServer]) -> None:
    """A secret that is closed to whom the passes run as is an error; to a stranger, as the spool is, no more than untried."""
    server = with_secrets_of_root(host, smtp_server)
    os.chmod(host.config, 0o644)
    host.by(0).enqueue(b"Subject: x\n\n", "-f", "me@a.example", "you@b.example")
    before = host.tree()
    found = checked(host, STRANGER)
    assert {kind: each["status"] for kind, each in found.items()} == {"spool": "warn", "secret": "warn"}
    assert "belongs to user nobody, so that it cannot be tried by uid 65533" in found["spool"]["text"]
    assert found["spool"]["mend"] == "run this as root or as user nobody"
    assert host.tree() == before
    found = checked(host, NOBODY)
    assert {kind: each["status"] for kind, each in found.items()} == {"secret": "fail"}
    assert found["secret"]["mend"] == f"let nobody own it: chown nobody {host.folder}/secret"
    assert [session.user for session in server.sessions] == [None, None]


def test_a_check_finds_files_that_are_not_the_owners(host: Host, smtp_server: Callable[..., ScriptedServer]) -> None:
    """A backup that root has put back, say."""
    host.relay_to(smtp_server())
    one = host.by(NOBODY).enqueue(b"Subject: x\n\n", "-f", "me@a.example", "you@b.example")
    os.chown(f"{host.spool}/new/{one}", 0, 0)
    found = checked(host, 0)
    assert set(found) == {"spool"}
    assert found["spool"]["text"] == f"1 of its files belongs to others than user nobody, the first is {host.spool}/new/{one}"
    assert found["spool"]["mend"] == f"chown -R --reference={host.spool} {host.spool}"
