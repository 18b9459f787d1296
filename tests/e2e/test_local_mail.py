"""Mail for local names, by the installed commands: aliases, postmaster, domain, or a refusal that says what to configure."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from smartrelay.mail import stored
from tests.e2e.commands import HOSTNAME, Machine, relay
from tests.support.process import NOBODY
from tests.support.smtp_server import ScriptedServer

Start = Callable[..., ScriptedServer]
MAIL = b"To: root\nSubject: cron\n\nout\n"


class Site:
    """A machine whose configuration is ours alone; `$` is its folder."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def configure(self, top: str = "", *tables: str, aliases: str | None = None) -> None:
        """No domain, unless `top` has one."""
        own = f'hostname = "{HOSTNAME}"\nmin_free_space = 0\naliases = "{self.machine.folder}/aliases"\n'
        Path(self.machine.config).write_text("\n".join((own + top, *tables)), encoding="utf-8")
        if aliases is not None:
            path = Path(self.machine.folder, "aliases")
            path.write_text(aliases.replace("$", self.machine.folder), encoding="utf-8")
            path.chmod(0o644)

    def recipients(self, *words: str, text: bytes = MAIL) -> list[str]:
        """Who gets a message that is handed in by these words."""
        one = self.machine.enqueue(text, *words)
        with open(self.machine.path(one), "rb") as file:
            return [recipient.address for recipient in stored.read(file.readline()).recipients]

    def refused(self, *words: str, code: int = 78) -> str:
        result = self.machine.sendmail(MAIL, "-f", "me@a.example", *words)
        assert (result.code, result.output) == (code, b""), result.errors
        assert result.errors.count("\n") == 1 and result.errors.strip().isprintable()
        assert not os.path.exists(self.machine.spool) or self.machine.ids() == []
        assert not os.path.exists(f"{self.machine.spool}/tmp") or os.listdir(f"{self.machine.spool}/tmp") == []
        return result.errors


@pytest.fixture
def site(machine: Machine) -> Site:
    return Site(machine)


def test_local_mail_goes_where_its_alias_says(site: Site) -> None:
    site.configure(aliases='postmaster: root\nroot: admin@x.example, :include:$/team\n"John Doe": j@x.example\n')
    team = Path(site.machine.folder, "team")
    team.write_text("# the team\na@x.example\nAdmin <admin@X.example>\n")
    team.chmod(0o644)
    assert site.recipients("-t") == ["admin@x.example", "a@x.example"]
    assert site.recipients("postmaster", "b@x.example") == ["admin@x.example", "a@x.example", "b@x.example"]
    assert site.recipients(f"ROOT@{HOSTNAME}", "root@localhost") == ["admin@x.example", "a@x.example"]
    assert site.recipients('"john doe"') == ["j@x.example"]
    assert "'www'" in site_refusal(site, "www")


def test_an_smtp_session_knows_the_aliases_and_says_so_when_a_recipient_is_named(site: Site) -> None:  # F-022 F-023
    site.configure(aliases="root: admin@x.example, b@X.example, a@x.example\n")
    talk = (
        b"EHLO c\r\nMAIL FROM:<me@a.example>\r\nRCPT TO:<a@X.EXAMPLE>\r\nRCPT TO:<www>\r\n"
        b"RCPT TO:<root@localhost> NOTIFY=NEVER\r\nDATA\r\nSubject: x\r\n\r\n.\r\nQUIT\r\n"
    )
    done = site.machine.sendmail(talk, "-bs")
    said = done.output.decode()
    assert "\r\n550 5.1.1 " in said and "you@example.org" in said, "and what to configure"
    (one,) = site.machine.ids()
    with open(site.machine.path(one), "rb") as file:
        found = stored.read(file.readline()).recipients
    assert [(each.address, each.notify) for each in found] == [
        ("a@X.EXAMPLE", ""),
        ("admin@x.example", "NEVER"),
        ("b@X.example", "NEVER"),
    ], "each once, where it was first named"


def site_refusal(site: Site, *words: str) -> str:
    """What a refusal says where mail is queued already."""
    result = site.machine.sendmail(MAIL, "-f", "me@a.example", *words)
    assert result.code == 78
    return result.errors


def test_without_an_alias_it_is_the_postmasters_then_the_domains(site: Site) -> None:
    site.configure('domain = "a.example"\npostmaster = "admin@x.example"\n', aliases="joe: joe@x.example\n")
    assert site.recipients("root", "joe", "far@b.example") == ["admin@x.example", "joe@x.example", "far@b.example"]
    site.configure('domain = "a.example"\n')
    assert site.recipients("root", "Bob@localhost") == ["root@a.example", "Bob@a.example"]


