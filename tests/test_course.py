"""The course of mail by mail exchangers in whole passes: which host is tried, which one next, and when there is none.

Receiving servers at 127.0.0.x, all at one port, and a DNS that knows them.
"""

import re
import threading
from functools import partial
from typing import Any

import pytest

from smartrelay.config import Limits, Relay
from smartrelay.relay.report import Report
from tests.support.dns_server import SILENT
from tests.support.exchangers import Exchangers
from tests.support.place import Place, recipients
from tests.support.queues import put
from tests.support.smtp_script import TIMEOUT
from tests.support.smtp_server import Action, ScriptedServer, Session

D = "u@d.example"


def direct(*hosts: str, **more: Any) -> Relay:
    """A rule that sends mail to the exchangers of each domain, or to what else is named."""
    return Relay("direct", tuple((host,) for host in hosts or ("mx",)), "/c.toml: [[relay]] direct: ", **more)


@pytest.fixture
def here(place: Place, exchangers: Exchangers) -> Place:
    """A place that knows these exchangers."""
    place.mx = exchangers.settings
    return place


def send(place: Place, *addresses: str, **more: Any) -> Report:
    """One message for each address, and a pass."""
    for address in addresses or (D,):
        put(place.queue, [address])
    return place.run(direct(), **more)


def verdicts(place: Place) -> list[tuple[str, str]]:
    """What the log says of the mail for d.example: code and verdict of each recipient."""
    found = [re.search(r"to=<[^>]*@d\.example>, .*dsn=(\S+), status=(\w+)", line, re.IGNORECASE) for line in place.lines]
    return [(match[1], match[2]) for match in found if match]


def reasons(place: Place) -> set[str]:
    """Why what waits does."""
    return {status.text for entry in place.left() for status in entry.history.last if status is not None}


# Order


def test_a_better_exchanger_is_used_and_no_other(here: Place, exchangers: Exchangers) -> None:  # B-002
    a, b = exchangers.start("a.example", 2), exchangers.start("b.example", 3)
    exchangers.zone["d.example"] = ["MX 20 b.example", "MX 10 a.example"]
    assert send(here).sent == 1
    assert recipients(a) == [D] and b.sessions == []


def test_each_address_of_each_exchanger_is_tried_in_order(here: Place, exchangers: Exchangers) -> None:  # B-004 B-005
    """Two addresses that refuse, then the next host, in one pass; the one that works is used first while the other is bad."""
    exchangers.zone["a.example"] = ["A 127.0.0.2", "A 127.0.0.3"]
    b = exchangers.start("b.example", 4)
    exchangers.mx("d.example", "a.example", "b.example")
    assert send(here).sent == 1
    assert recipients(b) == [D]
    (line,) = [line for line in here.lines if "relay direct for d.example: a.example" in line]
    assert "connection refused" in line and "127.0.0.2" in line


@pytest.mark.parametrize("greeting", [b"554 5.7.1 no mail here", b"421 4.3.2 busy", b"450 later", b"521 never"])
def test_a_greeting_that_says_no_is_one_addresss_word(
    here: Place, exchangers: Exchangers, greeting: bytes
) -> None:  # A-003 A-004 A-005 B-004
    first = exchangers.start("a.example", 2, replies={"GREETING": greeting})
    second = exchangers.start("a.example", 3)
    exchangers.mx("d.example", "a.example")
    assert send(here).sent == 1
    assert len(first.sessions) == 1 and recipients(second) == [D]


@pytest.mark.parametrize("greeting", [b"554 5.7.1 no mail here", b"521 5.3.2 never"])
def test_a_domain_whose_every_exchanger_says_no_takes_no_mail(
    here: Place, exchangers: Exchangers, greeting: bytes
) -> None:  # A-003 A-004
    for number, name in enumerate(("a.example", "b.example"), 2):
        exchangers.start(name, number, replies={"GREETING": greeting})
    exchangers.mx("d.example", "a.example", "b.example")
    send(here)
    assert verdicts(here) == [(f"5.{greeting[6:9].decode()}", "bounced")]


