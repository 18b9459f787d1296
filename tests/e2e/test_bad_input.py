"""Whatever is wrong with configuration, secrets, spool, files, ids, clock or call: one clear sentence, the right exit code, no
mail lost, and the rest of the queue still served."""

import os
import re
import shlex
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from smartrelay.mail import stored
from tests.e2e.commands import SENDMAIL, SMARTRELAY, TIMEOUT, Machine, Result, relay
from tests.support.process import NOBODY
from tests.support.smtp_server import ScriptedServer

Servers = Callable[..., ScriptedServer]
MAIL = b"Subject: mail\n\nbody\n"
YOU = "you@b.example"
ID = "25X0NVJCXF5XQKQQ8"
"""An id that no message here has."""


def is_sentence(result: Result, *words: str) -> None:
    """Standard error is one line of printable text, with these words, and the program's name before it."""
    assert result.said.count("\n") == 1, result.errors
    assert re.match(r"smartrelay(-sendmail)?: \S", result.said), result.errors
    assert result.said.rstrip("\n").isprintable(), result.errors
    for word in words:
        assert word in result.said, (word, result.said)
    is_no_bug(result)


def is_no_bug(result: Result) -> None:
    """Nothing of Python's shows."""
    assert "Traceback" not in result.errors, result.errors
    assert "a bug of" not in result.errors, result.errors


def delivers(machine: Machine, server: ScriptedServer, *subjects: str) -> Result:
    """A pass that must deliver these, each once, and leave nothing."""
    machine.relay_to(server)
    result = machine.flush("--all")
    found = sorted(subject(each.content) for each in server.accepted)
    assert found == sorted(subjects), result.errors
    return result


def subject(content: bytes) -> str:
    """A message's Subject."""
    found = re.search(rb"^Subject: ([^\r\n]*)", content, re.MULTILINE)
    assert found
    return found[1].decode()


# Configuration.

CONFIGURATIONS = {
    "unknown key": ('hostnam = "x"', "", ("hostnam ", "hostname")),
    "unknown table": ("", "[limit]\nmax_connections = 3", ("limit ", "limits")),
    "unknown key in a table": ("", "[limits]\nmax_connection = 3", ("[limits] max_connection ", "max_connections")),
    "unknown key in a relay": ("", '[[relay]]\nname = "w"\nhost = ["smtp://a"]', ("[[relay]] w: host ", "hosts")),
    "unknown key in auth": ("", relay("smtps://a", auth='{ user = "u", password = "p" }'), ("auth.password", "secret")),
    "a number for a string": ("domian = 3", "", ("domian", "domain")),
    "a string for a size": ('max_message_size = "big"', "", ("max_message_size", "50M")),
    "a list for a count": ("max_recipients = [1]", "", ("max_recipients", "whole number")),
    "a truth for a count": ("max_recipients = true", "", ("max_recipients", "whole number")),
    "a number for a duration": ("", "[timeouts]\nconnect = 30", ("[timeouts] connect", "30s")),
    "no unit": ("", '[queue]\nretry = ["30"]', ("[queue] retry", "30s")),
    "a step of nothing": ("", '[queue]\nretry = ["0s"]', ("[queue] retry", "1s")),
    "zero connections": ("", "[limits]\nmax_connections = 0", ("[limits] max_connections", "at least 1")),
    "a table for a list": ("", '[relay]\nhosts = ["smtp://a"]', ("relay", "[[relay]]")),
    "a value for a table": ("limits = 3", "", ("limits", "table")),
    "no hosts": ("", "[[relay]]\nname = 'w'", ("[[relay]] w: hosts", "missing")),
    "hosts not in a list": ("", '[[relay]]\nhosts = "smtp://a"', ("hosts", "list")),
    "a host without a scheme": ("", relay("mail.example.org"), ("smtp+tls://",)),
    "a host with a path": ("", relay("smtp://mail.example.org/x"), ("nothing behind it",)),
    "auth for any domain's exchangers": (
        "",
        relay("mx", auth='{ user = "u", secret = "env:X" }'),
        ("any domain", "take it out"),
    ),
    "tls beside a URL": ("", relay("smtp://a", tls='"none"'), ("tls", "scheme")),
    "the exchangers of an address": ("", relay("mx+smtp://192.0.2.1"), ("no mail exchangers", "mx+")),
    "a name server's name": ("", '[mx]\nnameservers = ["dns.example"]', ("[mx] nameservers", "192.0.2.1")),
    "a port that is none": ("", "[mx]\nport = 70000", ("[mx] port", "65535")),
    "a rate without a time": ("", '[limits]\nrate = "500"', ("[limits] rate", "500/h")),
    "two relays of a name": ("", relay("smtp://a", name='"w"') + relay("smtp://b", name='"w"'), ("name", "its own")),
    "smtp:// with auth": ("", relay("smtp://a", auth='{ user = "u", secret = "env:X" }'), ("smtp:// with auth", "smtp+tls://")),
    "auth without a secret": ("", relay("smtps://a", auth='{ user = "u" }'), ("auth.secret", "missing")),
    "auth that is no table": ("", relay("smtps://a", auth='"me"'), ("auth", "table")),
    "a protocol of one's own": ("", relay("smtp://a", protocol='"lmtp"'), ("protocol", "esmtp")),
    "a relative ca_file": ("", relay("smtps://a", ca_file='"ca.pem"'), ("ca_file", "absolute path")),
    "a control character": ("", relay("smtps://a", name='"a\\u0007b"'), ("name",)),
    "broken TOML in a table": ("", "[limits\nmax_connections = 3", ("TOML",)),
    "broken TOML above": ("this is no TOML", "", ("TOML",)),
    "a key twice": ('hostname = "again.example"', "", ("TOML",)),
    "not UTF-8": ('domain = "\udcff"', "", ("TOML",)),
}


@pytest.mark.parametrize("case", CONFIGURATIONS)
def test_a_wrong_configuration_is_named_and_enqueueing_goes_on(machine: Machine, case: str) -> None:
    """2.3: flush says 78 with file, key and what is right; a typing mistake never refuses mail. The pass that ends so has
    brought new/ to rest (2.4)."""
    top, tables, words = CONFIGURATIONS[case]
    own = 'hostname = "x.example"' if case == "a key twice" else ""
    with open(machine.config, "wb") as file:
        text = f'{own}\nspool = "{machine.spool}"\nmin_free_space = 0\n{top}\n{tables}\n'
        file.write(text.encode("utf-8", "surrogateescape"))
    without = {"SMARTRELAY_SPOOL": None, "SMARTRELAY_HOSTNAME": "host.a.example"}
    queued = machine.sendmail(MAIL, "-f", "me", YOU, env=without)
    assert queued.code == 0, queued.errors
    assert queued.errors == ""
    (one,) = machine.ids("new")
    is_sentence(machine.flush(code=78, env=without), machine.config, *words)
    assert machine.ids("cur") == [one]
    with open(machine.path(one), "rb") as file:
        assert stored.read(file.readline()).reverse_path == "me@a.example"


