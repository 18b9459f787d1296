"""`hosts = ["mx"]`: the installed command finds the exchangers of each recipient's domain and hands the mail to them."""

import json
import os
import signal
from collections.abc import Callable

import pytest

from tests.e2e.commands import Machine, Result, relay
from tests.support.dns_server import REFUSED, SERVFAIL, SILENT, Action
from tests.support.exchangers import Exchangers
from tests.support.place import recipients
from tests.support.real_dns import RealDns
from tests.support.smtp_server import ScriptedServer

Start = Callable[..., ScriptedServer]

X = b"Subject: x\n\nhello\n"
ME = ("-f", "me@a.example")
HOME = "a.example"


@pytest.fixture
def home(exchangers: Exchangers) -> ScriptedServer:
    """Where notices for our senders go."""
    return exchangers.start(HOME, 250)


def flush(machine: Machine, exchangers: Exchangers, *addresses: str, more: str = "") -> Result:
    """One message for each address, and a pass."""
    machine.configure(relay("mx"), exchangers.table, more)
    for address in addresses:
        machine.enqueue(X, *ME, address)
    return machine.flush()


def test_each_domain_has_its_own_exchangers_and_all_go_in_one_pass(machine: Machine, exchangers: Exchangers) -> None:
    """By preference, by address record where there is no MX, by alias, by literal, in any spelling or script."""
    # B-002 B-007 B-012 B-021 B-024 B-026
    best, worse = exchangers.start("mx.b.example", 2), exchangers.start("mx2.b.example", 3)
    alone = exchangers.start("c.example", 4)
    exchangers.zone["b.example"] = ["MX 20 mx2.b.example", "MX 10 mx.b.example", "A 127.0.0.9"]
    exchangers.zone["alias.example"] = ["CNAME b.example"]
    exchangers.mx("xn--bcher-kva.example", "mx2.b.example")
    sent = ["u@B.example", "u@alias.example", "u@bücher.example", "u@c.example", "u@[127.0.0.4]"]
    machine.configure(relay("mx"), exchangers.table)
    worse.keywords = ["SMTPUTF8", "8BITMIME"]
    for address in sent:
        machine.enqueue(X, *ME, address)
    result = machine.flush()
    assert recipients(best) == ["u@B.example", "u@alias.example"]
    assert recipients(worse) == ["u@xn--bcher-kva.example"]
    assert recipients(alone) == ["u@[127.0.0.4]", "u@c.example"]
    assert machine.ids() == []
    assert "relay=mx.b.example[127.0.0.2]:" in result.line("to=<u@alias.example>")


def test_a_notice_to_a_domain_that_takes_no_mail_ends_at_once(machine: Machine, exchangers: Exchangers) -> None:  # B-015 B-017
    """The sender's domain has a null MX: nobody is asked again and again to take what cannot be told there."""
    exchangers.start("b.example", 2, replies={"RCPT": b"550 5.1.1 no"})
    exchangers.zone[HOME] = ["MX 0 ."]
    result = flush(machine, exchangers, "u@b.example")
    assert "dsn=5.1.10, status=bounced" in result.line("to=<me@a.example>")
    assert "it has no sender to be told (double bounce)" in result.errors and machine.ids() == []


def test_one_transaction_for_each_domain_whatever_its_letters(machine: Machine, exchangers: Exchangers) -> None:  # B-026
    server = exchangers.start("b.example", 2)
    machine.configure(relay("mx"), exchangers.table)
    machine.enqueue(X, *ME, "u@B.Example", "v@b.example", "w@c.example")
    exchangers.zone["c.example"] = ["A 127.0.0.2"]
    machine.flush()
    assert sorted(len(transaction.rcpt_to) for transaction in server.accepted) == [1, 2]
    assert all(b".>" not in line for transaction in server.accepted for line in transaction.rcpt_to)


