"""A single user without root has it all under their own home: spool, configuration, units. Real users, with nothing else."""

import os
import pwd
import re
import shlex
import signal
import smtplib
import stat
import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.commands import SMARTRELAY, relay
from tests.e2e.test_ownership import Host, host
from tests.support.process import free_port, listens
from tests.support.smtp_server import ScriptedServer
from tests.support.smtp_talk import until
from tests.support.users import users, way_to_python

__all__ = ["host"]  # the fixture
pytestmark = pytest.mark.as_another_user

TEXT = b"Subject: x\n\nhello\n"


class Home:
    """A user with smartrelay set up in their home, and another one."""

    def __init__(self, user: pwd.struct_passwd, other: pwd.struct_passwd, way: list[str]) -> None:
        self.user, self.other, self.way = user, other, way
        self.settings = f"{user.pw_dir}/.config/smartrelay/smartrelay.toml"
        self.spool = f"{user.pw_dir}/.local/state/smartrelay"
        self.sendmail = f"{user.pw_dir}/.local/bin/sendmail"

    def start(self, *words: str, by: pwd.struct_passwd | None = None) -> "subprocess.Popen[bytes]":
        """As this user, with no more in the environment than a login has."""
        user = by or self.user
        become = [*self.way, "setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--init-groups"]
        environment = {"HOME": user.pw_dir, "USER": user.pw_name, "PATH": os.environ["PATH"]}
        pipe = subprocess.PIPE
        return subprocess.Popen([*become, *words], stdin=pipe, stdout=pipe, stderr=pipe, cwd="/", env=environment)

    def run(self, *words: str, text: bytes = b"", by: pwd.struct_passwd | None = None) -> tuple[int, str, str]:
        """Exit code, standard output, standard error."""
        with self.start(*words, by=by) as process:
            output, errors = process.communicate(text)
        return process.returncode, output.decode(), errors.decode()

    def done(self, *words: str, text: bytes = b"") -> str:
        code, output, errors = self.run(*words, text=text)
        assert code == 0, errors
        return output

    def configure(self, tables: str) -> None:
        with open(self.settings, "a", encoding="utf-8") as file:
            file.write(f'\nhostname = "client.a.example"\ndomain = "a.example"\nmin_free_space = 0\n{tables}')


@pytest.fixture
def home(host: Host) -> Iterator[Home]:
    with users(host.folder, "Alice Smith,Room 1", "Mallory") as (alice, mallory):
        one = Home(alice, mallory, way_to_python(f"{host.folder}/python"))
        one.done(SMARTRELAY, "setup", "--user", "--yes")
        yield one


def test_mail_goes_from_the_users_own_spool_by_the_users_own_unit(
    home: Home, smtp_server: Callable[..., ScriptedServer]
) -> None:
    server = smtp_server()
    home.configure(relay(f"smtp+notls://127.0.0.1:{server.port}"))
    home.done(home.sendmail, "you@b.example", text=TEXT)
    home.done(home.sendmail, "-bs", text=b"MAIL FROM:<me@a.example>\nRCPT TO:<you@b.example>\nDATA\nSubject: y\n\n.\n")
    assert len(os.listdir(f"{home.spool}/new")) == 2
    with open(f"{home.user.pw_dir}/.config/systemd/user/smartrelay-flush.service", encoding="utf-8") as file:
        unit = file.read()
    (command,) = re.findall(r"(?m)^ExecStart=(.*)$", unit)
    home.done(*shlex.split(command))
    assert len(server.accepted) == 2
    sender = f"{home.user.pw_name}@a.example"
    assert any(f"From: Alice Smith <{sender}>".encode() in message.content for message in server.accepted)
    assert os.listdir(f"{home.spool}/new") == os.listdir(f"{home.spool}/cur") == []
    assert home.done(SMARTRELAY, "queue", "list") == ""


def test_it_is_all_theirs_and_nobody_elses(home: Home) -> None:
    home.done(home.sendmail, "you@b.example", text=TEXT)
    os.chmod(home.user.pw_dir, 0o755)  # a home that is open to others
    found = [
        os.lstat(os.path.join(folder, name)) for folder, names, files in os.walk(home.user.pw_dir) for name in names + files
    ]
    assert {(status.st_uid, status.st_gid) for status in found} == {(home.user.pw_uid, home.user.pw_gid)}
    for folder, names, files in os.walk(home.spool):
        for name in names + files:
            assert not stat.S_IMODE(os.lstat(os.path.join(folder, name)).st_mode) & 0o077, name
    for attack in (f"ls {home.spool}", f"cat {home.spool}/new/*", f"echo > {home.spool}/new/x", f"echo >> {home.settings}"):
        assert home.run("/bin/sh", "-c", attack, by=home.other)[0] != 0
    for words in (["queue", "list"], ["flush"], ["queue", "delete", "--all", "--yes"]):
        refused = home.run(SMARTRELAY, "--spool", home.spool, *words, by=home.other)
        assert refused[0] in (74, 77) and refused[1] == "", refused
    # the other one's mail never comes into this spool, whatever they name
    assert home.run(home.sendmail, "-f", "x@y.example", "you@b.example", text=TEXT, by=home.other)[0] != 0
    assert len(os.listdir(f"{home.spool}/new")) == 1


def test_flush_serves_the_users_own_socket_and_port(home: Home, smtp_server: Callable[..., ScriptedServer]) -> None:
    server, port, door = smtp_server(), free_port(), f"{home.user.pw_dir}/run/submit.sock"
    tables = f'[submit]\nlisten = ["127.0.0.1:{port}"]\n' + relay(f"smtp+notls://127.0.0.1:{server.port}")
    home.configure(f'submit_socket = "{door}"\n{tables}')
    with home.start(SMARTRELAY, "flush", "--every", "1h", "--listen") as running:
        try:
            until(lambda: listens(port) or running.poll() is not None)
            assert os.path.exists(door)
            with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
                client.sendmail("me@a.example", ["you@b.example"], b"Subject: y\r\n\r\n")
            until(lambda: len(server.accepted) == 1)
            running.send_signal(signal.SIGTERM)
            assert running.wait() == -signal.SIGTERM
        finally:
            running.kill()


def test_what_was_set_up_goes_again_and_the_mail_stays(home: Home) -> None:
    home.done(home.sendmail, "you@b.example", text=TEXT)
    home.done(SMARTRELAY, "setup", "--user", "--remove", "--yes")
    assert not os.path.lexists(home.sendmail)
    assert len(os.listdir(f"{home.spool}/new")) == 1