@pytest.mark.parametrize("line", ["spool = 3", "spool = /var/spool", 'spool = """', "spool", "spool = ["])
def test_only_a_spool_that_cannot_be_known_refuses_mail(machine: Machine, line: str) -> None:
    """2.3: 78, for enqueueing too, when the value of `spool` cannot be read; named otherwise, it does not matter."""
    with open(machine.config, "w", encoding="utf-8") as file:
        file.write(f"{line}\n")
    refused = machine.sendmail(MAIL, YOU, env={"SMARTRELAY_SPOOL": None})
    assert refused.code == 78
    is_sentence(refused, machine.config, "spool")
    assert not os.path.exists(machine.spool)
    assert machine.sendmail(MAIL, YOU).code == 0
    assert machine.sendmail(MAIL, "--spool", machine.spool, YOU, env={"SMARTRELAY_SPOOL": None}).code == 0


def test_a_configuration_that_is_named_and_missing(machine: Machine) -> None:
    """2.3: 78 for a pass; mail is queued where the spool is known, and refused (78) where it is not."""
    os.unlink(machine.config)
    machine.enqueue(MAIL, YOU)
    is_sentence(machine.flush(code=78), machine.config, "there is no configuration")
    assert machine.ids("new") == []
    refused = machine.sendmail(MAIL, YOU, env={"SMARTRELAY_SPOOL": None})
    assert refused.code == 78
    is_sentence(refused, machine.config)
    assert len(machine.ids()) == 1


def test_no_relay_keeps_mail_and_says_so(machine: Machine) -> None:
    """2.3: nothing is sprayed at the world by default."""
    machine.enqueue(MAIL, YOU)
    is_sentence(machine.flush(code=78), "no relay is configured", "1 message", machine.config)
    assert len(machine.ids("cur")) == 1


# Secrets.

SECRETS = {
    "missing file": ("file:{folder}/none", "No such file"),
    "a directory": ("file:{folder}", "directory"),
    "readable by others": ("file:{folder}/open", "mode 0644", "chmod 600", 'secret_mode = "any"'),
    "empty": ("file:{folder}/empty", "is empty"),
    "two lines": ("file:{folder}/lines", "more than one line"),
    "not UTF-8": ("file:{folder}/latin", "UTF-8"),
    "env not set": ("env:SMARTRELAY_NO_SUCH", "$SMARTRELAY_NO_SUCH"),
    "env empty": ("env:EMPTY", "is empty"),
    "cmd that fails": ("cmd:echo hunter2; exit 3", "exit code 3"),
    "cmd that is not there": ("cmd:/nonexistent/program", "exit code 127"),
    "cmd that says nothing": ("cmd:true", "is empty"),
    "credential without systemd": ("credential:relay", "CREDENTIALS_DIRECTORY"),
    "a secret itself": ("hunter2", "reference"),
    "an unknown kind": ("vault:hunter2", "reference"),
    "no name": ("file:", "reference"),
}


def write_secrets(machine: Machine) -> None:
    """The files that the cases name."""
    for name, text, mode in (
        ("open", b"hunter2\n", 0o644),
        ("empty", b"\n", 0o600),
        ("lines", b"a\nb\n", 0o600),
        ("latin", b"\xff\n", 0o600),
        ("good", b"hunter2\n", 0o600),
    ):
        path = os.path.join(machine.folder, name)
        with open(path, "wb") as file:
            file.write(text)
        os.chmod(path, mode)


@pytest.mark.parametrize("case", SECRETS)
def test_a_secret_that_cannot_be_used(machine: Machine, smtp_server: Servers, case: str) -> None:
    """2.3: 78 with file and key, never the secret; mail is queued all the same, and kept."""
    write_secrets(machine)
    reference, *words = SECRETS[case]
    server = smtp_server()
    auth = f'{{ user = "me", secret = "{reference.format(folder=machine.folder)}" }}'
    machine.configure(relay(f"smtp+notls://127.0.0.1:{server.port}", name='"w"', auth=auth))
    machine.enqueue(MAIL, YOU)
    result = machine.flush(code=78, env={"EMPTY": ""})
    is_sentence(result, machine.config, "[[relay]] w: auth.secret", *words)
    assert "hunter2" not in result.errors
    assert not server.sessions
    assert len(machine.ids("cur")) == 1


GOOD_SECRETS = ["file:{folder}/good", "env:WORD", "cmd:echo hunter2", "credential:good", "file:{folder}/open"]


@pytest.mark.parametrize("reference", GOOD_SECRETS)
def test_a_secret_of_each_kind_signs_in(machine: Machine, smtp_server: Servers, reference: str) -> None:
    """2.3; with secret_mode = "any" others may read the file."""
    write_secrets(machine)
    server = smtp_server(credentials=("me", "hunter2"))
    mode = ', secret_mode = "any"' if reference.endswith("open") else ""
    auth = f'{{ user = "me", secret = "{reference.format(folder=machine.folder)}"{mode} }}'
    machine.configure(relay(f"smtp+notls://127.0.0.1:{server.port}", auth=auth))
    machine.enqueue(MAIL, YOU)
    result = machine.flush(env={"WORD": "hunter2", "CREDENTIALS_DIRECTORY": machine.folder})
    assert len(server.accepted) == 1
    assert "hunter2" not in result.errors


def test_a_ca_file_that_is_missing_holds_its_relays_mail_and_no_other(machine: Machine, smtp_server: Servers) -> None:
    """Law 5: configuration of a [[relay]] is an account fault: its mail waits and never bounces, the rest is served."""
    server, other = smtp_server(), smtp_server()
    machine.configure(
        relay(f"smtps://127.0.0.1:{other.port}", name='"w"', recipient='["*@w.example"]', ca_file='"/nonexistent/ca.pem"'),
        relay(f"smtp://127.0.0.1:{server.port}"),
    )
    waits = machine.enqueue(MAIL, "you@w.example")
    machine.enqueue(b"Subject: other\n\n", YOU)
    result = machine.flush(code=78)
    is_no_bug(result)
    assert "relay w cannot be used" in result.said
    assert "/nonexistent/ca.pem" in result.said
    assert [subject(each.content) for each in server.accepted] == ["other"]
    assert machine.ids() == [waits]


