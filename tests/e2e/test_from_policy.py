"""The From policy by the installed commands: envelope and header together, at send time, as the next hop's rule says."""

import json
import re
from collections.abc import Callable

import pytest

from tests.e2e.commands import Machine, relay
from tests.support.smtp_server import ScriptedServer, Transaction

Start = Callable[..., ScriptedServer]
MAIL = b"From: root (Cron Daemon)\nTo: you@b.example\nSubject: x\n\nbody\n"
POLICY = """[submit]
original_from = "x-original-from"
[submit.from]
"*@a.example" = "alerts@x.example"
"""


def authors(transaction: Transaction) -> tuple[bytes, list[bytes]]:
    """Reverse-path, and the fields that say whose mail it is."""
    found = re.findall(rb"(?m)^((?:From|Sender|Reply-To|X-Original-From): .*)\r$", transaction.content)
    return transaction.mail_from.split()[1], found


REWRITTEN = (
    b"FROM:<alerts@x.example>",
    [b"From: alerts@x.example (Cron Daemon)", b"X-Original-From: root@a.example (Cron Daemon)"],
)


def test_a_changed_policy_holds_for_what_is_queued(machine: Machine, smtp_server: Start) -> None:
    """Deferred under one policy, sent under the next; what is in the spool never changes."""
    server = smtp_server(replies={"RCPT TO:<later@": b"450 4.2.0 later"})
    machine.relay_to(server)
    one = machine.enqueue(MAIL, "-i", "-f", "root", "later@b.example")
    machine.flush()
    before = machine.text(one)
    server = smtp_server()
    machine.relay_to(server, more=POLICY)
    machine.make_due()
    assert machine.text(one) == before
    result = machine.flush()
    assert authors(server.accepted[0]) == REWRITTEN
    assert f"{one}: to=<later@b.example>" in result.line("status=sent")


@pytest.mark.parametrize("keywords", [("PIPELINING", "SIZE 99999"), ("PIPELINING", "CHUNKING", "8BITMIME", "SIZE"), ()])
def test_whatever_the_server_offers_it_gets_exactly_what_is_announced(
    machine: Machine, smtp_server: Start, keywords: tuple[str, ...]
) -> None:
    """A large one, one that is re-encoded, one without a last line end: DATA and BDAT, with the right SIZE."""
    server = smtp_server(keywords=keywords)
    machine.relay_to(server, more=POLICY, pipeline_window="4" if "CHUNKING" in keywords else "1")
    bodies = [b"x" * 70 + b"\n", (b"y" * 70 + b"\n") * 4000 if not keywords else b"y\n" * 2000, "ä\n".encode() * 9, b"end"]
    for body in bodies:
        machine.enqueue(b"From: Shop <shop@a.example>\nSubject: x\n\n" + body, "-i", "-f", "root", "you@b.example")
    result = machine.flush()
    assert len(server.accepted) == len(bodies), result.errors
    for transaction in server.accepted:
        path, fields = authors(transaction)
        assert path == b"FROM:<alerts@x.example>"
        assert fields == [b"From: Shop <alerts@x.example>", b"X-Original-From: Shop <shop@a.example>"]
        size = re.search(rb"SIZE=(\d+)", transaction.mail_from)
        assert size is None or int(size[1]) == len(transaction.content)