def test_one_exchanger_that_may_come_back_keeps_the_mail(here: Place, exchangers: Exchangers) -> None:
    exchangers.start("a.example", 2, replies={"GREETING": b"554 no"})
    exchangers.zone["b.example"] = ["A 127.0.0.3"]
    exchangers.mx("d.example", "a.example", "b.example")
    report = send(here)
    assert (report.bounced, report.deferred) == (0, 1)


def test_an_exchanger_that_is_no_smtp_server_never_fails_mail(here: Place, exchangers: Exchangers) -> None:
    exchangers.start("a.example", 2, replies={"GREETING": b"SSH-2.0-x"})
    exchangers.mx("d.example", "a.example")
    assert send(here).deferred == 1 and here.standing() == {D: "4.5.0"}


# This host


def test_mail_that_this_host_itself_would_take_goes_nowhere_else(here: Place, exchangers: Exchangers) -> None:  # B-018
    """Port 25 of any address of this machine is where its mail comes in; who is no better than this host is not asked."""
    exchangers.zone["d.example"] = ["MX 10 us.example", "MX 20 x.example"]
    exchangers.zone["us.example"] = ["A 127.0.0.2"]
    x = exchangers.start("x.example", 3)
    here.mx = exchangers.settings._replace(port=25)
    report = send(here)
    assert (report.connections, x.sessions, verdicts(here)) == (0, [], [("5.4.6", "bounced")])


@pytest.mark.parametrize("point", ["GREETING", "EHLO"])
def test_the_best_exchanger_calls_itself_as_we_do(here: Place, exchangers: Exchangers, point: str) -> None:  # B-019
    """It is this host, by a translated address: all mail for the domain fails, after one connection, and nothing is said of
    any host."""
    ours = exchangers.start(
        "a.example", 2, replies={point: b"220 host.example.org" if point == "GREETING" else b"250 host.example.org"}
    )
    worse = exchangers.start("b.example", 3)
    exchangers.mx("d.example", "a.example", "b.example")
    here.limits = Limits(max_connections_per_host=1)
    send(here, *[f"u{number}@d.example" for number in range(3)])
    assert verdicts(here) == [("5.4.6", "bounced")] * 3
    assert len(ours.sessions) == 1 and ours.transactions == [] and worse.sessions == []
    assert any(
        "status=bounced (mail loops back to this host: the server calls itself host.example.org" in line for line in here.lines
    )
    assert here.manager(direct())._hosts.memory.entries() == []


def test_a_worse_exchanger_calls_itself_as_we_do(here: Place, exchangers: Exchangers) -> None:  # B-019 B-018
    """The mail waits for the better one; who is as bad as we are, or worse, would only hand it back to us."""
    exchangers.zone["a.example"] = ["A 127.0.0.2"]
    ours = exchangers.start("b.example", 3, replies={"GREETING": b"220 HOST.example.org. ESMTP"})
    worse = exchangers.start("c.example", 4)
    exchangers.mx("d.example", "a.example", "b.example", "c.example")
    report = send(here)
    assert (report.bounced, report.deferred) == (0, 1) and len(ours.sessions) == 1 and worse.sessions == []
    assert here.standing() == {D: "4.4.6"}


def test_a_relay_that_was_chosen_by_name_may_have_any_name(here: Place, exchangers: Exchangers) -> None:  # B-019
    """A smart host in the same container network, say, that was told our name too."""
    server = exchangers.start("a.example", 2, replies={"GREETING": b"220 host.example.org", "EHLO": b"250 host.example.org"})
    exchangers.mx("relay.example", "a.example")
    for hosts in (f"smtp+notls://127.0.0.2:{exchangers.port}", "mx+smtp+notls://relay.example"):
        put(here.queue)
        assert here.run(direct(hosts, port=exchangers.port)).sent == 1
    assert len(server.accepted) == 2