# The spool as a whole.


def test_a_file_where_the_spool_should_be(machine: Machine) -> None:
    """78: and the file is left alone."""
    with open(machine.spool, "w", encoding="ascii") as file:
        file.write("precious\n")
    for result in (machine.sendmail(MAIL, YOU), machine.run("flush"), machine.run("queue", "list")):
        assert result.code == 78
        is_sentence(result, machine.spool, "not a directory")
    with open(machine.spool, encoding="ascii") as file:
        assert file.read() == "precious\n"


@pytest.mark.parametrize("version", [b"2\n", b"", b"1", b"\xff\xfe\0", b"1\n2\n"])
def test_a_spool_of_a_newer_format(machine: Machine, smtp_server: Servers, version: bytes) -> None:
    """78: nothing is queued into what we do not understand, nothing is sent from it."""
    machine.enqueue(MAIL, YOU)
    with open(f"{machine.spool}/format", "wb") as file:
        file.write(version)
    before = machine.tree()
    for result in (machine.sendmail(MAIL, YOU), machine.run("flush"), machine.run("queue", "list")):
        assert result.code == 78
        is_sentence(result, machine.spool, "format", "upgrade smartrelay")
    assert machine.tree() == before
    with open(f"{machine.spool}/format", "wb") as file:
        file.write(b"1\n")
    delivers(machine, smtp_server(), "mail")


def test_a_directory_of_somebody_elses(machine: Machine) -> None:
    """78: what is no spool is not made into one."""
    os.mkdir(machine.spool)
    with open(f"{machine.spool}/thesis.tex", "w", encoding="ascii") as file:
        file.write("precious\n")
    for result in (machine.sendmail(MAIL, YOU), machine.run("flush"), machine.run("queue", "list")):
        assert result.code == 78
        is_sentence(result, machine.spool, "not a spool", "thesis.tex")
    assert os.listdir(machine.spool) == ["thesis.tex"]


def test_a_spool_below_a_file(machine: Machine) -> None:
    """Not to be reached, not to be made: never success."""
    for result in (
        machine.sendmail(MAIL, "--spool", f"{machine.config}/spool", YOU),
        machine.run("--spool", f"{machine.config}/spool", "flush"),
    ):
        assert result.code in (73, 74, 78)
        is_sentence(result, f"{machine.config}/spool")


def test_looking_at_a_spool_that_is_missing_does_not_make_one(machine: Machine) -> None:
    """78 for `queue`; only mail makes a spool, or a pass."""
    result = machine.run("queue", "list")
    assert result.code == 78
    is_sentence(result, "there is no spool", machine.spool)
    assert not os.path.exists(machine.spool)


