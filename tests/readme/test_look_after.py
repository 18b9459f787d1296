"""Looking after the queue: each line of the README on a queue that has something in it."""

import json

from tests.readme.host import Host
from tests.readme.page import Page, runs

CONFIG = "/etc/smartrelay/smartrelay.toml"
MX = 'postmaster = "you@example.org"\n[[relay]]\nname = "direct"\nhosts = ["mx"]\n'
SERVICE = "smartrelay-flush.service"
NOT_NOW = {"RCPT": b"450 4.2.0 mailbox busy"}


def queue(host: Host, *recipients: str) -> list[str]:
    """Queues a message to each; their ids."""
    host.write(CONFIG, MX)
    sent = [host.run("sendmail", "-v", each, text=b"Subject: x\n\n") for each in recipients]
    return [each.errors.split()[-1] for each in sent]


def state(host: Host, one: str) -> str:
    """What the listing calls it; "" for one that is not there."""
    rows = [line.split("\t") for line in host.run("smartrelay", "queue", "list").output.decode().splitlines()]
    return next((row[1] for row in rows if row[0] == one), "")


@runs(
    "smartrelay queue list",
    "smartrelay queue show ID",
    "smartrelay queue retry ID",
    "smartrelay queue hold ID",
    "smartrelay queue delete ID",
    "smartrelay flush --all",
    "mailq",
)
def test_the_queue(host: Host) -> None:
    """A message is put off, looked at, told to go, set aside, taken back, given up, deleted."""
    server = host.exchanger()
    server.replies.update({b"RCPT": NOT_NOW["RCPT"]})
    one, two, three = queue(host, "you@example.org", "ada@example.org", "bob@example.org")
    assert host.start_service(SERVICE).code == 0
    assert host.type("smartrelay queue list").output.count(b"\n") == 3
    assert b"mailbox busy" in host.type("mailq").output
    assert host.run("mailq", "--format", "sendmail").output.count(b"@example.org") == 6
    listed = [json.loads(line) for line in host.run("smartrelay", "queue", "list", "--json").output.splitlines()]
    assert [each["queue_id"] for each in listed] == [one, two, three]
    story = host.type("smartrelay queue show ID", ID=one).output.decode()
    assert "mailbox busy" in story and "mx.example.org" in story
    host.type("smartrelay queue retry ID", ID=one)
    assert state(host, one) == "new"
    host.type("smartrelay queue hold ID", ID=two)
    assert state(host, two) == "held"
    host.type("smartrelay queue delete ID", ID=three)
    assert state(host, three) == ""
    server.replies.clear()
    host.type("smartrelay flush --all")
    assert server.accepted[-1].recipients == [b"<you@example.org>"]
    assert host.run("smartrelay", "queue", "release", two).code == 0
    assert host.run("smartrelay", "queue", "expire", "--yes", two).code == 0
    assert host.start_service(SERVICE).code == 0
    assert b"ada@example.org" in server.accepted[-1].content
    assert host.type("smartrelay queue list").output == b""


@runs("smartrelay flush --dry-run", "smartrelay route you@example.org", "smartrelay hosts list")
def test_where_it_would_go_and_what_is_down(host: Host) -> None:
    """A host that is down: one connection is refused, whatever waits for it; it is forgotten by `hosts reset`."""
    server = host.exchanger()
    ids = queue(host, "you@example.org", "ada@example.org")
    said = host.type("smartrelay flush --dry-run").output.decode()
    assert all(one in said for one in ids)
    assert "mx.example.org" in host.type("smartrelay route you@example.org").output.decode()
    assert server.sessions == []
    server.stop_listening()
    log = host.start_service(SERVICE).errors
    assert log.count("status=deferred") == 2
    assert "mx.example.org" in host.type("smartrelay hosts list").output.decode()
    assert host.run("smartrelay", "hosts", "reset", "mx.example.org").code == 0
    assert host.type("smartrelay hosts list").output == b""


@runs("smartrelay check", "smartrelay health")
def test_being_told(host: Host) -> None:
    """Before the first message, and after; by any user."""
    host.exchanger()
    host.write(CONFIG, MX)
    host.type("smartrelay health", code=3)
    with host.socket("smartrelay-submit"):
        host.type("smartrelay check")
    assert host.start_service(SERVICE).code == 0
    for form in ((), ("--json",), ("--openmetrics",)):
        assert host.run("smartrelay", "health", *form, user="joe").code == 0
    assert host.type("smartrelay health", user="joe").output.startswith(b"SMARTRELAY OK - ")


def test_the_alert_is_told_once_and_once_that_it_is_over(host: Host, page: Page) -> None:
    """As the README has it: by curl, over HTTPS. The relay refuses our password, of which no mail can tell."""
    work, alert = page.block('name  = "work"'), page.block("[alert]")
    host.write(CONFIG, f"{work}\n{alert}")
    for name, port in (("smtp.example.org", 587), ("backup.example.org", 465)):
        host.smart_host(name, port=port)
    server = host.posting()
    assert host.run("sendmail", "you@example.org", text=b"Subject: x\n\n").code == 0
    for password, told in (("wrong", 1), ("wrong", 1), ("the password", 2)):
        host.write("/etc/smartrelay/work.secret", password, 0o600)
        assert host.run("chown", "smartrelay", "/etc/smartrelay/work.secret").code == 0
        assert host.run("smartrelay", "flush", "--all").code == 0
        assert len(server.told) == told, server.told
    assert "535" in server.told[0]
