"""The way of mail that is in the queue: as `flush --dry-run` and `queue show` tell it, in the words of `route`; and how
`queue retry` takes its hosts off the bad-host memory."""

import json
import os
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.commands import Machine, Result, relay
from tests.support.bad_hosts import remember
from tests.support.dns_server import SERVFAIL
from tests.support.exchangers import Exchangers
from tests.support.smtp_server import ScriptedServer

Start = Callable[..., ScriptedServer]

X = b"Subject: x\n\nhello\n"
ME = ("-f", "me@a.example")
LATER = {"RCPT": b"450 4.2.1 later"}
REFUSED = "bad: connection refused; next probe "


def bad(machine: Machine) -> list[str]:
    """The hosts in the bad-host memory."""
    result = machine.run("hosts", "list")
    assert result.code == 0
    return [line.split("\t")[0] for line in result.output.decode().splitlines()]


def said(result: Result, code: int, *sentences: str) -> None:
    assert (result.code, result.said) == (code, "".join(f"smartrelay: {sentence}\n" for sentence in sentences))


def probe(machine: Machine, key: str) -> str:
    """When the host's next probe is, as people read it."""
    for line in machine.run("hosts", "list", "--json").output.splitlines():
        row = json.loads(line)
        if row["host"] == key:
            return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row["probe"]))
    raise AssertionError(f"{key} is not in the memory")


@pytest.fixture
def mixed(machine: Machine, exchangers: Exchangers) -> Machine:
    """A machine with a rule for named hosts, one for exchangers, and none for the rest. d.example has b.example, then
    c.example."""
    exchangers.mx("d.example", "b.example", "c.example")
    exchangers.zone.update({"b.example": ["A 127.0.0.2"], "c.example": ["A 127.0.0.3"], "null.example": ["MX 0 ."]})
    hosts = [f"smtp://127.0.0.{number}:{exchangers.port}" for number in (4, 5)]
    machine.configure(
        relay(*hosts, name='"named"', recipient='["*@n.example"]'),
        relay("mx", name='"direct"', recipient='["*@d.example", "*@null.example", "*@failing.example"]'),
        exchangers.table,
    )
    return machine


# flush --dry-run


def plan(machine: Machine, *arguments: str) -> dict[str, dict[str, Any]]:
    """What would be sent, by recipient; text and JSON say the same."""
    found = [json.loads(line) for line in machine.flush("--dry-run", "--json", *arguments).output.splitlines()]
    lines = [line.split("\t") for line in machine.flush("--dry-run", *arguments).output.decode().splitlines()]
    assert [line[:2] for line in lines] == [[each["queue_id"], each["recipient"]] for each in found]
    for each, (_, _, way) in zip(found, lines, strict=True):
        each["text"] = way
        assert way.startswith(f"{each['relay']}: " if each["relay"] else "nowhere: ")
        assert all(host in way for host in each["hosts"])
    return {each.pop("recipient"): each for each in found}