class Mount:
    """A file system on the machine's spool, seen by commands that are run through it only."""

    def __init__(self, machine: Machine, options: str) -> None:
        self.machine = machine
        os.mkdir(machine.spool, 0o700)
        # A user who is not root gets a namespace in which they are.
        user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        mount = f"mount -t tmpfs -o mode=700,{options} smartrelay {shlex.quote(machine.spool)} && echo ready && exec cat"
        self._holder = subprocess.Popen(
            ["unshare", *user, "--mount", "sh", "-c", mount], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"ready\n", "no file system can be mounted here"
        self._enter = [f"--mount=/proc/{self._holder.pid}/ns/mnt"]
        if user:
            self._enter = [f"--user=/proc/{self._holder.pid}/ns/user", "--preserve-credentials", *self._enter]

    def run(self, program: str, *arguments: str, text: bytes = b"") -> Result:
        """Runs a program that sees it."""
        with self.machine.start_program("nsenter", *self._enter, program, *arguments, text=text) as running:
            return running.wait()

    def shell(self, script: str) -> str:
        """What a script in the spool prints; it must end well."""
        result = self.run("sh", "-c", f"cd {shlex.quote(self.machine.spool)} && {script}")
        assert result.code == 0, result.errors
        return result.output.decode()

    def close(self) -> None:
        """Ends it."""
        assert self._holder.stdin is not None
        assert self._holder.stdout is not None
        self._holder.stdin.close()
        self._holder.wait()
        self._holder.stdout.close()


@contextmanager
def mounted(machine: Machine, options: str) -> Iterator[Mount]:
    """A Mount for a block."""
    mount = Mount(machine, options)
    try:
        yield mount
    finally:
        mount.close()


def test_a_read_only_spool_sends_nothing_and_loses_nothing(machine: Machine, smtp_server: Servers) -> None:
    """2.4: what could not be written down is not sent (74), nothing is accepted, and looking works."""
    server = smtp_server()
    machine.relay_to(server)
    with mounted(machine, "size=4m") as mount:
        result = mount.run(SENDMAIL, "-v", YOU, text=MAIL)
        assert result.code == 0, result.errors
        one = result.errors.split()[-1]
        spool = shlex.quote(machine.spool)
        mount.shell(f"mount -o remount,ro {spool}")
        result = mount.run(SENDMAIL, YOU, text=MAIL)
        assert result.code == 74
        is_sentence(result, machine.spool, "Read-only", "nothing was accepted")
        for command in (["flush"], ["flush", "--all"], ["queue", "hold", one], ["queue", "delete", "--yes", one]):
            result = mount.run(SMARTRELAY, *command)
            assert result.code == 74, (command, result)
            is_no_bug(result)
            assert "ead-only" in result.said
        assert not server.sessions
        assert one.encode() in mount.run(SMARTRELAY, "queue", "list").output
        mount.shell(f"mount -o remount,rw {spool}")
        result = mount.run(SMARTRELAY, "flush")
        assert result.code == 0, result.errors
        assert len(server.accepted) == 1
        assert mount.shell("ls new cur state tmp | grep . || true").split() == ["cur:", "new:", "state:", "tmp:"]


def test_a_full_spool_loses_nothing_and_sends_nothing_twice(machine: Machine, smtp_server: Servers) -> None:
    """C-014, 2.4: on a full file system what needs no room goes, what needs room for verdicts or bounces waits (74), and
    enqueueing says 75; with room again the rest goes, and nothing went twice."""
    server = smtp_server(replies={"RCPT TO:<bad@": b"550 5.1.1 no"})
    machine.relay_to(server)
    with mounted(machine, "size=1m") as mount:
        several = ("several", "a@b.example", "b@b.example")
        for name, *recipients in (("one", YOU), several, ("refused", "bad@b.example"), ("last", YOU)):
            result = mount.run(SENDMAIL, *recipients, text=b"Subject: %s\n\n" % name.encode())
            assert result.code == 0, result.errors
        mount.shell("dd if=/dev/zero of=var/filler bs=4k 2>/dev/null; dd if=/dev/zero of=var/rest bs=1 2>/dev/null; true")
        result = mount.run(SENDMAIL, YOU, text=MAIL)
        assert result.code == 75, result
        is_sentence(result, machine.spool, "No space", "nothing was accepted")
        result = mount.run(SMARTRELAY, "flush")
        assert result.code in (0, 74), result
        is_no_bug(result)
        mount.shell("rm -r var/filler var/rest")
        result = mount.run(SMARTRELAY, "flush", "--all")
        assert result.code == 0, result.errors
        found = sorted(subject(each.content) for each in server.accepted)
        assert found == ["Undelivered Mail Returned to Sender", "last", "one", "several"]
        assert mount.shell("find tmp new cur state -type f") == ""


def test_a_file_size_limit_of_the_caller(machine: Machine) -> None:
    """C-001: `ulimit -f` in the calling program: refused in words, not killed by SIGXFSZ, and no litter."""  # D-108
    machine.enqueue(MAIL, YOU)
    command = f"ulimit -f 16; exec {shlex.quote(SENDMAIL)} {YOU}"
    with machine.start_program("sh", "-c", command, text=b"Subject: x\n\n" + b"x" * 99 * 1000) as running:
        result = running.wait()
    assert result.code == 74, result
    is_sentence(result, "File too large", "nothing was accepted")
    assert len(machine.ids()) == 1
    assert os.listdir(f"{machine.spool}/tmp") == []


@pytest.mark.as_another_user
@pytest.mark.parametrize("directory", ["tmp", "new", "cur", "state"])
def test_a_directory_of_the_spool_that_may_not_be_written(open_machine: Machine, smtp_server: Servers, directory: str) -> None:
    """2.4: for one who is not root (root may write anywhere): nothing is sent whose verdict could not be written, 74."""
    machine = open_machine
    server = smtp_server()
    machine.relay_to(server)
    assert as_nobody(machine, SENDMAIL, "-f", "me@a.example", YOU, text=MAIL).code == 0
    os.chmod(f"{machine.spool}/{directory}", 0o500)
    result = as_nobody(machine, SMARTRELAY, "flush")
    assert result.code == 74, result
    is_sentence(result, f"{machine.spool}/{directory}", "nothing was sent")
    assert not server.sessions
    result = as_nobody(machine, SENDMAIL, "-f", "me@a.example", YOU, text=MAIL)
    if directory in ("tmp", "new"):
        assert result.code == 74, result
        is_sentence(result, machine.spool, "nothing was accepted")
    else:
        assert result.code == 0, result
    queued = len(machine.ids())
    os.chmod(f"{machine.spool}/{directory}", 0o700)
    result = as_nobody(machine, SMARTRELAY, "flush")
    assert result.code == 0, result.errors
    assert len(server.accepted) == queued
    assert machine.ids() == os.listdir(f"{machine.spool}/tmp") == []


@pytest.fixture
def open_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine that user nobody can reach, and its spool is theirs."""
    import shutil
    import tempfile

    assert os.geteuid() == 0, "this test needs root, to become somebody who is not"
    folder = tempfile.mkdtemp(prefix="smartrelay-bad-")
    try:
        os.chmod(folder, 0o755)
        made = Machine(folder)
        os.mkdir(made.spool, 0o700)
        os.chown(made.spool, NOBODY, NOBODY)
        yield made
    finally:
        shutil.rmtree(folder)


def as_nobody(machine: Machine, program: str, *arguments: str, text: bytes = b"") -> Result:
    """Runs a program as user nobody."""
    who = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    with machine.start_program("setpriv", *who, program, *arguments, text=text) as running:
        return running.wait()


# Files in the spool.


def place_foreign(path: str, kind: str) -> None:
    """Something that is no message."""
    if kind == "empty":
        open(path, "xb").close()
    elif kind == "garbage":
        with open(path, "xb") as file:
            file.write(os.urandom(3000))
    elif kind == "unfinished":
        with open(path, "xb") as file:
            file.write(b'Smartrelay-Envelope: {"v":1,"arrived":1')
    elif kind == "nested":
        with open(path, "xb") as file:
            file.write(b"Smartrelay-Envelope: " + b"[" * 100_000 + b"\n")
    elif kind == "directory":
        os.makedirs(f"{path}/below")
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "symlink":
        os.symlink("/etc/passwd", path)
    elif kind == "dangling":
        os.symlink("/nonexistent", path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as bound:
            before = os.open(".", os.O_RDONLY)
            try:
                os.chdir(os.path.dirname(path))  # the name of a socket is short
                bound.bind(os.path.basename(path))
            finally:
                os.fchdir(before)
                os.close(before)
    else:
        raise AssertionError(kind)


KINDS = ("empty", "garbage", "unfinished", "nested", "directory", "fifo", "symlink", "dangling", "socket")
NAMES = ("README", "odd\n<3>name\x1b[31m", "\udcff\udcfe", ".hidden", "x" * 200, "..x", "*", "%s", "README")


@pytest.mark.parametrize("directory", ["tmp", "new", "cur", "hold", "corrupt", "state"])
def test_foreign_files_in_the_spool_stop_nothing_and_are_never_deleted(
    machine: Machine, smtp_server: Servers, directory: str
) -> None:
    """Law 6, C-013: one of each kind, under an id and under a name of each kind. Mail is served, what is in its way goes to
    corrupt/ with a word in one line, nothing is followed or deleted, and a second pass has nothing more to say."""
    server = smtp_server()
    machine.relay_to(server)
    machine.enqueue(b"Subject: first\n\n", YOU)
    for number, kind in enumerate(KINDS):
        place_foreign(f"{machine.spool}/{directory}/{ID[:-1]}{number}", kind)
        place_foreign(f"{machine.spool}/{directory}/{NAMES[number]}{number}", kind)
    for name in (f"{ID[:-2]}YY,n=1", f"{ID[:-2]}ZZ,n=soon"):
        place_foreign(f"{machine.spool}/{directory}/{name}", "garbage")
    count = 2 * len(KINDS) + 2
    machine.enqueue(b"Subject: last\n\n", YOU)
    result = machine.flush()
    is_no_bug(result)
    assert sorted(subject(each.content) for each in server.accepted) == ["first", "last"]
    assert are_lines(result)
    left = os.listdir(f"{machine.spool}/corrupt")
    if directory in ("new", "cur"):
        assert len(left) == count, sorted(left)
        assert len([line for line in result.log if "set aside" in line]) == count
    elif directory == "state":  # a journal without a message is removed; what is none stays
        assert {f"{name}{number}" for number, name in enumerate(NAMES)} <= set(os.listdir(f"{machine.spool}/state"))
    else:
        assert len(os.listdir(f"{machine.spool}/{directory}")) == count
    assert machine.flush().errors == ""
    for command in (["list"], ["retry", "--all"], ["release", "--all"]):
        result = machine.run("queue", *command)
        assert result.code == 0, result
        assert are_lines(result)


def are_lines(result: Result) -> bool:
    """Whether each line is one of ours, so that no file's name has made one."""
    lines = result.errors.splitlines()
    return all(line.isprintable() and line.startswith(("<", "smartrelay: ")) for line in lines)


def test_commands_on_corrupt_messages(machine: Machine) -> None:
    """Law 6: a sentence or success for each, never a bug, and never is anything outside the spool touched."""
    machine.relay_to(Nowhere())
    sound = machine.enqueue(MAIL, YOU)
    with open("/etc/passwd", "rb") as file:
        before = file.read()
    ids = {kind: f"{ID[:-1]}{number}" for number, kind in enumerate(KINDS)}
    for kind, one in ids.items():
        place_foreign(f"{machine.spool}/cur/{one},n=1", kind)
    for command in (
        ["expire", "--yes"],
        ["delete", "--bounce", "--yes"],
        ["hold"],
        ["release"],
        ["retry"],
        ["delete", "--yes"],
    ):
        result = machine.run("queue", *command, *ids.values())
        is_no_bug(result)
        assert result.code in (0, 65, 66, 74), result
        assert are_lines(result)
    for state in ("new", "cur", "hold"):
        for name in os.listdir(f"{machine.spool}/{state}"):
            os.rename(f"{machine.spool}/{state}/{name}", f"{machine.folder}/{state}-{name}")
    for kind, one in ids.items():
        place_foreign(f"{machine.spool}/cur/{one},n=1", kind)
    for kind, one in ids.items():
        result = machine.run("queue", "show", one)
        assert result.code == 65, (kind, result)
        is_sentence(result)
    result = machine.run("flush", *ids.values())
    is_no_bug(result)
    with open("/etc/passwd", "rb") as file:
        assert file.read() == before
    assert os.path.exists(f"{machine.folder}/new-{sound}")


class Nowhere:
    """A port on which nobody listens."""

    port = 1


def cut_message(machine: Machine, one: str, change: Callable[[bytes], bytes]) -> None:
    """Damages a queued message."""
    path = machine.path(one)
    with open(path, "rb") as file:
        content = file.read()
    with open(path, "wb") as file:
        file.write(change(content))


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "zero bytes": lambda content: b"",
    "truncated in the envelope": lambda content: content[:40],
    "truncated after the envelope": lambda content: content.partition(b"\n")[0] + b"\n",
    "one octet short": lambda content: content[:-1],
    "one octet more": lambda content: content + b"x",
    "all NUL": lambda content: bytes(len(content)),
    "another version": lambda content: content.replace(b'"v":1', b'"v":2'),
    "no recipient": lambda content: re.sub(rb'"recipients":\[.*?\]', b'"recipients":[]', content),
    "a line break in a recipient": lambda content: content.replace(b"you@b.example", b"you@b.example\\r\\nDATA", 1),
    "a number for a recipient": lambda content: content.replace(b'"you@b.example"', b"7", 1),
    "a list for the whole": lambda content: b"Smartrelay-Envelope: [1]\n" + content,
    "an arrival at NaN": lambda content: re.sub(rb'"arrived":[0-9.]+', b'"arrived":NaN', content),
    "an arrival at infinity": lambda content: re.sub(rb'"arrived":[0-9.]+', b'"arrived":1e999', content),
}


