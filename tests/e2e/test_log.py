"""The log of whole passes: what the tools made for Postfix make of it, and what never gets into it."""

import base64
import json
import os
import re
import socket
import stat
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from smartrelay.submit.pipe import reporter
from tests.e2e.commands import DOMAIN, SENDMAIL, Machine, relay
from tests.support import debian
from tests.support.activation import activated
from tests.support.smtp_script import Session
from tests.support.smtp_server import ScriptedServer

Start = Callable[..., ScriptedServer]
LINE = re.compile(r"(?P<time>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d) (?P<host>\S+) smartrelay/(?P<part>\w+)\[\d+\]: (?P<text>.+)")
SECRET, BODY = "tr0ub4dor&3-Geheim", "Koerper-des-Briefes-7f3a"


def logging_to(machine: Machine, *tables: str) -> Path:
    """The file that the machine logs to from now on."""
    path = Path(machine.folder, "mail.log")
    machine.configure(*tables, top=f'log = "file:{path}"')
    return path


def summary(log: Path) -> tuple[str, dict[str, int]]:
    """What pflogsumm says, and the figures of its grand totals (without those in units of thousands)."""
    command = ["perl", debian.program("logs", "usr/sbin/pflogsumm"), "--syslog-name=smartrelay", str(log)]
    environment = {**os.environ, "LC_ALL": "C", "PERL5LIB": ":".join(_perl_folders())}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    totals = done.stdout.partition("Grand Totals")[2].partition("Per-Hour")[0]
    found = re.findall(r"^ +(\d+) +([a-z/ ]+?)(?: +\((?:\d+%|(\d+) +deferrals)\))?$", totals, re.MULTILINE)
    figures = {name: int(number) for number, name, _ in found}
    return done.stdout, figures | {"deferrals": sum(int(more) for _, _, more in found if more)}


def _perl_folders() -> list[str]:
    top = debian.root("logs")
    return [folder for folder, _, names in os.walk(f"{top}/usr") if "Date" in os.listdir(folder) and "perl" in folder]


def test_pflogsumm_counts_what_was_so(machine: Machine, smtp_server: Start) -> None:
    """2.6: delivered, deferred, bounced, rejected, senders, recipients and bytes, over several passes."""
    replies = {"RCPT TO:<late@": b"450 4.2.1 greylisted", "RCPT TO:<bad@": b"550 5.1.1 no such user"}
    server = smtp_server(replies=replies)
    log = logging_to(machine, relay(f"smtp://127.0.0.1:{server.port}"))
    text = b"Subject: x\n\n" + b"y" * 500 + b"\n"
    both = machine.enqueue(text, "-f", f"one@{DOMAIN}", "fine@b.example", "also@c.example")
    half = machine.enqueue(text, "-f", f"two@{DOMAIN}", "-N", "never", "fine@b.example", "bad@b.example")
    late = machine.enqueue(text, "-f", f"two@{DOMAIN}", "late@b.example")
    listed = map(json.loads, machine.run("queue", "list", "--json").output.splitlines())
    sizes = {message["queue_id"]: message["message_size"] for message in listed}
    machine.flush()
    machine.make_due(late)
    machine.flush()
    server.replies.clear()
    machine.make_due(late)
    machine.flush()
    said, figures = summary(log)
    assert figures["received"] == 3
    assert figures["delivered"] == sum(len(transaction.recipients) for transaction in server.accepted) == 4
    assert (figures["deferred"], figures["deferrals"]) == (1, 2)
    assert (figures["bounced"], figures["rejected"], figures["forwarded"], figures["discarded"]) == (1, 0, 0, 0)
    assert (figures["senders"], figures["sending hosts/domains"]) == (2, 1)
    assert (figures["recipients"], figures["recipient hosts/domains"]) == (3, 2)
    assert figures["bytes received"] == sum(sizes.values())
    assert figures["bytes delivered"] == 2 * sizes[both] + sizes[half] + sizes[late]
    assert "no such user" in said and "greylisted" in said
    assert f"two@{DOMAIN}" in said.partition("Senders by message count")[2]


def test_pflogsumm_reads_what_comes_by_syslog(machine: Machine, smtp_server: Start, tmp_path: Path) -> None:
    """A syslog daemon puts time and host in front of what it gets; names and numbers are ours."""
    from smartrelay.mail.envelope import Envelope, Facts, Recipient
    from smartrelay.mail.status import DELIVERED, Status
    from smartrelay.maillog import MailLog
    from smartrelay.sinks import open_sink

    device, log = f"{tmp_path}/log", tmp_path / "mail.log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(device)
        sink = MailLog(open_sink("relay", "syslog", device=device))
        envelope = Envelope("s@a.example", [Recipient("r@b.example")], 1.0, 0, "<m@x>", facts=Facts(5, 777))
        sink.taken("25X0LCH4YW6W9QYPF", envelope, first=True)
        sink.attempted("25X0LCH4YW6W9QYPF", "r@b.example", Status(DELIVERED, "2.0.0", "ok", 250, "h[::1]:25"), 1.0, (0.0,) * 4)
        datagrams = [daemon.recv(4096).decode() for _ in range(4)]
    lines = [re.sub(r"^<\d+>(.{15}) ", r"\1 host ", each) + "\n" for each in datagrams]
    log.write_text("".join(lines))
    _, figures = summary(log)
    assert (figures["received"], figures["delivered"], figures["bytes received"], figures["bytes delivered"]) == (
        1,
        1,
        777,
        777,
    )


