"""Five minutes for each kind of host: what the README says of it, done there."""

import os
import re
import shutil
import signal

from tests.readme.host import ADDRESSES, CHECKOUT, JOE, OPT, SYSTEMCTL, Host
from tests.readme.page import Page, runs
from tests.support import debian
from tests.support.smtp_server import ScriptedServer

CONFIG = "/etc/smartrelay/smartrelay.toml"
MX = '[[relay]]\nhosts = ["mx"]\n'
HELLO = b"Subject: hello\n\n"
SERVICE = "smartrelay-flush.service"

CRON = "* * * * * smartrelay /opt/smartrelay/bin/smartrelay flush -q"
IMAGE = "/opt/smartrelay/bin/smartrelay setup --yes --no-units"
CONTAINER = "SMARTRELAY_RELAY='smtp+tls://me:pass%21word@smtp.example.org' smartrelay flush --every 1m --listen"
LAPTOP = "~/.local/opt/smartrelay/bin/smartrelay setup --user"
FROM = "smartrelay route --sender root you@example.org"
PORT = "systemctl enable --now smartrelay-smtp.socket"


def recipients(server: ScriptedServer) -> list[bytes]:
    return [each for mail in server.accepted for each in mail.recipients]


@runs("smartrelay route you@example.org")
def test_straight_to_the_exchangers(host: Host, page: Page) -> None:
    """As the README has it, with DNS at port 53 and SMTP at port 25; what a host that is down cannot take waits for one
    connection."""
    host.write(CONFIG, page.block('hosts = ["mx"]'))
    server = host.exchanger()
    said = host.type("smartrelay route you@example.org").output.decode()
    assert "mx.example.org" in said and ADDRESSES["mx.example.org"] in said
    assert server.sessions == []
    for _ in range(2):
        assert host.run("sendmail", "you@example.org", text=HELLO).code == 0
    assert host.start_service(SERVICE).code == 0
    assert recipients(server) == [b"<you@example.org>"] * 2


@runs(CRON)
def test_cron_makes_the_passes_and_mails(host: Host) -> None:
    """The real cron takes the line, and mails what a job prints to root, whose mail goes to the postmaster. @reboot in place of
    the five stars: the next full minute may be far."""
    host.typed.append(CRON)
    server = host.exchanger()
    host.write(CONFIG, f'postmaster = "you@example.org"\n{MX}')
    for path in ("usr/sbin/cron", "etc/pam.d/cron"):
        shutil.copy(debian.program("callers", path), host.path(f"/{path}"))
    assert host.run("install", "-d", "-o", "smartrelay", "/var/spool/cron/crontabs").code == 0
    assert host.run("sendmail", "you@example.org", text=HELLO).code == 0
    at_once = CRON.replace("* * * * *", "@reboot")
    host.write("/etc/cron.d/smartrelay", f"{at_once}\n@reboot root echo all is well\n")
    with host.start("cron", "-f"):
        server.wait_for(lambda: b"<you@example.org>" in recipients(server))
        spool = host.path("/var/spool/smartrelay")
        while not any(os.listdir(f"{spool}/{state}") for state in ("new", "cur")) and len(server.accepted) < 2:
            os.sched_yield()
    assert host.start_service(SERVICE).code == 0
    assert recipients(server) == [b"<you@example.org>"] * 2
    assert b"\r\n\r\nall is well\r\n" in server.accepted[-1].content


def test_mail_that_nobody_would_read_is_refused_when_it_is_handed_in(host: Host) -> None:
    """By /etc/aliases, by `postmaster`, by `domain`; else not at all, with a sentence."""
    readers = {"": "", 'domain = "example.org"\n': "root@example.org", 'postmaster = "you@example.org"\n': "you@example.org"}
    for setting, reader in readers.items():
        host.write(CONFIG, setting + MX)
        sent = host.run("sendmail", "-v", "root", text=HELLO)
        assert (sent.code == 0) is bool(reader), sent
        if reader:
            shown = host.run("smartrelay", "queue", "show", sent.errors.split()[-1]).output.decode()
            assert reader in shown
        else:
            assert (sent.code, sent.errors.count("\n")) == (78, 1)
    host.write("/etc/aliases", "root: ops@example.net\n")
    sent = host.run("sendmail", "-v", "root", text=HELLO)
    assert b"ops@example.net" in host.run("smartrelay", "queue", "show", sent.errors.split()[-1]).output


@runs(IMAGE, CONTAINER)
def test_a_container(bare: Host) -> None:
    """No systemd, no configuration: new mail of root and of others goes within the loop, over TLS that is verified."""
    shutil.rmtree(bare.path("/run/systemd"))
    bare.type(IMAGE)
    server = bare.smart_host(password="pass!word")
    with bare.start_line(CONTAINER) as running:
        running.wait_for_socket()
        for user in ("root", "joe"):
            while (sent := bare.run("sendmail", "you@example.org", text=HELLO, user=user)).code == 75:
                os.sched_yield()
            assert sent.code == 0, sent
        server.wait_for(lambda: len(server.accepted) == 2)
        running.signal(signal.SIGTERM)
        assert running.wait().code == -signal.SIGTERM
    assert {mail.mail_from.split()[1] for mail in server.accepted} == {b"FROM:<root@example.org>", b"FROM:<joe@example.org>"}
    assert (server.sessions[-1].tls, server.sessions[-1].user) == (True, "me")