@pytest.mark.parametrize("state", ["new", "cur"])
def test_a_damaged_message_is_set_aside_whole_and_the_rest_goes(machine: Machine, smtp_server: Servers, state: str) -> None:
    """Law 6, C-013: not a part of it is sent, to nobody; it is kept for a person, octet for octet."""
    server = smtp_server(replies={"RCPT TO:<you@": b"450 4.2.0 later"} if state == "cur" else None)
    machine.relay_to(server)
    ids = {machine.enqueue(MAIL, YOU): damage for damage in DAMAGE}
    if state == "cur":
        machine.flush()
        server.replies.clear()
    damaged = {}
    for one, damage in ids.items():
        cut_message(machine, one, DAMAGE[damage])
        with open(machine.path(one), "rb") as file:
            damaged[one] = file.read()
    machine.enqueue(b"Subject: sound\n\n", YOU)
    result = machine.flush("--all")
    is_no_bug(result)
    assert [subject(each.content) for each in server.accepted] == ["sound"]
    found = {}
    for name in os.listdir(f"{machine.spool}/corrupt"):
        with open(f"{machine.spool}/corrupt/{name}", "rb") as file:
            found[name[:17]] = file.read()
    assert {ids[one] for one in found} == set(DAMAGE)
    assert found == damaged
    assert len([line for line in result.log if "set aside" in line]) == len(DAMAGE)
    assert machine.ids() == []


