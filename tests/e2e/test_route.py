"""`smartrelay route`: which rule, which hosts in which order, how they are spoken to, and why; as a pass does it."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.commands import DOMAIN, Machine, relay
from tests.support.bad_hosts import remember
from tests.support.dns_server import SERVFAIL, SILENT
from tests.support.exchangers import Exchangers
from tests.support.process import free_port
from tests.support.smtp_server import Session

X = b"Subject: x\n\nhello\n"
ME = "me@a.example"
YOU = "you@d.example"
NO_SPOOL = "smartrelay: the bad-host memory is left out: there is no spool at "


def routes(machine: Machine, *arguments: str, code: int = 0) -> list[dict[str, Any]]:
    """What `route --json` says of each address."""
    result = machine.run("route", "--json", *arguments)
    assert result.code == code, result
    return [json.loads(line) for line in result.output.splitlines()]


def rows(text: bytes) -> list[tuple[str, str]]:
    """What `route` says to people: labels and texts; a line without a label belongs to the one above."""
    assert text.endswith(b"\n")
    return [(line[:12].rstrip(), line[13:]) for line in text.decode().splitlines()]


def asked(exchangers: Exchangers) -> list[str]:
    """The questions that the DNS was asked, and they are forgotten."""
    found = exchangers.dns.log
    exchangers.dns.queries.clear()
    return found


@pytest.fixture
def direct(machine: Machine, exchangers: Exchangers) -> Machine:
    """A machine that sends to the exchangers of d.example: b.example, then c.example; and has a spool."""
    exchangers.zone.update({"b.example": ["A 127.0.0.2"], "c.example": ["A 127.0.0.3"]})
    exchangers.mx("d.example", "b.example", "c.example")
    machine.configure(relay("mx", name='"direct"'), exchangers.table)
    machine.flush()
    return machine


# What it says.


def test_for_people_each_fact_is_a_line_with_a_label(machine: Machine, exchangers: Exchangers) -> None:
    """Rule, DNS answers, hosts in order with addresses and security: all that decides, in the order in which it does."""
    exchangers.zone.update({"b.example": ["A 127.0.0.2", "A 127.0.0.4"], "c.example": ["A 127.0.0.3"]})
    exchangers.zone["e.example"] = ["CNAME d.example"]
    exchangers.mx("d.example", "b.example", "c.example")
    news = relay("smtps://news.example", name='"news"', sender='["news@*", "list@*"]', recipient='["*@d.example"]')
    direct = relay("mx", name='"direct"', rate='"20/30s"', source_address='["127.0.0.1"]')
    machine.configure(news, direct, '[limits]\nrate = "1000/h"', exchangers.table)
    machine.flush()
    result = machine.run("route", "--sender", ME, "you@e.example")
    assert (result.code, result.errors) == (0, "")
    speech = "ESMTP, TLS if offered, the certificate not verified, no sign-in"
    assert rows(result.output) == [
        ("Address", "you@e.example"),
        ("Sender", f"<{ME}>"),
        ("Rule", "direct (sender *, recipient *), the first that matches"),
        ("Passed over", "news (sender news@* list@*, recipient *@d.example)"),
        ("DNS", "MX of e.example: an alias of d.example"),
        ("", "MX of d.example: 10 b.example, 20 c.example"),
        ("", "A of b.example: 127.0.0.2, 127.0.0.4"),
        ("", "AAAA of b.example: none"),
        ("", "A of c.example: 127.0.0.3"),
        ("", "AAAA of c.example: none"),
        ("Host 1", f"b.example:{exchangers.port} at 127.0.0.2, 127.0.0.4"),
        ("", speech),
        ("Host 2", f"c.example:{exchangers.port} at 127.0.0.3"),
        ("", speech),
        ("Source", "127.0.0.1"),
        ("Rate", "20/30s by this rule, 1000/h by all rules"),
    ]


def test_for_programs_each_address_is_an_object_on_a_line(direct: Machine, exchangers: Exchangers) -> None:
    first, second = routes(direct, "--sender", ME, YOU, "her@d.example")
    assert (first.pop("address"), second.pop("address")) == (YOU, "her@d.example")
    assert first == second  # the same domain goes the same way
    host = {
        "host": f"b.example:{exchangers.port}",
        "port": exchangers.port,
        "addresses": ["127.0.0.2"],
        "protocol": "esmtp",
        "tls": "opportunistic",
        "ca_file": None,
        "client_certificate": None,
        "user": None,
        "mechanism": None,
        "trouble": None,
        "bad": None,
    }
    answer = {"type": "A", "outcome": "answer"}
    assert first == {
        "mail_of": None,
        "sender": ME,
        "sent_as": ME,
        "relay": "direct",
        "rule": {"sender": ["*"], "recipient": ["*"]},
        "passed_over": [],
        "dns": [
            {"name": "d.example", "text": "MX of d.example: 10 b.example, 20 c.example", **answer, "type": "MX"},
            {"name": "b.example", "text": "A of b.example: 127.0.0.2", **answer},
            {"name": "b.example", "text": "AAAA of b.example: none", "type": "AAAA", "outcome": "no data"},
            {"name": "c.example", "text": "A of c.example: 127.0.0.3", **answer},
            {"name": "c.example", "text": "AAAA of c.example: none", "type": "AAAA", "outcome": "no data"},
        ],
        "hosts": [host, {**host, "host": f"c.example:{exchangers.port}", "addresses": ["127.0.0.3"]}],
        "by_lot": [],
        "source_address": [],
        "rate": None,
        "rate_of_all": None,
        "trouble": None,
    }


def test_addresses_are_told_apart_by_an_empty_line(direct: Machine) -> None:
    shown = direct.run("route", YOU, "her@d.example").output.decode().split("\n\n")
    assert [rows(f"{part}\n".encode())[0] for part in shown] == [("Address", YOU), ("Address", "her@d.example")]


# Which rule.


@pytest.fixture
def ruled(machine: Machine) -> Machine:
    """A machine with three rules."""
    machine.configure(
        relay("smtps://127.0.0.1:4651", name='"work"', sender='["*@work.example"]'),
        relay("smtps://127.0.0.1:4652", name='"home"', sender='["*@home.example", "me@*"]', recipient='["*.org"]'),
        relay("smtps://127.0.0.1:4653", name='"rest"', recipient='["*.example"]'),
    )
    return machine


@pytest.mark.parametrize(
    ("sender", "recipient", "name", "before"),
    [
        ("x@work.example", "you@d.example", "work", []),
        ("X@Work.Example", "you@d.org", "work", []),
        (ME, "you@d.org", "home", ["work"]),
        (ME, "you@d.example", "rest", ["work", "home"]),
        ("", "x@work.example", "work", []),  # a notice goes as its addressee's own mail
        ("<>", "you@d.example", "rest", ["work", "home"]),
    ],
)
def test_the_rule_is_the_first_that_is_for_sender_and_recipient(
    ruled: Machine, sender: str, recipient: str, name: str, before: list[str]
) -> None:
    (found,) = routes(ruled, "--sender", sender, recipient)
    assert (found["relay"], found["passed_over"]) == (name, before)
    assert (found["sender"], found["address"]) == (sender.removeprefix("<>"), recipient)


def test_local_names_are_completed_and_without_a_sender_the_caller_is_meant(ruled: Machine) -> None:  # B-027
    (found,) = routes(ruled, "--sender", "me", "you")
    assert (found["sender"], found["address"], found["relay"]) == (f"me@{DOMAIN}", f"you@{DOMAIN}", "rest")
    (found,) = routes(ruled, "You <you@d.example>")
    result = ruled.sendmail(X, "-v", "you@d.example")
    envelope = json.loads(ruled.run("queue", "show", "--json", result.errors.split()[-1]).output)
    assert (found["sender"], found["address"]) == (envelope["sender"], "you@d.example")


def test_without_a_rule_such_mail_waits(ruled: Machine) -> None:
    ruled.enqueue(X, "-f", "other@b.example", "you@d.org")
    result = ruled.run("route", "--sender", "other@b.example", "you@d.org")
    reason = "no [[relay]] rule is for this sender and recipient"
    assert (result.code, rows(result.output)[2:]) == (
        78,
        [
            ("Rule", "none"),
            ("Passed over", "work (sender *@work.example, recipient *)"),
            ("", "home (sender *@home.example me@*, recipient *.org)"),
            ("", "rest (sender *, recipient *.example)"),
            ("Hosts", f"none: {reason}; such mail waits (4.3.5)"),
        ],
    )
    ruled.flush().line("to=<you@d.org>", "dsn=4.3.5", reason)


# Which hosts, and how they are spoken to.


@pytest.mark.parametrize(
    ("url", "settings", "words", "members"),
    [
        (
            "smtp://127.0.0.1:26",
            {},
            "ESMTP, TLS if offered, the certificate not verified, no sign-in",
            {"tls": "opportunistic"},
        ),
        ("smtp+notls://127.0.0.1", {}, "ESMTP, no TLS, no sign-in", {"tls": "none", "port": 25}),
        ("smtps://127.0.0.1", {}, "ESMTP, TLS from the first octet, the certificate verified, no sign-in", {"port": 465}),
        (
            "smtp+tls://127.0.0.1",
            {"auth": '{ user = "me", secret = "cmd:touch secret-was-read" }', "ca_file": '"/ca.pem"'},
            "ESMTP, STARTTLS required, the certificate verified by /ca.pem, sign-in as me",
            {"tls": "starttls", "port": 587, "user": "me", "mechanism": "auto", "ca_file": "/ca.pem"},
        ),
        (
            "smtps://127.0.0.1",
            {"auth": '{ user = "me", secret = "file:/nowhere", mechanism = "login" }'},
            "ESMTP, TLS from the first octet, the certificate verified, sign-in as me by LOGIN",
            {"tls": "implicit", "user": "me", "mechanism": "login"},
        ),
        (
            "smtps://127.0.0.1",
            {"auth": '{ mechanism = "external" }', "client_certificate": '"/me.pem"'},
            "ESMTP, TLS from the first octet, the certificate verified, client certificate /me.pem, sign-in by EXTERNAL",
            {"mechanism": "external", "client_certificate": "/me.pem", "user": None},
        ),
        ("smtp://127.0.0.1", {"protocol": '"smtp"'}, "SMTP, no TLS, no sign-in", {"tls": "none", "protocol": "smtp"}),
        ("lmtp://127.0.0.1", {}, "LMTP, no TLS, no sign-in", {"protocol": "lmtp", "port": 24}),
        ("lmtp:///run/lmtp", {}, "LMTP, no TLS, no sign-in", {"host": "/run/lmtp", "port": None, "addresses": []}),
    ],
)
def test_how_a_host_is_spoken_to_is_what_its_rule_says(
    machine: Machine, url: str, settings: dict[str, str], words: str, members: dict[str, Any]
) -> None:
    """And no secret is even looked for."""
    machine.configure(relay(url, **settings))
    (found,) = routes(machine, YOU)
    (host,) = found["hosts"]
    assert {key: host[key] for key in members} == members
    shown = rows(machine.run("route", YOU).output)
    assert shown[3:] == [("Host 1", host["host"]), ("", words)]
    assert "secret-was-read" not in os.listdir(machine.folder)


def test_a_password_in_a_relay_url_is_not_shown(machine: Machine) -> None:
    environment = {"SMARTRELAY_RELAY": "smtps://me:hunter2@127.0.0.1"}
    for arguments in ((), ("--json",)):
        result = machine.run("route", *arguments, YOU, env=environment)
        assert result.code == 0 and b"me" in result.output
        assert b"hunter2" not in result.output and "hunter2" not in result.errors


def test_a_host_that_is_named_is_looked_up_by_the_system(machine: Machine) -> None:
    """As a pass does it; one that is not found is said, and is no way."""
    machine.configure(relay("smtp://localhost:26", "smtp://no-such-host.invalid:26", "smtp://127.0.0.1:26"))
    (found,) = routes(machine, YOU)
    local, missing, literal = found["hosts"]
    assert "127.0.0.1" in local["addresses"] and local["trouble"] is None
    assert missing["addresses"] == [] and missing["trouble"].startswith("host no-such-host.invalid not found: ")
    assert literal["addresses"] == ["127.0.0.1"] and found["dns"] == []
    shown = rows(machine.run("route", YOU).output)
    assert ("Host 2", f"no-such-host.invalid:26: {missing['trouble']}") in shown
    assert ("Host 3", "127.0.0.1:26") in shown
    machine.configure(relay("smtp://no-such-host.invalid:26"))
    assert routes(machine, YOU, code=75)[0]["trouble"] is None


def test_hosts_that_are_equal_are_said_to_be_drawn_by_lot(machine: Machine) -> None:
    machine.configure('[[relay]]\nhosts = [["smtps://127.0.0.1:1", "smtps://127.0.0.1:2"], "smtps://127.0.0.1:3"]')
    (found,) = routes(machine, YOU)
    assert sorted(host["host"] for host in found["hosts"][:2]) == ["127.0.0.1:1", "127.0.0.1:2"]
    assert found["hosts"][2]["host"] == "127.0.0.1:3"
    assert found["by_lot"] == [["127.0.0.1:1", "127.0.0.1:2"]]
    text = "127.0.0.1:1 and 127.0.0.1:2: each pass draws their order anew"
    assert rows(machine.run("route", YOU).output)[-1] == ("By lot", text)


# What keeps the mail.

WITHOUT_A_WAY = {
    "null.example": ["MX 0 ."],
    "loop.example": ["CNAME loop2.example"],
    "loop2.example": ["CNAME loop.example"],
    "illegal.example": ["MX 10 192.0.2.1"],
    "own.example": ["MX 10 client.a.example"],
}


@pytest.mark.parametrize(
    ("recipient", "code", "dsn", "words"),
    [
        ("x@null.example", 67, "5.1.10", "null MX"),  # B-015
        ("x@missing.example", 67, "5.1.2", "not found"),  # B-008
        ("x@loop.example", 67, "5.4.4", "in a circle"),  # B-012
        ("x@illegal.example", 67, "5.4.4", "no mail exchanger of illegal.example is the name of a host"),  # B-014
        ("x@own.example", 67, "5.4.6", "loops back"),  # B-018
        ("x@[300.1.1.1]", 67, "5.1.3", "is no address"),  # B-021
        ("x@failing.example", 75, "4.4.3", "SERVFAIL"),  # B-009
        ("x@silent.example", 75, "4.4.3", "looking up silent.example failed"),
    ],
)
def test_a_domain_without_a_way_is_said_in_a_sentence(
    machine: Machine, exchangers: Exchangers, recipient: str, code: int, dsn: str, words: str
) -> None:
    """The words are those of a pass, and so is the verdict: 67 where the mail fails, 75 where it waits."""
    exchangers.zone.update(WITHOUT_A_WAY)
    exchangers.dns.on |= {"failing.example": SERVFAIL, "silent.example": SILENT}
    machine.configure(relay("mx"), exchangers.table, '[timeouts]\nlookup = "1s"')
    (found,) = routes(machine, "--sender", ME, recipient, code=code)
    trouble = found["trouble"]
    assert found["hosts"] == []
    assert (trouble["permanent"], trouble["dsn"]) == (code == 67, dsn)
    assert words in trouble["text"]
    end = "fails" if code == 67 else "waits"
    shown = rows(machine.run("route", recipient).output)
    assert shown[-1] == ("Hosts", f"none: {trouble['text']}; such mail {end} ({dsn})")
    one = machine.enqueue(X, "-f", ME, recipient)
    status = "bounced" if code == 67 else "deferred"
    machine.flush(one).line(one, f"dsn={dsn}, status={status} ({trouble['text']})")


def test_offline_the_way_cannot_be_told(machine: Machine) -> None:
    machine.configure(relay("mx"), f'[mx]\nnameservers = ["127.0.0.1:{free_port()}"]')
    before = time.monotonic()
    (found,) = routes(machine, YOU, code=75)
    assert time.monotonic() - before < 5
    assert found["trouble"]["permanent"] is False


@pytest.mark.parametrize(
    ("addresses", "code"),
    [
        ((YOU,), 0),
        ((YOU, "x@failing.example", "x@null.example"), 75),
        (("x@null.example", "x@failing.example", YOU), 67),
    ],
)
def test_the_exit_code_is_that_of_the_first_address_without_a_way(
    direct: Machine, exchangers: Exchangers, addresses: tuple[str, ...], code: int
) -> None:
    exchangers.zone["null.example"] = ["MX 0 ."]
    exchangers.dns.on["failing.example"] = SERVFAIL
    assert [found["address"] for found in routes(direct, *addresses, code=code)] == list(addresses)


@pytest.mark.parametrize(
    "arguments",
    [
        ("you@", YOU),
        (YOU, "@d.example"),
        ("a b@d.example",),
        ("you@d.example, her@d.example",),
        ("",),
        ("<>",),
        ("you@d\x1b[31m.example",),
        ("--sender", "me@", YOU),
        ("--sender", "a@b.example,c@d.example", YOU),
    ],
)
def test_what_is_no_address_is_65_before_anything_is_asked(
    direct: Machine, exchangers: Exchangers, arguments: tuple[str, ...]
) -> None:
    asked(exchangers)
    result = direct.run("route", *arguments)
    assert (result.code, result.output, result.errors.count("\n")) == (65, b"", 1)
    assert result.errors.rstrip("\n").isprintable()
    assert asked(exchangers) == []


def test_without_an_address_it_is_a_usage_error(machine: Machine) -> None:
    result = machine.run("route")
    assert (result.code, result.output, result.errors.count("\n")) == (64, b"", 1)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("", "no relay is configured"),
        ("[[relay]]\nhostz = 1", "hostz is not a known key"),
        (relay("ftp://x"), "a relay is written"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_78(machine: Machine, table: str, words: str) -> None:
    machine.configure(table)
    result = machine.run("route", YOU)
    assert (result.code, result.output, result.errors.count("\n")) == (78, b"", 1)
    assert words in result.errors and machine.config in result.errors


# The memory for bad hosts.


def test_a_bad_host_comes_last_and_is_said_to_be_bad(direct: Machine, exchangers: Exchangers) -> None:  # C-010
    key = f"b.example:{exchangers.port}"
    remember(direct.spool, key)
    (found,) = routes(direct, YOU)
    good, bad = found["hosts"]
    assert (good["host"], good["bad"], bad["host"]) == (f"c.example:{exchangers.port}", None, key)
    listed = json.loads(direct.run("hosts", "list", "--json").output)
    assert {"host": key, **bad["bad"]} == listed
    _, words = rows(direct.run("route", YOU).output)[-1]
    probe, until = (time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(listed[name])) for name in ("probe", "until"))
    assert words == f"bad: connection refused; next probe {probe}; tried after the good ones until {until}"


def test_a_probe_that_is_due_is_said_to_be_due(direct: Machine, exchangers: Exchangers) -> None:
    remember(direct.spool, f"b.example:{exchangers.port}", ago=100)
    assert rows(direct.run("route", YOU).output)[-1][1].startswith("bad: connection refused; next probe is due; tried after")


def test_garbage_is_said_and_left_where_it_is(direct: Machine) -> None:
    """Who only looks changes nothing."""
    one = direct.enqueue(X, "-f", ME, YOU)
    Path(direct.spool, "hosts.json").write_bytes(b"\0garbage\n")
    before = direct.tree()
    for arguments in (("route", YOU), ("flush", "--dry-run"), ("queue", "show", one)):
        result = direct.run(*arguments)
        said = f"smartrelay: {direct.spool}/hosts.json is not JSON in ASCII; no host counts as bad\n"
        assert (result.code, result.errors) == (0, said if arguments[0] != "queue" else "")
    assert direct.tree() == before


def test_without_a_spool_the_way_is_told_all_the_same(machine: Machine) -> None:
    machine.configure(relay("smtps://127.0.0.1"))
    result = machine.run("route", "--json", YOU)
    assert (result.code, result.errors) == (0, f"{NO_SPOOL}{machine.spool}\n")
    (host,) = json.loads(result.output)["hosts"]
    assert host["host"] == "127.0.0.1:465" and "bad" not in host
    assert machine.run("route", "-q", YOU).errors == ""
    assert not os.path.exists(machine.spool)


def test_it_touches_no_queue_connects_to_nobody_and_asks_each_question_once(direct: Machine, exchangers: Exchangers) -> None:
    servers = [exchangers.start("b.example", 2), exchangers.start("c.example", 3)]
    exchangers.zone.update({"b.example": ["A 127.0.0.2"], "c.example": ["A 127.0.0.3"]})
    direct.enqueue(X, "-f", ME, YOU)
    before = direct.tree()
    asked(exchangers)
    found = routes(direct, YOU, "her@D.Example", YOU)
    assert len(found[0]["dns"]) == 5
    assert all(each["dns"] == found[0]["dns"] and each["hosts"] == found[0]["hosts"] for each in found)
    questions = asked(exchangers)
    assert sorted(questions) == sorted(set(questions))
    assert direct.tree() == before
    assert [server.sessions for server in servers] == [[], []]


# Route and flush agree.


class Refusing:
    """Servers at 127.0.0.2 to 127.0.0.4 that want no mail for now, and the order in which they were connected to."""

    def __init__(self, exchangers: Exchangers) -> None:
        self.order: list[str] = []
        for number, name in enumerate(("one.example", "two.example", "three.example"), 2):
            exchangers.start(name, number, on=self._noted(f"127.0.0.{number}"))

    def _noted(self, address: str) -> Callable[[str, bytes, Session], bytes | None]:
        def note(point: str, argument: bytes, session: Session) -> bytes | None:
            if point != "GREETING":
                return None
            self.order.append(address)
            return b"421 4.3.2 not now"

        return note


MX_OF_D = ("MX 30 one.example", "MX 10 three.example", "MX 20 two.example")
WAYS: dict[str, tuple[tuple[str, ...], dict[str, list[str]], str, float]] = {
    "exchangers": (("mx",), {"d.example": [*MX_OF_D]}, "", 0),
    "an alias": (("mx",), {"d.example": ["CNAME e.example"], "e.example": [*MX_OF_D]}, "", 0),
    "no exchanger": (("mx",), {"d.example": ["A 127.0.0.3", "A 127.0.0.2"]}, "", 0),
    "the exchangers of a relay": (("mx+smtp://d.example:PORT",), {"d.example": [*MX_OF_D]}, "", 0),
    "named hosts": (("smtp://127.0.0.4:PORT", "smtp://127.0.0.2:PORT", "smtp://127.0.0.3:PORT"), {}, "", 0),
    "named and found": (("smtp://127.0.0.3:PORT", "mx"), {"d.example": ["MX 20 one.example", "MX 10 three.example"]}, "", 0),
    "one that is bad": (("mx",), {"d.example": [*MX_OF_D]}, "three.example:PORT", 0),
    "one whose probe is due": (("mx",), {"d.example": [*MX_OF_D]}, "three.example:PORT", 100),
    "a named one that is bad": (("smtp://127.0.0.4:PORT", "smtp://127.0.0.2:PORT"), {}, "127.0.0.4:PORT", 0),
    "a named one whose probe is due": (("smtp://127.0.0.4:PORT", "smtp://127.0.0.2:PORT"), {}, "127.0.0.4:PORT", 100),
}
"""Hosts of a rule, what the DNS says, which host is bad, and for how many seconds."""


@pytest.mark.parametrize("case", WAYS)
def test_route_and_flush_agree(machine: Machine, exchangers: Exchangers, case: str) -> None:
    """The hosts that route names are those that a pass connects to, in this order; but no bad one before its next probe."""
    # B-002 B-004 B-007 B-012 B-023
    hosts, zone, bad, ago = WAYS[case]
    servers = Refusing(exchangers)
    exchangers.zone.update(zone)
    first = relay("smtp://127.0.0.1:1", name='"other"', recipient='["*@other.example"]')
    machine.configure(first, relay(*(host.replace("PORT", str(exchangers.port)) for host in hosts)), exchangers.table)
    one = machine.enqueue(X, "-f", ME, YOU)
    if bad:
        remember(machine.spool, bad.replace("PORT", str(exchangers.port)), ago=ago)
    (found,) = routes(machine, "--sender", ME, YOU)
    now = time.time()
    expected = [
        address for host in found["hosts"] if not host["bad"] or host["bad"]["probe"] <= now for address in host["addresses"]
    ]
    assert servers.order == []
    planned = machine.flush("--dry-run", "--json").output
    assert json.loads(planned)["hosts"] == [host["host"] for host in found["hosts"]]
    machine.flush()
    assert servers.order == expected
    assert len(expected) == sum(len(host["addresses"]) for host in found["hosts"]) - bool(bad and not ago)
    assert machine.ids("cur") == [one]