@pytest.mark.parametrize(("fields", "bounced"), [(99, 0), (100, 1)])
def test_a_hundred_received_fields_are_a_loop(here: Place, exchangers: Exchangers, fields: int, bounced: int) -> None:  # B-020
    server = exchangers.start("d.example", 2)
    text = b"Received: from a by b;\n\t Mon, 1 Jan 2024 00:00:00 +0000\n" * fields + b"Subject: x\n\nReceived: no field\n"
    put(here.queue, [D], text=text)
    report = here.run(direct())
    assert len(server.accepted) == report.sent == 1 - bounced
    assert verdicts(here) == [("5.4.6", "bounced") if bounced else ("2.0.0", "sent")]


# Names


def test_two_spellings_of_a_domain_are_one_next_hop(here: Place, exchangers: Exchangers) -> None:  # B-026
    server = exchangers.start("d.example", 2)
    put(here.queue, ["u@D.Example", "v@d.example"])
    assert here.run(direct()).sent == 2
    (transaction,) = server.accepted
    assert transaction.rcpt_to == [b"RCPT TO:<u@D.Example>", b"RCPT TO:<v@d.example>"]
    assert exchangers.dns.log == ["d.example MX", "d.example A", "d.example AAAA"]


def test_a_name_in_another_script_is_asked_for_in_ascii(here: Place, exchangers: Exchangers) -> None:  # B-024
    server = exchangers.start("mx.example", 2, keywords=["SMTPUTF8", "8BITMIME"])
    exchangers.mx("xn--bcher-kva.example", "mx.example")
    report = send(here, "u@bücher.example")
    assert report.sent == 1, here.lines
    assert len(server.accepted) == 1 and exchangers.dns.log[0] == "xn--bcher-kva.example MX"


def test_an_address_literal_is_connected_to_without_a_question(here: Place, exchangers: Exchangers) -> None:  # B-021
    server = exchangers.start("unused.example", 2)
    report = send(here, "u@[127.0.0.2]")
    assert report.sent == 1 and len(server.accepted) == 1 and exchangers.dns.log == []


def test_an_alias_leads_on_and_the_address_stays(here: Place, exchangers: Exchangers) -> None:  # B-012 B-013
    server = exchangers.start("host.example", 2)
    exchangers.zone |= {
        "d.example": ["CNAME e.example"],
        "e.example": ["MX 10 mx.example"],
        "mx.example": ["CNAME host.example"],
    }
    assert send(here).sent == 1
    assert server.accepted[0].rcpt_to == [b"RCPT TO:<u@d.example>"]
    assert any("relay=mx.example[127.0.0.2]" in line for line in here.lines)


# Side by side


def in_background(place: Place, *relays: Relay) -> tuple[threading.Thread, Report]:
    """A pass that goes on beside the test."""
    manager = place.manager(*relays or (direct(),))
    thread = threading.Thread(target=manager.check_state)
    thread.start()
    return thread, manager.report


def test_a_host_of_many_domains_has_no_more_connections_than_one(here: Place, exchangers: Exchangers) -> None:
    """However many next hops it is an exchanger of."""
    server = exchangers.start("a.example", 2)
    gate = server.gate("MAIL")
    for number in range(8):
        exchangers.mx(f"d{number}.example", "a.example")
        for _ in range(3):
            put(here.queue, [f"u@d{number}.example"])
    here.limits = Limits(max_connections_per_host=3)
    thread, report = in_background(here)
    server.wait_for(lambda: server.open_connections == 3)
    gate.open()
    thread.join()
    assert (report.sent, report.deferred) == (24, 0)
    assert server.peak_connections <= 4  # a session is over for us when the server has said so


@pytest.mark.parametrize("refusal", [b"421 4.7.0 too many connections", Action.CLOSE])
def test_a_host_of_many_domains_that_is_full_is_not_bad(
    here: Place, exchangers: Exchangers, refusal: bytes | Action
) -> None:  # C-010 A-064
    """It is connected to for one domain and refuses us for another: that one's mail waits for a connection to be over, and
    none of it is put off."""
    lock, standing, refused = threading.Lock(), list[Session](), threading.Event()

    def on(point: str, argument: bytes, session: Session) -> bytes | Action | None:
        if point == "GREETING":
            with lock:
                standing[:] = [each for each in standing if not each.closed]
                if len(standing) == 3:
                    refused.set()
                    return refusal
                standing.append(session)
        if point == "DOT":
            refused.wait(TIMEOUT)
        return None

    exchangers.start("a.example", 2, on=on)
    for number in range(8):
        exchangers.mx(f"d{number}.example", "a.example")
        for _ in range(4):
            put(here.queue, [f"u@d{number}.example"])
    report = here.run(direct())
    assert (report.sent, report.deferred) == (32, 0), here.lines
    assert here.manager(direct())._hosts.memory.entries() == []