_PUT_OFF = b'{"event":"attempt","time":1,"relay":"r","results":[[0,"deferred","4.0.0","x",450,"h","p",false]]'
_ROWS = b'{"event":"attempt","time":1,"relay":"r","results":[%s]}\n'
JOURNALS = {
    "garbage": os.urandom(5000),
    "NULs": bytes(5000),
    "lines of garbage": b"\n".join(os.urandom(50) for _ in range(50)) + b"\n",
    "deep": b"[" * 100_000 + b"\n",
    "numbers": b"1\n2\nnull\ntrue\n[]\n{}\n",
    "no fields": b'{"event":"attempt"}\n{"event":"notice"}\n{"event":"bounced"}\n',
    "strange kinds": b'{"event":"attempt","time":"x","relay":{},"results":7}\n{"event":"bounced","number":"x"}\n',
    "short rows": _ROWS % b"[0],[1,2,3]",
    "recipients before the first": _ROWS % b'[-1,"delivered","2.0.0","x",250,"h","p",false]',
    "recipients behind the last": _ROWS % b'[7,"failed","5.0.0","x",550,"h","p",false]',
    "an action that is none": _ROWS % b'[0,"eaten","2.0.0","x",250,"h","p",false]',
    "a bounce at NaN": _PUT_OFF + b',"notice":{"number":1,"time":NaN,"recipients":[0]}}\n',
    "a bounce in the far future": _PUT_OFF + b',"notice":{"number":1,"time":1e300,"recipients":[0]}}\n',
    "a bounce before all time": _PUT_OFF + b',"notice":{"number":1,"time":-1e9,"recipients":[0]}}\n',
    "a bounce about nobody": _PUT_OFF + b',"notice":{"number":1,"time":1,"recipients":[-1,9,"x"]}}\n',
    "a bounced that was not called for": b'{"event":"bounced","time":1,"number":3}\n',
    "a long line": b'{"event":"hold","time":1,"x":"' + b"x" * 2_000_000 + b'"}\n',
    "a strange time": b'{"event":"hold","time":NaN}\n{"event":"retry","time":"then"}\n{"event":"hold","time":1e99}\n',
}


def test_a_journal_of_nonsense_loses_no_mail(machine: Machine, smtp_server: Servers) -> None:
    """2.4: what an event says that cannot be does not count; the message goes, and everything that shows it works."""
    server = smtp_server()
    machine.relay_to(server)
    ids = {}
    for number, (case, text) in enumerate(JOURNALS.items()):
        one = machine.enqueue(b"Subject: m%d\n\n" % number, YOU)
        ids[one] = case
        with open(f"{machine.spool}/state/{one}", "wb") as file:
            file.write(text)
    for command in (["list"], ["list", "--json"], ["hold", *ids], ["release", "--all"]):
        result = machine.run("queue", *command)
        assert result.code == 0, (command, result.errors)
        assert result.output.count(b"\n") == (len(ids) if command[0] == "list" else 0)
        is_no_bug(result)
    for one, case in ids.items():
        result = machine.run("queue", "show", *(["--json"] if case in ("numbers", "no fields") else []), one)
        assert result.code == 0, (case, result)
    is_no_bug(machine.flush())
    found = {subject(each.content) for each in server.accepted}
    missing = {case for number, case in enumerate(JOURNALS) if f"m{number}" not in found}
    assert not missing
    machine.flush()
    assert machine.ids() == []
    assert os.listdir(f"{machine.spool}/state") == []


@pytest.mark.parametrize("kind", ["directory", "fifo", "symlink", "dangling", "socket"])
def test_a_journal_that_is_no_file_holds_up_its_message_only(machine: Machine, smtp_server: Servers, kind: str) -> None:
    """Laws 6 and 7: its message is not sent without a place for verdicts (74), the rest is; put right, it goes."""
    server = smtp_server()
    machine.relay_to(server)
    one = machine.enqueue(MAIL, YOU, "other@b.example")
    path = f"{machine.spool}/state/{one}"
    place_foreign(path, kind)
    machine.enqueue(b"Subject: sound\n\n", YOU)
    result = machine.flush(code=74)
    is_no_bug(result)
    assert [subject(each.content) for each in server.accepted] == ["sound"]
    assert machine.ids() == [one]
    listed = machine.run("queue", "list")
    assert listed.output.startswith(one.encode()), listed
    is_no_bug(machine.run("queue", "hold", one))
    os.rename(path, f"{machine.folder}/aside")
    machine.run("queue", "release", one)
    machine.flush("--all")
    assert [subject(each.content) for each in server.accepted] == ["sound", "mail"]
    assert machine.ids() == []


# Ids.

IDS = ["../../etc/passwd", "\udcff" * 17, "a\nb", f"{ID},n=1", ""]
MORE_IDS = [
    "/etc/passwd",
    "..",
    ".",
    "*",
    f"{ID}/../{ID}",
    ID[:-1],
    f"{ID}0",
    "A" * 17,
    "25X0NVJCXF5XQKQQ\u00b2",
    "x" * 100_000,
]
QUEUE_VERBS = [
    ["hold"],
    ["release"],
    ["retry"],
    ["delete", "--yes"],
    ["delete", "--bounce", "--yes"],
    ["expire", "--yes"],
    ["show"],
]
VERBS = [["flush"], *(["queue", *verb] for verb in QUEUE_VERBS)]


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_an_id_that_is_none(machine: Machine, verb: list[str]) -> None:
    """2.4: ids are parsed, never joined to a path unseen: 66 and one printable sentence, and nothing is touched."""
    machine.relay_to(Nowhere())
    machine.enqueue(MAIL, YOU)
    before = machine.tree()
    for one in IDS + (MORE_IDS if verb[-1] == "show" else []):
        result = machine.run(*verb, "--", one)
        assert result.code == 66, (one, result)
        assert all(line.isprintable() for line in result.errors.splitlines())
        assert len(result.errors) < 500
        is_no_bug(result)
    assert machine.tree() == before
    result = machine.run(*verb, ID)  # well formed, and not there
    assert result.code == 66
    assert ID in result.said
    is_no_bug(result)


def test_ids_on_standard_input_are_read_as_strictly(machine: Machine) -> None:
    """2.1: `-`; one bad word and nothing is done."""
    one = machine.enqueue(MAIL, YOU)
    result = machine.run("queue", "delete", "--yes", "-", text=f"{one}\n../../etc/passwd\n".encode())
    assert result.code == 66
    is_sentence(result, "../../etc/passwd")
    assert machine.ids() == [one]
    result = machine.run("queue", "delete", "--yes", "-", text=b"\xff\xfe\0\n")
    assert result.code == 66, result
    is_no_bug(result)
    assert machine.run("queue", "delete", "--yes", "-", text=f"{one}\n{one}\n".encode()).code == 0
    assert machine.ids() == []


# The clock.

YEAR = 366 * 86400
SITE = "import os, time\n_real, _by = time.time, float(os.environ['CLOCK_BY'])\ntime.time = lambda: _real() + _by\n"


@pytest.fixture
def clock_by(machine: Machine) -> Callable[[float], dict[str, str]]:
    """The environment of a command whose clock is off by so many seconds."""
    folder = os.path.join(machine.folder, "site")
    os.mkdir(folder)
    with open(os.path.join(folder, "sitecustomize.py"), "w", encoding="ascii") as file:
        file.write(SITE)
    return lambda seconds: {"PYTHONPATH": folder, "CLOCK_BY": str(seconds)}