def test_a_relays_own_policy_stands_over_that_of_all(machine: Machine, smtp_server: Start) -> None:
    """Each account demands its own author; `from = ""` is none."""
    mine, yours, plain = smtp_server(), smtp_server(), smtp_server()
    rule = {"original_from": '"reply-to"'}
    machine.configure(
        relay(f"smtp://127.0.0.1:{mine.port}", recipient='["*@mine.example"]', **{"from": '"me@mine.example"', **rule}),
        relay(f"smtp://127.0.0.1:{plain.port}", recipient='["*@plain.example"]', **{"from": '""'}),
        relay(f"smtp://127.0.0.1:{yours.port}"),
        POLICY,
    )
    machine.enqueue(MAIL, "-i", "-f", "root", "a@mine.example", "b@yours.example", "c@plain.example")
    machine.flush()
    assert authors(yours.accepted[0]) == REWRITTEN
    assert authors(plain.accepted[0]) == (b"FROM:<root@a.example>", [b"From: root@a.example (Cron Daemon)"])
    fields = [b"From: me@mine.example (Cron Daemon)", b"Reply-To: root@a.example (Cron Daemon)"]
    assert authors(mine.accepted[0]) == (b"FROM:<me@mine.example>", fields)


def test_rules_look_at_who_hands_it_in(machine: Machine, smtp_server: Start) -> None:
    """A user's name is that of the uid in the envelope, whatever the message says."""
    import os
    import pwd

    login = pwd.getpwuid(os.getuid()).pw_name
    machine.relay_to(server := smtp_server(), more=f'[submit]\nfrom = {{ "{login}" = "u@x.example" }}\n')
    machine.enqueue(b"From: Any One <one@c.example>\n\n", "-f", "two@d.example", "you@b.example")
    machine.flush()
    assert authors(server.accepted[0]) == (b"FROM:<u@x.example>", [b"From: Any One <u@x.example>"])


def test_notices_and_other_mail_without_a_sender_are_untouched(machine: Machine, smtp_server: Start) -> None:
    machine.relay_to(server := smtp_server(replies={"RCPT TO:<bad@": b"550 5.1.1 no"}), more='[submit]\nfrom = "me@x.example"')
    machine.enqueue(b"From: vacation@c.example\n\n", "-f", "", "you@b.example")
    machine.enqueue(MAIL, "-f", "root@c.example", "bad@b.example")
    machine.flush()
    machine.flush()
    by_recipient = {each.recipients[0]: authors(each) for each in server.accepted}
    assert by_recipient[b"<you@b.example>"] == (b"FROM:<>", [b"From: vacation@c.example"])
    ((path, fields),) = (found for to, found in by_recipient.items() if to != b"<you@b.example>")
    assert path == b"FROM:<>" and b"MAILER-DAEMON@client.a.example" in fields[0]


def test_route_shows_what_becomes_of_a_sender(machine: Machine) -> None:
    machine.configure(relay("smtp://127.0.0.1:1", name='"work"'), POLICY)
    shown = machine.run("route", "--sender", "root", "you@b.example").output.decode()
    assert re.search(r"^Sender +<root@a.example>$", shown, re.MULTILINE)
    assert re.search(r"^Sent as +<alerts@x.example>", shown, re.MULTILINE)
    for sender, sent_as in (("root", "alerts@x.example"), ("joe@c.example", "joe@c.example"), ("", "")):
        found = json.loads(machine.run("route", "--json", "--sender", sender, "you@b.example").output)
        assert found["sent_as"] == sent_as
    assert "Sent as" not in machine.run("route", "--sender", "joe@c.example", "you@b.example").output.decode()


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ('[submit]\nfrom = "me"', ("[submit] from", "address")),
        ('[submit]\nfrom = { "w*" = "a@b.example" }', ("[submit] from", "'w*'")),
        ('[submit]\noriginal_from = "cc"', ("[submit] original_from", "reply-to")),
        ('[submit]\nform = "me@x.example"', ("[submit] form", "did you mean from?")),
        (relay("smtp://a", name='"w"', **{"from": "3"}), ("[[relay]] w: from", "address")),
    ],
)
def test_a_policy_that_makes_no_sense_is_named_and_mail_is_queued_all_the_same(
    machine: Machine, tables: str, words: tuple[str, ...]
) -> None:
    machine.configure(tables)
    machine.enqueue(MAIL, "you@b.example")
    result = machine.flush(code=78)
    for word in words:
        assert word in result.said
    assert len(machine.ids()) == 1