def test_a_dry_run_names_the_hosts_in_order_and_marks_bad_ones(mixed: Machine, exchangers: Exchangers) -> None:
    """And asks the DNS once about each domain, connects to nobody and touches nothing."""  # C-010
    port = exchangers.port
    servers = [exchangers.start(f"{number}.example", number) for number in (2, 3, 4, 5)]
    exchangers.dns.on["failing.example"] = SERVFAIL
    recipients = [f"{name}@{domain}.example" for name in "xy" for domain in ("d", "n", "null", "failing", "other")]
    for recipient in recipients:
        mixed.enqueue(X, *ME, recipient)
    remember(mixed.spool, f"b.example:{port}", f"127.0.0.4:{port}")
    before = mixed.tree()
    exchangers.dns.queries.clear()
    found = plan(mixed)
    assert set(found) == set(recipients)
    for question in ("d.example MX", "null.example MX", "b.example A", "c.example A"):
        assert exchangers.dns.log.count(question) == 2  # once for the text, once for JSON
    assert found["x@d.example"]["hosts"] == [f"c.example:{port}", f"b.example:{port}"]
    assert [each["host"] for each in found["x@d.example"]["bad"]] == [f"b.example:{port}"]
    mark = f"{REFUSED}{probe(mixed, f'b.example:{port}')}"
    assert found["y@d.example"]["text"] == f"direct: c.example:{port}, b.example:{port} ({mark})"
    assert found["x@n.example"]["text"] == f"named: 127.0.0.5:{port}, 127.0.0.4:{port} ({mark})"
    null = "domain null.example does not accept mail (it has a null MX)"
    assert found["x@null.example"]["text"] == f"direct: nowhere: {null}; such mail fails (5.1.10)"
    assert found["x@null.example"]["trouble"] == {"permanent": True, "dsn": "5.1.10", "text": null}
    assert found["x@failing.example"]["text"].endswith("; such mail waits (4.4.3)")
    assert found["x@other.example"]["text"].startswith("nowhere: no [[relay]] rule is for this sender and recipient")
    assert mixed.tree() == before
    assert [server.sessions for server in servers] == [[]] * 4


def test_with_all_a_dry_run_takes_bad_hosts_for_good_as_the_pass_does(mixed: Machine, exchangers: Exchangers) -> None:
    port = exchangers.port
    servers = [exchangers.start("x.example", number, replies=LATER) for number in (4, 5)]
    mixed.enqueue(X, *ME, "x@n.example")
    remember(mixed.spool, f"127.0.0.4:{port}")
    found = plan(mixed, "--all")["x@n.example"]
    assert (found["hosts"], found["bad"]) == ([f"127.0.0.4:{port}", f"127.0.0.5:{port}"], [])
    mixed.flush("--all")
    assert [len(server.sessions) for server in servers] == [1, 0]


def test_a_notice_goes_the_way_of_its_addressees_own_mail(machine: Machine, exchangers: Exchangers) -> None:
    """In the plan, in what is shown, in `route` and in a pass alike."""
    server = exchangers.start("x.example", 2, replies=LATER)
    here = f"smtp://127.0.0.2:{server.port}"
    machine.configure(relay(here, name='"mine"', sender='["*@a.example"]'), relay("smtps://127.0.0.1", name='"rest"'))
    one = machine.enqueue(X, "-f", "<>", "me@a.example")
    assert plan(machine)["me@a.example"]["relay"] == "mine"
    assert json.loads(machine.run("queue", "show", "--json", one).output)["ways"][0]["relay"] == "mine"
    assert json.loads(machine.run("route", "--json", "--sender", "", "me@a.example").output)["relay"] == "mine"
    machine.flush()
    assert len(server.sessions) == 1


# queue show


def shown(machine: Machine, one: str) -> list[str]:
    """The lines of `queue show` that tell the way."""
    result = machine.run("queue", "show", one)
    assert (result.code, result.errors) == (0, "")
    return [line[13:] for line in result.output.decode().splitlines() if line.startswith("Way  ")]


def test_a_message_that_waits_is_shown_with_its_way(mixed: Machine, exchangers: Exchangers) -> None:
    port = exchangers.port
    one = mixed.enqueue(X, *ME, "x@n.example")
    assert shown(mixed, one) == [f"named: 127.0.0.4:{port}, 127.0.0.5:{port}"]
    remember(mixed.spool, f"127.0.0.5:{port}")
    mark = f"{REFUSED}{probe(mixed, f'127.0.0.5:{port}')}"
    assert shown(mixed, one) == [f"named: 127.0.0.4:{port}, 127.0.0.5:{port} ({mark})"]
    (way,) = json.loads(mixed.run("queue", "show", "--json", one).output)["ways"]
    assert (way["relay"], way["recipients"], way["hosts"]) == (
        "named",
        ["x@n.example"],
        [f"127.0.0.4:{port}", f"127.0.0.5:{port}"],
    )
    assert [each["host"] for each in way["bad"]] == [f"127.0.0.5:{port}"]