@pytest.mark.parametrize("off", [-time.time() + 3600, -YEAR, YEAR, 30 * YEAR], ids=["1970", "back", "ahead", "far"])
def test_a_clock_that_was_wrong_delays_nothing_for_long(
    machine: Machine, smtp_server: Servers, clock_by: Callable[[float], dict[str, str]], off: float
) -> None:
    """2.4: mail that came in, or was put off, under a wrong clock goes when the clock is right (or wrong) again; it is not
    lost, not bounced, and never set for a time further off than a day."""
    server = smtp_server(replies={"RCPT": b"450 4.2.1 later"})
    # by such a clock it is hours old already, and its sender would be told of that
    machine.configure(relay(f"smtp+notls://127.0.0.1:{server.port}"), "[queue]\nwarn_after = []")
    machine.enqueue(b"Subject: before\n\n", YOU)
    machine.enqueue(b"Subject: wrong\n\n", YOU, env=clock_by(off))
    result = machine.flush(env=clock_by(off))
    is_no_bug(result)
    assert len(machine.ids("cur")) == 2
    machine.enqueue(b"Subject: after\n\n", YOU)
    for command in (["list", "--older-than", "1h"], ["show", machine.ids("cur")[0]]):
        result = machine.run("queue", *command, env=clock_by(off))
        assert result.code == 0, result
    server.replies.clear()
    machine.flush()
    assert sorted(subject(each.content) for each in server.accepted) == ["after", "before", "wrong"]
    assert machine.ids() == []


def test_a_next_attempt_in_a_far_future_is_due_now(machine: Machine, smtp_server: Servers) -> None:
    """2.4: further off than 24 h and twice the longest step is a clock's mistake, whatever its size; nearer is waited for."""
    server = smtp_server()
    machine.relay_to(server)
    now = int(time.time())
    ends = [f"{now + YEAR}", f"{now + 90_000}", "9" * 15, "9" * 40, "-5", "1e3", "", "0", "soon", "\u0663"]
    for number, end in enumerate(ends):
        one = machine.enqueue(b"Subject: m%d\n\n" % number, YOU)
        os.rename(machine.path(one), f"{machine.spool}/cur/{one},n={end}")
    waits = machine.enqueue(b"Subject: waits\n\n", YOU)
    os.rename(machine.path(waits), f"{machine.spool}/cur/{waits},n={now + 3600}")
    result = machine.flush()
    is_no_bug(result)
    assert sorted(subject(each.content) for each in server.accepted) == sorted(f"m{n}" for n in range(len(ends)))
    assert machine.ids() == [waits]


# The sendmail command.


def in_shell(machine: Machine, script: str, text: bytes = MAIL) -> Result:
    """Runs a shell script in which $SENDMAIL and $SMARTRELAY are the commands."""
    variables = {"SENDMAIL": SENDMAIL, "SMARTRELAY": SMARTRELAY}
    with machine.start_program("sh", "-c", script, text=text, env=variables) as running:
        return running.wait()


CALLS: dict[str, tuple[list[str], bytes, int, str]] = {
    "unknown option": (["-Z", YOU], MAIL, 64, "unknown option -Z"),
    "unknown long option": (["--frobnicate", YOU], MAIL, 64, "--frobnicate"),
    "an option without its value": (["-f"], MAIL, 64, "-f needs a value"),
    "a mode that is none": (["-bz", YOU], MAIL, 64, "-bz"),
    "a daemon": (["-bd"], MAIL, 64, "no daemon"),
    "no recipients": ([], MAIL, 64, "no recipients"),
    "no recipients in the header": (["-t"], MAIL, 64, "no recipients"),
    "a recipient with a space": (["you@b example"], MAIL, 65, "b example"),
    "a recipient with a line break": (["you@b.example\nDATA"], MAIL, 65, ""),
    "a recipient with a control character": (["you\x01@b.example"], MAIL, 65, ""),
    "half a recipient": (["you@"], MAIL, 65, ""),
    "a recipient that is not UTF-8": (["\udcff@b.example"], MAIL, 65, ""),
    "one bad recipient among good ones": ([YOU, "<you@b", "he@b.example"], MAIL, 65, ""),
    "a bad recipient in the header": (["-t"], b"To: you@b.example, x y z@@\n\n", 65, ""),
    "a sender with a space": (["-f", "a b@c d", YOU], MAIL, 65, ""),
    "two senders": (["-f", "a@b.example, c@d.example", YOU], MAIL, 65, "-f"),
    "too large": ([YOU], b"Subject: x\n\n" + b"x" * 3_000_000, 65, "max_message_size"),
    "too many recipients": ([f"r{number}@b.example" for number in range(12)], MAIL, 65, "max_recipients"),
    "too many recipients in the header": (
        ["-t"],
        b"To: " + b",\n ".join(b"r%d@b.example" % number for number in range(12)) + b"\n\n",
        65,
        "max_recipients",
    ),
    "a header without end": ([YOU], b"Subject: x\n" + b"X-More: and more\n" * 100_000, 65, "1 MiB"),
    "a header line without end": ([YOU], b"Subject: " + b"x" * 1_500_000, 65, "1 MiB"),
}


@pytest.mark.parametrize("case", CALLS)
def test_a_call_of_sendmail_that_makes_no_sense(machine: Machine, case: str) -> None:
    """C-001, sysexits: 64 for the call, 65 for the mail; the caller who writes on is not killed; nothing is queued or left."""
    machine.configure(top='max_message_size = "2M"\nmax_recipients = 10')
    arguments, text, code, word = CALLS[case]
    result = machine.sendmail(text, *arguments)
    assert result.code == code, result
    is_sentence(result, word)
    assert not os.path.exists(machine.spool) or not machine.ids("new", "cur", "tmp")


def test_sendmail_without_standard_input(machine: Machine) -> None:
    """66: closed, or only to be written to; there is no message in nothing."""  # D-085 D-103
    for redirection in ("<&-", "0>/dev/null"):
        result = in_shell(machine, f'exec "$SENDMAIL" {YOU} {redirection}')
        assert result.code == 66, result
        is_sentence(result, "standard input")
    assert not os.path.exists(machine.spool) or machine.ids("new", "tmp") == []