def test_all_hosts_together_have_no_more_connections_than_the_limit(here: Place, exchangers: Exchangers) -> None:
    lock, standing, peaks = threading.Lock(), set[tuple[str, int]](), list[int]()

    def watch(name: str) -> Any:
        def on(point: str, argument: bytes, session: Session) -> None:
            with lock:
                if point == "GREETING":
                    standing.add((name, session.number))
                    peaks.append(len(standing))
                if point == "QUIT":
                    standing.discard((name, session.number))

        return on

    for number in range(2, 8):
        exchangers.start(f"d{number}.example", number, on=watch(str(number)))
        for _ in range(8):
            put(here.queue, [f"u@d{number}.example"])
    here.limits = Limits(max_connections=3)
    report = here.run(direct())
    assert (report.sent, report.deferred) == (48, 0) and max(peaks) <= 3


def has_taken(server: ScriptedServer, count: int) -> bool:
    """Whether a server has accepted so many messages."""
    return len(server.accepted) == count


@pytest.mark.parametrize("point", ["MX", "A", "GREETING", "EHLO", "MAIL", "RCPT", "DATA", "DOT", "QUIT"])
def test_a_domain_that_hangs_delays_no_other(here: Place, exchangers: Exchangers, point: str) -> None:  # C-011
    """Law 7: what is there goes, and what comes in meanwhile, as if the one that hangs were not there."""
    servers = [exchangers.start(f"d{number}.example", number) for number in range(2, 8)]
    hung, others = servers[0], servers[1:]
    gate = hung.gate(point)
    if point in ("MX", "A"):
        exchangers.dns.on[f"d2.example {point}"] = SILENT
        here.timeouts = here.timeouts._replace(lookup=2.0)
    for number in range(2, 8):
        for _ in range(10 if number == 2 else 3):
            put(here.queue, [f"u@d{number}.example"])
    thread, report = in_background(here)
    if point not in ("MX", "A"):
        gate.wait_reached()
    for count in (3, 4):
        for number, server in enumerate(others, 3):
            server.wait_for(partial(has_taken, server, count))
            put(here.queue, [f"late@d{number}.example"])
    for server in others:
        server.wait_for(partial(has_taken, server, 5))
    assert thread.is_alive()
    gate.open()
    thread.join()
    assert report.sent == (25 if point in ("MX", "A") else 35)


def test_a_domain_that_hangs_with_all_that_it_may_have_delays_no_other(here: Place, exchangers: Exchangers) -> None:  # C-011
    """Many connections to one host, all of them hung: some are left for what comes in for another."""
    hung, quick = exchangers.start("hung.example", 2), exchangers.start("quick.example", 3)
    crowd = threading.Event()

    def on(point: str, argument: bytes, session: Session) -> None:
        if point == "DOT" and len(session.transactions) > 1:  # the first of each is the success that more of them take
            crowd.wait(TIMEOUT)

    hung.on = on
    gate = hung.gate("MAIL")
    here.limits = Limits(max_connections=8, max_connections_per_host=8)
    for _ in range(200):
        put(here.queue, ["u@hung.example"])
    thread, report = in_background(here)
    gate.wait_reached()
    hung.wait_for(lambda: hung.open_connections == 5)
    gate.open()
    hung.wait_for(lambda: hung.open_connections >= 6 and all(len(each.transactions) == 2 for each in hung.sessions))
    for _ in range(5):
        put(here.queue, ["u@quick.example"])
    try:
        quick.wait_for(lambda: len(quick.accepted) == 5)
    finally:
        crowd.set()
        thread.join()
    assert (report.sent, report.deferred) == (205, 0)