def test_each_line_of_a_file_is_one_of_syslogs_and_has_its_message(machine: Machine, smtp_server: Start) -> None:
    """The queue id is in every line that is about a message, and what a server says stays on its line."""
    hostile = b"451-4.7.1 \x1b[2Jcome\r\n451 4.7.1 Jan  1 00:00:00 host smartrelay/relay[1]: forged"
    server = smtp_server(replies={"RCPT TO:<late@": hostile})
    log = logging_to(machine, relay(f"smtp://127.0.0.1:{server.port}"))
    ids = [machine.enqueue(b"Subject: x\n\nbody\n", "-f", f"me@{DOMAIN}", to) for to in ("late@b.example", "fine@b.example")]
    machine.flush()
    assert machine.run("queue", "expire", "--yes", ids[0]).code == 0
    content = log.read_text(encoding="ascii")
    found = [LINE.fullmatch(line) for line in content.splitlines()]
    assert all(found) and content.endswith("\n") and "\x1b" not in content
    texts = [match["text"] for match in found if match]
    assert f"{ids[0]}: from=<me@{DOMAIN}>, status=expired, returned to sender" in texts
    about = re.compile(r"(to|from|uid|message-id)=|removed|notif|re-encod|sign")
    assert all(text[:17] in ids for text in texts if about.search(text.partition(": ")[2]) or about.match(text))
    for one in ids:
        assert any(text.startswith(f"{one}: from=<me@{DOMAIN}>, size=") for text in texts)
        assert any(text.startswith(f"{one}: to=<") for text in texts)
    assert f"{ids[1]}: removed" in texts
    assert stat.S_IMODE(log.stat().st_mode) == 0o640


def echo(point: str, argument: bytes, session: Session) -> bytes | None:
    """A server that says back whatever it is told, plainly and decoded."""
    if point == "AUTH":
        _, _, initial = argument.partition(b" ")
        try:
            plain = base64.b64decode(initial).replace(b"\0", b" ")
        except ValueError:
            plain = b""
        return b"535 5.7.8 refused: " + argument + b" that is " + plain
    return None


@pytest.mark.parametrize("level", [(), ("-v",), ("-v", "-v"), ("-q",)])
@pytest.mark.parametrize("where", ["file", "journal", "stderr"])
def test_no_secret_and_no_text_of_a_message_at_any_level(
    machine: Machine, smtp_server: Start, level: tuple[str, ...], where: str
) -> None:
    """A-138: neither in the log nor on standard error, even where the server says it back."""
    good, bad = smtp_server(), smtp_server(on=echo, keywords=("AUTH PLAIN",))
    environment: Mapping[str, str | None] = {"SECRET": SECRET}
    auth = '{ user = "me", secret = "env:SECRET" }'
    tables = (
        relay(f"smtp+notls://127.0.0.1:{bad.port}", auth=auth, recipient='["*@bad.example"]'),
        relay(f"smtp://127.0.0.1:{good.port}"),
    )
    log = logging_to(machine, *tables)
    if where != "file":
        log.touch()
        machine.configure(*tables, top=f'log = "{"auto" if where == "journal" else "stderr"}"')
    for to in ("you@bad.example", "you@b.example"):
        machine.enqueue(f"Subject: {BODY}\nX-Field: {BODY}\n\n{BODY}\n".encode(), "-f", f"me@{DOMAIN}", to)
    result = machine.run(*level, "flush", env=environment)
    told = result.errors + result.output.decode() + log.read_text()
    assert "535 5.7.8" in told or level == ("-q",)
    for hidden in (SECRET, BODY, base64.b64encode(SECRET.encode()).decode(), _plain()):
        assert hidden not in told
    story = machine.run("queue", "list", "--json").output.decode()
    assert SECRET not in story and _plain() not in story and BODY not in story
    for folder, _, names in os.walk(machine.spool):
        for name in names:
            assert SECRET.encode() not in Path(folder, name).read_bytes(), name


def _plain() -> str:
    """The initial response of PLAIN (RFC 4616)."""
    return base64.b64encode(f"\0me\0{SECRET}".encode()).decode()


def test_who_takes_mail_at_a_socket_tells_the_same_log(machine: Machine, tmp_path: Path) -> None:
    """A process of a socket unit that cannot serve says why in the file that passes write to, and calls it no bug."""
    log = logging_to(machine)
    machine.enqueue(b"Subject: x\n\nbody\n", "you@b.example")
    Path(machine.spool, "format").write_text("9\n")
    door = f"{tmp_path}/submit.sock"
    with activated([door], [SENDMAIL, "-bs"], machine.environment) as process, socket.socket(socket.AF_UNIX) as caller:
        caller.connect(door)
        assert process.wait(20) == 78
    (line,) = log.read_text().splitlines()
    found = LINE.fullmatch(line)
    assert found and found["part"] == "submit" and found["text"].startswith(f"the spool {machine.spool} has format '9'")


def test_a_bug_where_mail_comes_in_is_told_there_too(tmp_path: Path) -> None:
    reporter(f"file:{tmp_path}/log")(ValueError("no\nthing"))
    assert (tmp_path / "log").read_text().endswith("a bug of smartrelay: ValueError: no?thing; a message was not accepted\n")
