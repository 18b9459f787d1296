"""A newcomer's walk: from a checkout, with the README only, to a message that was relayed through a smart host with a password
over TLS that was verified."""

import os
import shlex

from tests.readme.host import SYSTEMCTL, Host
from tests.readme.page import INSTALL, Page, runs

SETUP = "/opt/smartrelay/bin/smartrelay setup"
SECRET = "echo 'the password' | install -o smartrelay -m 0600 /dev/stdin /etc/smartrelay/work.secret"
HELLO = 'echo "Subject: hello" | sendmail -v you@example.org'
UNITS = "smartrelay-flush.timer smartrelay-flush.path smartrelay-submit.socket"


def configure(host: Host, text: str) -> None:
    """Copies a block of the README, whose first line says where."""
    host.write(text.splitlines()[0].removeprefix("# "), text)


@runs(*INSTALL, SETUP, SECRET, "smartrelay check", HELLO, "smartrelay queue list")
def test_from_a_checkout_to_a_message_at_the_smart_host(bare: Host, page: Page) -> None:
    said = bare.answer(SETUP, b"y\n").decode()
    assert said.count("would ") >= len(said.splitlines()) / 2, "shown first, then done"
    assert f"enable {UNITS}" in bare.read(SYSTEMCTL)
    assert all(os.path.isfile(bare.path(f"/etc/systemd/system/{unit}")) for unit in UNITS.split())
    configure(bare, page.block('name  = "work"'))
    bare.type(SECRET)
    first, second = bare.smart_host(), bare.smart_host("backup.example.org", port=465)
    with bare.socket("smartrelay-submit"):
        checked = bare.type("smartrelay check")
    lines = [line.split("\t") for line in checked.output.decode().splitlines()]
    assert {line[0] for line in lines} == {"ok"}, checked
    hosts = [line for line in lines if line[1].startswith("host ")]
    assert len(hosts) == 2
    assert all("verified; signed in as me" in line[2] for line in hosts)
    assert first.accepted == second.accepted == []

    queued = bare.type(HELLO).errors.split()[-1]
    assert queued in bare.type("smartrelay queue list").output.decode()
    assert bare.start_service("smartrelay-flush.service").code == 0
    (mail,) = first.accepted
    assert (mail.mail_from.split()[1], mail.recipients) == (b"FROM:<root@example.org>", [b"<you@example.org>"])
    assert b"\nSubject: hello\n" in mail.content.replace(b"\r\n", b"\n")
    session = first.sessions[-1]
    assert (session.tls, session.user) == (True, "me")
    assert bare.type("smartrelay queue list").output == b""
    assert bare.run("smartrelay", "health").output.startswith(b"SMARTRELAY OK")


def test_all_of_it_is_taken_away_again(bare: Host) -> None:
    """What was there before is there again, and mail that waits stays."""
    theirs = {name: os.path.lexists(bare.path(name)) for name in ("/usr/sbin/sendmail", "/usr/bin/mailq")}
    assert bare.run(*shlex.split(SETUP), "--yes").code == 0
    assert bare.run("sendmail", "you@example.org", text=b"Subject: x\n\n").code == 0
    assert bare.run("smartrelay", "setup", "--remove", "--yes").code == 0
    assert {name: os.path.lexists(bare.path(name)) for name in theirs} == theirs
    assert not os.path.lexists(bare.path("/usr/local/bin/smartrelay"))
    assert len(os.listdir(bare.path("/var/spool/smartrelay/new"))) == 1