def test_sendmail_with_all_descriptors_closed(machine: Machine) -> None:
    """No file of the spool may come to be standard input, output or error."""  # D-087
    machine.enqueue(MAIL, YOU)
    result = in_shell(machine, f'"$SENDMAIL" {YOU} <&- >&- 2>&-; code=$?; test $code -eq 66 || echo $code')
    assert result.output == b""
    assert len(machine.ids("new")) == 1
    for closed in (">&-", "2>&-", ">&- 2>&-"):
        result = in_shell(machine, f'exec "$SENDMAIL" -v {YOU} {closed}')
        assert result.code == 0, (closed, result)
    assert len(machine.ids("new")) == 4
    for one in machine.ids("new"):
        assert machine.text(one).endswith(b"\n\nbody\n")
        assert machine.text(one).startswith(b"Received: ")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_pass_with_descriptors_closed(machine: Machine, smtp_server: Servers, closed: str) -> None:
    """A cron that closes them must not make a pass write its log into a file of the spool, or fail."""
    server = smtp_server(replies={"RCPT TO:<bad@": b"550 5.1.1 no"})
    machine.relay_to(server)
    machine.enqueue(MAIL, YOU, "bad@b.example")
    result = in_shell(machine, f'exec "$SMARTRELAY" flush {closed}')
    assert result.code == 0, result
    assert len(server.accepted) == 2
    assert machine.ids() == []
    for name in ("lock", "format"):
        with open(f"{machine.spool}/{name}", encoding="ascii") as file:
            assert file.read() == ("1\n" if name == "format" else "")


@pytest.mark.parametrize("mask", ["0777", "0000", "0277"])
def test_the_callers_umask_does_not_matter(machine: Machine, smtp_server: Servers, mask: str) -> None:
    """2.4: 0700 and 0600 whatever the caller's umask, for a spool that is made and for all files in it."""  # D-087
    server = smtp_server(replies={"RCPT TO:<later@": b"450 4.2.1 later"})
    machine.relay_to(server)
    result = in_shell(machine, f'umask {mask}; "$SENDMAIL" {YOU} later@b.example && exec "$SMARTRELAY" flush')
    assert result.code == 0, result.errors
    for folder, _, names in os.walk(machine.spool):
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700, folder
        for name in names:
            assert stat.S_IMODE(os.stat(f"{folder}/{name}").st_mode) == 0o600, name
    assert len(server.accepted) == 1


def test_sendmail_with_nothing_around_it(machine: Machine) -> None:
    """An empty environment and a working directory that is gone: cron, inetd, a web server's hook."""  # D-087
    os.mkdir(f"{machine.folder}/gone")
    script = f'cd gone && rmdir ../gone && exec env -i "$SENDMAIL" --config {machine.config} --spool {machine.spool} {YOU}'
    result = in_shell(machine, script)
    assert result.code == 0, result
    assert len(machine.ids("new")) == 1
    machine.relay_to(Nowhere())
    os.mkdir(f"{machine.folder}/gone")
    script = f'cd gone && rmdir ../gone && exec env -i "$SMARTRELAY" --spool {machine.spool} queue list'
    result = in_shell(machine, script)
    assert result.code == 0, result
    assert result.output.count(b"\n") == 1


def test_a_full_name_that_is_not_utf_8(machine: Machine) -> None:
    """-F from a Latin-1 locale: the mail is taken, and what is stored can be read as UTF-8 or ASCII."""  # D-087
    one = machine.enqueue(MAIL, "-F", "J\udcf6rg", YOU)
    author = re.search(rb"^From: (.*)$", machine.text(one), re.MULTILINE)
    assert author
    author[1].decode("utf-8")


def test_less_room_than_min_free_space(machine: Machine) -> None:
    """2.3: 75: try again; nothing was accepted."""
    machine.configure(top="")
    with open(machine.config, "w", encoding="utf-8") as file:
        file.write('min_free_space = "100000T"\n')
    result = machine.sendmail(MAIL, YOU)
    assert result.code == 75
    is_sentence(result, "min_free_space", machine.spool, "nothing was accepted")
    assert machine.ids("new", "tmp") == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_while_sendmail_reads(machine: Machine, number: signal.Signals) -> None:
    """C-001: ended half-way, nothing is queued, nothing is left in tmp/, and the exit code is not 0."""  # D-086
    machine.enqueue(MAIL, YOU)
    read, write = os.pipe()
    with machine.start_program(SENDMAIL, YOU, text=read) as running:
        os.close(read)
        os.write(write, b"Subject: half\n\n" + b"half a message\n" * 1000)
        end = time.monotonic() + TIMEOUT
        while not os.listdir(f"{machine.spool}/tmp"):
            assert time.monotonic() < end, "sendmail did not begin a draft"
        running.signal(number)
        os.close(write)
        result = running.wait()
    assert result.code != 0, result
    is_sentence(result, "nothing was accepted")
    assert os.listdir(f"{machine.spool}/tmp") == []
    assert len(machine.ids()) == 1


# Other commands.

USAGE = [
    ["frobnicate"],
    ["flush", "--frobnicate"],
    ["flush", "--wait", "soon"],
    ["flush", "--every", "0"],
    ["flush", "--every", "1m", "--all"],
    ["queue", "frobnicate"],
    ["queue", "hold"],
    ["queue", "delete", "--yes"],
    ["queue", "delete", "--bounce"],
    ["queue", "expire"],
    ["queue", "expire", "--all", ID],
    ["queue", "retry", "--all", ID],
    ["queue", "list", "--state", "eaten"],
    ["queue", "list", "--older-than", "yesterday"],
    ["--config"],
]


def test_command_lines_that_make_no_sense(machine: Machine) -> None:
    """Sysexits 64, one sentence, and the queue is as it was."""
    machine.enqueue(MAIL, YOU)
    before = machine.tree()
    for command in USAGE:
        result = machine.run(*command)
        assert result.code == 64, (command, result)
        is_sentence(result)
    assert machine.tree() == before


@pytest.mark.parametrize("words", ["queue list", "queue list --json", "check", "health", "route you@b.example", "mailq"])
def test_nobody_reads_what_is_said_and_that_is_no_failure(machine: Machine, words: str) -> None:
    """`smartrelay queue list | head -1`: it ends at once, without a word, and with 0."""
    machine.configure(relay("smtp+notls://127.0.0.1:1"))
    machine.enqueue(b"Subject: x\n\nhello\n", "you@b.example")
    machine.run("flush")
    read, write = os.pipe()
    os.close(read)
    command = [SMARTRELAY, *words.split()]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, env=machine.environment, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")