@pytest.mark.parametrize(
    ("records", "code", "word"),
    [
        ({"d.example": ["MX 0 ."]}, "5.1.10", "null MX"),  # B-015
        ({"x.example": ["TXT x"]}, "5.1.2", "not found"),  # B-008
        ({"d.example": ["TXT no mail"]}, "5.4.4", "neither an MX record nor an address"),  # B-011
        ({"d.example": ["MX 1 gone.example"]}, "5.4.4", "no mail exchanger of d.example has an address"),  # B-011
        ({"d.example": ["MX 1 192.0.2.1"]}, "5.4.4", "is the name of a host"),  # B-014
        ({"d.example": ["CNAME e.example"], "e.example": ["CNAME d.example"]}, "5.4.4", "leads in a circle"),  # B-012
        ({f"{a}.example": [f"CNAME {b}.example"] for a, b in ("de", "ef", "fg", "gh")}, "5.4.4", "more than 3 steps"),  # B-012
        ({"d.example": ["MX 10 client.a.example"]}, "5.4.6", "loops back"),  # B-018
    ],
    ids=["null MX", "no domain", "no record", "no exchanger", "address as name", "circle", "long chain", "ourselves"],
)
def test_a_domain_that_takes_no_mail_fails_at_once(
    machine: Machine, exchangers: Exchangers, home: ScriptedServer, records: dict[str, list[str]], code: str, word: str
) -> None:
    """With a notice to the sender that has the code and says why, in the same pass."""
    exchangers.zone.update(records)
    result = flush(machine, exchangers, "u@d.example")
    line = result.line("to=<u@d.example>")
    assert f"dsn={code}, status=bounced" in line and word in line and "relay=none" in line
    assert recipients(home) == ["me@a.example"] and machine.ids() == []
    (notice,) = home.accepted
    assert f"Status: {code}".encode() in notice.content and b"Action: failed" in notice.content


@pytest.mark.parametrize("action", [SERVFAIL, REFUSED, SILENT], ids=["SERVFAIL", "REFUSED", "silence"])
@pytest.mark.parametrize("kind", ["MX", "A"])
def test_what_the_dns_cannot_tell_waits_and_nobody_is_connected_to(
    machine: Machine, exchangers: Exchangers, action: Action, kind: str
) -> None:  # B-009 B-010
    """Not to the domain's own address either; it is an attempt, and goes when the DNS can tell."""
    server = exchangers.start("d.example", 2)
    exchangers.zone["d.example"] = [*exchangers.zone["d.example"], "MX 10 mx.d.example"]
    exchangers.zone["mx.d.example"] = ["A 127.0.0.2"]
    name = "d.example" if kind == "MX" else "mx.d.example"
    exchangers.dns.on[f"{name} {kind}"] = action
    result = flush(machine, exchangers, "u@d.example", more='[timeouts]\nlookup = "1s"')
    line = result.line("to=<u@d.example>")
    assert "dsn=4.4.3, status=deferred (looking up d.example failed" in line and server.sessions == []
    exchangers.dns.on.clear()
    machine.make_due()
    machine.flush()
    assert recipients(server) == ["u@d.example"]  # B-028


def test_a_host_of_both_families_is_tried_at_all_its_addresses(machine: Machine, exchangers: Exchangers) -> None:  # B-004 B-006
    """No one listens at the first family; the next host is asked only where no address is left."""
    with ScriptedServer(address="127.0.0.3", port=exchangers.port) as b:
        exchangers.zone["a.b.example"] = ["AAAA ::1", "A 127.0.0.2"]
        exchangers.zone["b.b.example"] = ["A 127.0.0.3", "AAAA 2001:db8::1"]
        exchangers.mx("d.example", "a.b.example", "b.b.example")
        result = flush(machine, exchangers, "u@d.example")
        assert recipients(b) == ["u@d.example"]
    said = result.line("relay relay1 for d.example: a.b.example")
    assert "connection refused" in said


def test_the_environment_can_ask_for_exchangers(machine: Machine, exchangers: Exchangers) -> None:
    server = exchangers.start("d.example", 2)
    machine.configure(exchangers.table)
    machine.enqueue(X, *ME, "u@d.example")
    machine.flush(env={"SMARTRELAY_RELAY": "mx"})
    assert recipients(server) == ["u@d.example"]


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_one_family_alone_can_be_asked_for(machine: Machine, exchangers: Exchangers, family: str) -> None:  # B-006
    four = exchangers.start("d.example", 2)
    with ScriptedServer(address="127.0.0.1") as unused:
        exchangers.zone["d.example"] += ["AAAA ::1"]
        machine.configure(relay("mx"), exchangers.table + f'address_family = "{family}"\n')
        machine.enqueue(X, *ME, "u@d.example")
        result = machine.flush()
        assert unused.sessions == []
    assert len(four.accepted) == (family == "ipv4")
    assert f"{'A' if family == 'ipv6' else 'AAAA'}" not in {query.kind for query in exchangers.dns.queries}
    if family == "ipv6":
        assert "connect to d.example[::1]" in result.line("to=<u@d.example>")


@pytest.mark.parametrize("where", ["greeting", "EHLO"])
def test_an_exchanger_by_our_own_name_gets_no_mail(
    machine: Machine, exchangers: Exchangers, home: ScriptedServer, where: str
) -> None:  # B-019
    point, code = ("GREETING", b"220") if where == "greeting" else ("EHLO", b"250")
    server = exchangers.start("d.example", 2, replies={point: code + b" client.a.example"})
    result = flush(machine, exchangers, "u@d.example")
    assert "dsn=5.4.6, status=bounced (mail loops back" in result.line("to=<u@d.example>")
    assert server.transactions == [] and recipients(home) == ["me@a.example"]
    assert machine.run("hosts", "list").output == b""