@runs(LAPTOP, "smartrelay queue list")
def test_a_laptop_without_root(bare: Host) -> None:
    """joe's own: queued, kept while there is no network, and relayed by a pass of his own."""
    assert bare.run("sh", "-c", f"mkdir -p ~/.local/opt && ln -s {OPT} ~/.local/opt/smartrelay", user="joe").code == 0
    bare.answer(LAPTOP, b"y\n", user="joe")
    env = {"PATH": f"/home/joe/.local/bin:{bare.environment['PATH']}"}
    settings, password = "/home/joe/.config/smartrelay/smartrelay.toml", "/home/joe/secret"
    bare.write(password, "the password\n", 0o600, owner=JOE)
    auth = f'auth = {{ user = "me", secret = "file:{password}" }}'
    bare.write(settings, f'{bare.read(settings)}\n[[relay]]\nhosts = ["smtp+tls://smtp.example.org"]\n{auth}\n', owner=JOE)
    assert bare.run("sendmail", "you@example.org", text=HELLO, user="joe", env=env).code == 0
    bare.unplug()
    assert "offline, no attempt is counted" in bare.run("smartrelay", "flush", user="joe", env=env).said
    assert bare.type("smartrelay queue list", user="joe", env=env).output.count(b"you@example.org") == 1
    bare.unplug(back=True)
    server = bare.smart_host()
    assert bare.run("smartrelay", "flush", user="joe", env=env).code == 0
    assert recipients(server) == [b"<you@example.org>"]
    assert bare.type("smartrelay queue list", user="joe", env=env).output == b""


@runs(FROM)
def test_from_whom_it_is(host: Host, page: Page) -> None:
    """Both addresses, of root and of all others; the names stay."""
    host.write(CONFIG, f"{page.block('original_from')}\n{MX}")
    server = host.exchanger()
    assert "alerts@example.org" in host.type(FROM).output.decode()
    with host.socket("smartrelay-submit"):
        for user in ("root", "joe"):
            text = f"From: The Name <{user}@web1.example.org>\nSubject: x\n\n".encode()
            assert host.run("sendmail", "you@example.org", text=text, user=user).code == 0
    assert host.start_service(SERVICE).code == 0
    found = [
        (mail.mail_from.split()[1].decode(), re.findall(rb"(?m)^(From|Reply-To): (.*)\r$", mail.content))
        for mail in server.accepted
    ]
    assert sorted(found) == [
        (
            f"FROM:<{ours}@example.org>",
            [
                (b"From", f"The Name <{ours}@example.org>".encode()),
                (b"Reply-To", f"The Name <{theirs}@web1.example.org>".encode()),
            ],
        )
        for ours, theirs in (("alerts", "root"), ("web1", "joe"))
    ]


def test_every_users_sendmail_hands_over_at_the_socket(host: Host) -> None:
    with host.socket("smartrelay-submit"):
        sent = host.run("sendmail", "-f", "other@example.org", "you@example.org", text=HELLO, user="joe")
    assert sent.code == 0, sent
    (one,) = os.listdir(host.path("/var/spool/smartrelay/new"))
    assert host.run("smartrelay", "queue", "show", one, user="joe").code == 77
    assert f"uid {JOE}" in host.run("smartrelay", "queue", "show", one).output.decode()


def test_a_message_of_an_old_queue_is_handed_over_as_it_is(host: Host) -> None:
    """With its envelope, and all of its text: without `-i` a lone dot would end it."""
    host.write(CONFIG, MX)
    server = host.exchanger()
    text = b"From: Ada <ada@example.org>\nSubject: old\n\n.\n.x\n"
    with open(f"{CHECKOUT}/README.md", encoding="utf-8") as file:
        (line,) = re.findall(r"`(sendmail -G .*) < MESSAGE`", file.read())
    words = line.replace("SENDER", "ada@example.org").replace("RECIPIENT...", "you@example.org").split()
    assert host.run(*words, text=text).code == 0
    assert host.start_service(SERVICE).code == 0
    (mail,) = server.accepted
    assert mail.mail_from.split()[1] == b"FROM:<ada@example.org>"
    assert mail.content.endswith(text.replace(b"\n", b"\r\n").partition(b"\r\n\r\n")[2])
    assert b"\r\nFrom: Ada <ada@example.org>\r\nSubject: old\r\n" in mail.content


@runs(PORT)
def test_programs_that_know_only_smtp(host: Host) -> None:
    host.type(PORT)
    assert "enable --now smartrelay-smtp.socket" in host.read(SYSTEMCTL)
    with host.socket("smartrelay-smtp"):
        address, *_ = host.unit("smartrelay-smtp.socket", "ListenStream")
        assert address == "127.0.0.1:25"
        program = "import smtplib; smtplib.SMTP('127.0.0.1').sendmail('me@example.org', 'you@example.org', 'x')"
        assert host.run(f"{OPT}/bin/python", "-c", program, user="joe").code == 0
    dialogue = b"EHLO x\r\nMAIL FROM:<me@example.org>\r\nRCPT TO:<you@example.org>\r\nDATA\r\nSubject: x\r\n\r\n.\r\nQUIT\r\n"
    assert host.run("sendmail", "-bs", text=dialogue).code == 0
    assert len(os.listdir(host.path("/var/spool/smartrelay/new"))) == 2