def test_what_nobody_would_get_is_refused_and_never_queued(site: Site) -> None:
    """With the sentence that says what to configure; the good recipients beside it are no reason to take it."""
    site.configure()
    for words in (["root"], ["-t"], ["you@b.example", "root"], [f"root@{HOSTNAME}"]):
        said = site.refused(*words)
        for word in ("'root'", f"{site.machine.folder}/aliases", "postmaster = ", site.machine.config):
            assert word in said


@pytest.mark.parametrize(("item", "word"), [("|/bin/prog", "program"), ("/dev/null", "file"), (":fail:", "means nothing")])
def test_an_alias_that_wants_more_than_addresses_is_refused(site: Site, item: str, word: str) -> None:
    site.configure('postmaster = "admin@x.example"\n', aliases=f"root: {item}\n")
    assert word in site.refused("root")


def test_other_mail_never_looks_at_the_aliases(site: Site) -> None:
    """Whatever is wrong with them: a pipe that nobody writes into would hold it for ever, and unreadable ones refuse it."""
    site.configure()
    os.mkfifo(f"{site.machine.folder}/aliases")
    assert site.recipients("you@b.example", "-f", "root") == ["you@b.example"]
    os.unlink(f"{site.machine.folder}/aliases")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{site.machine.folder}/aliases")
    assert site_refusal_code(site, "root") == 75


def site_refusal_code(site: Site, *words: str) -> int:
    return site.machine.sendmail(MAIL, *words).code


def test_newaliases_has_nothing_to_do_and_succeeds(machine: Machine) -> None:  # D-015
    """The file is read whenever it is needed."""
    for words in (["-bi"], ["-I"]):
        result = machine.sendmail(b"", *words)
        assert (result.code, result.output, result.errors) == (0, b"", "")


def test_a_bare_sender_and_bare_addresses_in_the_header_are_completed(machine: Machine, smtp_server: Start) -> None:  # E-015
    """As cron writes them: no server takes `From: root`, and each would make another address of `To: root`."""
    machine.relay_to(server := smtp_server())
    handed = b"From: root (Cron Daemon)\nTo: root, carl@x.example\nAuto-Submitted: auto-generated\nSubject: x\n\nout\n"
    machine.enqueue(handed, "-i", "-f", "root@localhost", "you@b.example")
    machine.flush()
    (transaction,) = server.accepted
    assert transaction.mail_from.startswith(b"MAIL FROM:<root@a.example>")
    completed = b"From: root@a.example (Cron Daemon)\r\nTo: root@a.example, carl@x.example\r\n"
    assert completed + b"Auto-Submitted: auto-generated\r\n" in transaction.content  # E-017


# `route` and -bv


def test_route_and_bv_follow_the_aliases(site: Site) -> None:  # D-016 D-104
    site.configure("", relay("smtp://127.0.0.1:1"), aliases="root: a@x.example, b@y.example\n")
    for result in (site.machine.run("route", "root"), site.machine.sendmail(b"", "-bv", "root")):
        assert result.code == 0, result.errors
        text = result.output.decode()
        assert text.count("Mail of") == 2 and text.count(" root\n") == 2
        assert text.index("a@x.example") < text.index("b@y.example")
    for result in (site.machine.run("route", "www", "root"), site.machine.sendmail(b"", "-bv", "www", "root")):
        assert result.code == 67
        assert "'www'" in result.said and "a@x.example" in result.output.decode()
    assert site.machine.sendmail(b"", "-bv", "-f", "news@a.example", "c@z.example").output.count(b"<news@a.example>") == 1
    assert not os.path.exists(site.machine.spool)


@pytest.mark.as_another_user
def test_root_reads_included_lists_as_the_spools_owner(site: Site) -> None:
    """What that user may not read is not read, though root could."""
    machine = site.machine
    site.configure('domain = "a.example"\n', aliases="team: :include:$/team\nopen: :include:$/open\n")
    for name, mode in (("team", 0o600), ("open", 0o644)):
        path = Path(machine.folder, name)
        path.write_text("a@x.example\n")
        path.chmod(mode)
    for above in (Path(machine.folder), *Path(machine.folder).parents):
        if above.stat().st_mode & 0o005 != 0o005:
            above.chmod(0o755)  # pytest's own are its user's alone
    machine.enqueue(b"", "you@b.example")
    for folder, names, files in os.walk(machine.spool):
        for each in (folder, *(f"{folder}/{name}" for name in [*names, *files])):
            os.chown(each, NOBODY, NOBODY)
    result = machine.sendmail(MAIL, "team")
    assert result.code == 75, result.errors
    assert "Permission denied" in result.errors
    assert site.recipients("open") == ["a@x.example"]