def test_mail_for_our_own_address_is_not_connected_to(machine: Machine, exchangers: Exchangers) -> None:  # B-018
    """Port 25 of this machine, whoever listens there: the domain's best exchanger is an address of ours, and 127.0.0.2 is."""
    exchangers.zone |= {"d.example": ["MX 10 x.example", "MX 20 y.example"], "x.example": ["A 127.0.0.2"]}
    machine.configure(relay("mx"), f'[mx]\nnameservers = ["{exchangers.dns.where}"]\n')
    machine.enqueue(X, *ME, "u@d.example")
    result = machine.flush()
    line = result.line("to=<u@d.example>")
    assert "dsn=5.4.6, status=bounced (mail for d.example loops back to this host" in line


def test_a_message_with_a_hundred_received_fields_is_a_loop(
    machine: Machine, exchangers: Exchangers, home: ScriptedServer
) -> None:  # B-020
    server = exchangers.start("d.example", 2)
    machine.configure(relay("mx"), exchangers.table)
    for count in (98, 99):  # submission adds one
        machine.enqueue(b"Received: from a by b; Mon, 1 Jan 2024 00:00:00 +0000\n" * count + X, *ME, f"u{count}@d.example")
    result = machine.flush()
    assert recipients(server) == ["u98@d.example"]
    assert "dsn=5.4.6, status=bounced" in result.line("to=<u99@d.example>")
    assert recipients(home) == ["me@a.example"]


def test_search_lists_do_not_count(machine: Machine, exchangers: Exchangers, home: ScriptedServer) -> None:  # B-001
    """Nor does /etc/hosts, which has localhost."""
    flush(machine, exchangers, "u@localhost.corp", "u@single.invalid")
    asked = [query for query in exchangers.dns.log if "a.example" not in query]
    assert sorted(asked) == ["localhost.corp MX", "single.invalid MX"]
    assert len(home.accepted) == 2


def test_a_real_dns_finds_the_way(machine: Machine) -> None:
    """NSD has the zone, Unbound recurses; mail goes by preference, past a host that is down, by alias and by address record,
    and fails where there is nobody."""  # B-002 B-004 B-007 B-008 B-012 B-015
    zone = {
        "d.example": ["MX 10 a.d.example", "MX 20 b.d.example"],
        "a.d.example": ["A 127.0.0.2", "A 127.0.0.3"],
        "b.d.example": ["A 127.0.0.4"],
        "plain.example": ["A 127.0.0.4"],
        "alias.example": ["CNAME d.example"],
        "null.example": ["MX 0 ."],
        "a.example": ["A 127.0.0.4"],
    }
    with RealDns(zone) as dns, Exchangers() as exchangers:
        server = exchangers.start("unused.example", 4)
        machine.configure(relay("mx"), f'[mx]\nport = {exchangers.port}\nnameservers = ["{dns.where}"]\n')
        for domain in ("d", "plain", "alias", "null", "gone"):
            machine.enqueue(X, *ME, f"u@{domain}.example")
        result = machine.flush()
    assert recipients(server) == ["me@a.example", "me@a.example", "u@alias.example", "u@d.example", "u@plain.example"]
    assert "dsn=5.1.10, status=bounced" in result.line("to=<u@null.example>")
    assert "dsn=5.1.2, status=bounced" in result.line("to=<u@gone.example>")
    assert json.loads(machine.run("hosts", "list", "--json").output)["host"] == f"a.d.example:{exchangers.port}"
    assert machine.ids() == []


def test_a_pass_that_hangs_in_the_dns_ends_when_it_is_told_to(machine: Machine, exchangers: Exchangers) -> None:
    """Nothing is counted; the mail goes with the next pass."""
    server = exchangers.start("d.example", 2)
    exchangers.dns.on["d.example MX"] = SILENT
    machine.configure(relay("mx"), exchangers.table)
    one = machine.enqueue(X, *ME, "u@d.example")
    with machine.start("flush") as running:
        while not exchangers.dns.queries:
            assert not running.ended
            os.sched_yield()
        running.signal(signal.SIGTERM)
        assert running.wait(timeout=10).code == -signal.SIGTERM  # the look-up may take 30 s
    assert machine.ids() == [one] and os.listdir(f"{machine.spool}/state") == []
    exchangers.dns.on.clear()
    machine.flush()
    assert recipients(server) == ["u@d.example"]