def test_to_show_a_message_no_question_is_asked(mixed: Machine, exchangers: Exchangers) -> None:
    """Of exchangers those are shown that the mail has been at, and that are bad."""
    port = exchangers.port
    one = mixed.enqueue(X, *ME, "x@d.example")
    assert shown(mixed, one) == [f"direct: MX of d.example:{port}"]
    mixed.flush()  # nobody listens at either
    exchangers.dns.queries.clear()
    (way,) = shown(mixed, one)
    marks = [
        f"{name}.example:{port} (bad: connect to {name}.example[127.0.0.{number}]:{port}: connection refused; "
        f"next probe {probe(mixed, f'{name}.example:{port}')})"
        for name, number in (("b", 2), ("c", 3))
    ]
    assert way == f"direct: MX of d.example:{port}, {', '.join(marks)}"
    assert exchangers.dns.log == []


def test_each_way_of_a_message_is_shown_with_its_recipients(mixed: Machine, exchangers: Exchangers) -> None:
    """Those that wait: one that has his mail goes no way any more."""
    exchangers.start("x.example", 4, replies={"RCPT TO:<x@": b"450 4.2.1 later"})
    one = mixed.enqueue(X, *ME, "gone@n.example", "x@n.example", "x@d.example", "y@d.example", "x@other.example")
    mixed.flush()
    port = exchangers.port
    named, direct, nowhere = shown(mixed, one)
    assert named == f"named: 127.0.0.4:{port}, 127.0.0.5:{port} for <x@n.example>"
    assert direct.startswith("direct: MX of d.example") and direct.endswith(" for <x@d.example>, <y@d.example>")
    assert nowhere.startswith("nowhere: no [[relay]] rule") and nowhere.endswith(" for <x@other.example>")


def test_with_a_wrong_configuration_a_message_is_shown_all_the_same(mixed: Machine) -> None:
    one = mixed.enqueue(X, *ME, "x@n.example")
    mixed.configure("[[relay]]\nhostz = 1")
    (way,) = shown(mixed, one)
    assert way.startswith(f"not known: {mixed.config}: ") and "hostz" in way
    assert json.loads(mixed.run("queue", "show", "--json", one).output)["ways"] is None


# queue retry


@pytest.fixture
def deferred(mixed: Machine, exchangers: Exchangers) -> dict[str, str]:
    """Two messages that wait for bad hosts, by rule; a third host is bad that no message waits for."""
    ids = {"named": mixed.enqueue(X, *ME, "x@n.example"), "direct": mixed.enqueue(X, *ME, "x@d.example")}
    mixed.flush()
    remember(mixed.spool, "other.example:25")
    assert len(bad(mixed)) == 5
    return ids


def test_what_is_retried_goes_with_the_next_pass_though_its_host_was_bad(
    mixed: Machine, exchangers: Exchangers, deferred: dict[str, str]
) -> None:
    """2.1: a smart host that is back is asked at once, and nobody else's host is."""
    server = exchangers.start("x.example", 4)
    port = exchangers.port
    said(
        mixed.run("queue", "retry", deferred["named"]),
        0,
        "2 hosts forgotten in the bad-host memory",
        "1 message will be tried now",
    )
    assert bad(mixed) == [f"b.example:{port}", f"c.example:{port}", "other.example:25"]
    mixed.flush()
    assert len(server.accepted) == 1
    assert mixed.ids() == [deferred["direct"]]


@pytest.mark.parametrize("number", [2, 3])
def test_any_exchanger_that_mail_was_left_without_is_asked_at_once(
    mixed: Machine, exchangers: Exchangers, deferred: dict[str, str], number: int
) -> None:
    server = exchangers.start("x.example", number)
    said(
        mixed.run("queue", "retry", deferred["direct"]),
        0,
        "2 hosts forgotten in the bad-host memory",
        "1 message will be tried now",
    )
    assert [key.partition(":")[0] for key in bad(mixed)] == ["127.0.0.4", "127.0.0.5", "other.example"]
    mixed.flush()
    assert len(server.accepted) == 1


def test_the_only_exchanger_is_forgotten_by_its_name(mixed: Machine, exchangers: Exchangers) -> None:
    exchangers.mx("d.example", "c.example")
    one = mixed.enqueue(X, *ME, "x@d.example")
    mixed.flush()
    forgotten = f"c.example:{exchangers.port} forgotten in the bad-host memory"
    said(mixed.run("queue", "retry", one), 0, forgotten, "1 message will be tried now")
    assert bad(mixed) == []


@pytest.mark.parametrize("arguments", [("--all",), ("--recipient", "*.example"), ("--state", "waiting")], ids=" ".join)
def test_all_that_is_meant_is_forgotten_at_once(mixed: Machine, deferred: dict[str, str], arguments: tuple[str, ...]) -> None:
    said(
        mixed.run("queue", "retry", *arguments),
        0,
        "4 hosts forgotten in the bad-host memory",
        "2 messages will be tried now",
    )
    assert bad(mixed) == ["other.example:25"]


def test_where_no_host_is_bad_nothing_is_said_of_it(mixed: Machine) -> None:
    one = mixed.enqueue(X, *ME, "x@n.example")
    said(mixed.run("queue", "retry", one), 0, "1 message will be tried now")
    assert not os.path.exists(f"{mixed.spool}/hosts.json")


def test_a_message_that_is_held_has_no_host_forgotten(mixed: Machine, deferred: dict[str, str]) -> None:
    mixed.run("queue", "hold", *deferred.values())
    before = bad(mixed)
    assert mixed.run("queue", "retry", deferred["named"]).code == 66
    assert mixed.run("queue", "retry", "--all").code == 0
    assert bad(mixed) == before


def test_with_a_wrong_configuration_mail_is_retried_all_the_same(mixed: Machine, deferred: dict[str, str]) -> None:
    """And it is said that the memory was not touched."""
    mixed.configure("[[relay]]\nhostz = 1")
    before = bad(mixed)
    result = mixed.run("queue", "retry", "--all")
    untouched, retried = result.said.splitlines()
    assert (result.code, retried) == (0, "smartrelay: 2 messages will be tried now")
    assert untouched.startswith(f"smartrelay: the bad-host memory is as it was: {mixed.config}: ")
    assert bad(mixed) == before
    assert mixed.ids("new") == sorted(deferred.values())


def test_a_memory_that_cannot_be_written_is_74_and_the_mail_is_retried(mixed: Machine, deferred: dict[str, str]) -> None:
    os.mkdir(f"{mixed.spool}/hosts.json.tmp")
    result = mixed.run("queue", "retry", "--all")
    assert result.code == 74
    assert result.said.splitlines()[-2:] == [
        "smartrelay: the bad-host memory is as it was",
        "smartrelay: 2 messages will be tried now",
    ]
    assert mixed.ids("new") == sorted(deferred.values())


def test_a_journal_of_nonsense_keeps_nobody_from_retrying(mixed: Machine, deferred: dict[str, str]) -> None:
    for one, host in zip(deferred.values(), ["x[1]:" + "9" * 5000, "[[:]:]\u202e"], strict=True):
        row = [0, "deferred", "4.0.0", "x", 450, host, "p", False]
        with open(f"{mixed.spool}/state/{one}", "a", encoding="utf-8") as file:
            file.write(json.dumps({"event": "attempt", "time": 1, "relay": "x", "results": [row]}) + "\n")
    assert all(line.isprintable() for one in deferred.values() for line in shown(mixed, one))
    assert mixed.run("queue", "retry", *deferred.values()).code == 0
    assert mixed.ids("new") == sorted(deferred.values())
    mixed.flush()
