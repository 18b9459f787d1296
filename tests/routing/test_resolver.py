"""Questions to DNS servers on loopback: over UDP and TCP, to several of them, and to such as lie, mumble or say nothing."""

import random
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from smartrelay.errors import ConfigError
from smartrelay.routing.lookup import Lookup
from smartrelay.routing.nameserver import Nameserver, are_out_of_reach, of_system, parse
from smartrelay.routing.resolver import (
    ALIAS,
    ANSWER,
    NO_DATA,
    NO_SUCH_NAME,
    TEMPORARY,
    UNREACHABLE,
    DNSResolver,
    Question,
    Recorder,
    Reply,
)
from tests.support.dns_server import (
    FORMERR,
    NOTIMP,
    NXDOMAIN,
    REFUSED,
    SERVFAIL,
    SILENT,
    TRUNCATED,
    Action,
    Answer,
    DnsServer,
)
from tests.support.process import free_port

Start = Callable[..., DnsServer]
ZONE = {"d.example": ["MX 20 b.example", "MX 10 a.example"], "a.example": ["A 127.0.0.3", "A 127.0.0.2"]}


def resolver(*servers: DnsServer | str, timeout: float = 5.0, **settings: Any) -> DNSResolver:
    return DNSResolver([server if isinstance(server, str) else server.where for server in servers], timeout, **settings)


def ask(server: DnsServer, name: str = "d.example", kind: str = "MX", timeout: float = 5.0) -> Reply:
    return resolver(server, timeout=timeout).ask(name, kind)


# What is said


def test_records_come_in_the_order_of_the_server(dns: Start) -> None:  # B-005
    server = dns(ZONE)
    assert ask(server).records == ((20, "b.example"), (10, "a.example"))
    assert ask(server, "a.example", "A").records == ("127.0.0.3", "127.0.0.2")


@pytest.mark.parametrize(
    ("name", "kind", "outcome", "text"),
    [
        ("d.example", "MX", ANSWER, "MX of d.example: 20 b.example, 10 a.example"),
        ("a.example", "A", ANSWER, "A of a.example: 127.0.0.3, 127.0.0.2"),
        ("a.example", "AAAA", NO_DATA, "AAAA of a.example: none"),
        ("x.example", "A", NO_SUCH_NAME, "A of x.example: no such name"),
        ("example", "MX", NO_DATA, "MX of example: none"),
        ("a..example", "MX", NO_SUCH_NAME, "MX of 'a..example': not a domain name"),
        ("", "MX", NO_SUCH_NAME, "MX of '': not a domain name"),
        ("a\n.example", "A", NO_SUCH_NAME, "A of 'a\\n.example': not a domain name"),
    ],
)
def test_a_reply_says_what_came_of_it_in_one_line(dns: Start, name: str, kind: str, outcome: str, text: str) -> None:
    reply = ask(dns(ZONE), name, kind)
    assert (reply.question, reply.outcome, reply.text) == ((name, kind), outcome, text)


def test_a_list_without_end_is_shown_in_part(dns: Start) -> None:
    reply = ask(dns({"d.example": [f"A 127.0.1.{number}" for number in range(25)]}), kind="A")
    assert len(reply.records) == 25
    assert reply.text.endswith("127.0.1.19 and 5 more")


def test_the_name_is_asked_for_as_it_is(dns: Start) -> None:  # B-001 B-026
    server = dns(ZONE)
    assert ask(server, "D.Example.").outcome == ANSWER
    assert ask(server, "d").outcome == NO_SUCH_NAME
    assert server.log == ["d.example MX", "d MX"]


@pytest.mark.parametrize("steps", [False, True])
def test_a_reply_is_one_step_of_an_alias(dns: Start, steps: bool) -> None:
    zone = {"d.example": ["CNAME e.example"], "e.example": ["CNAME f.example"], "f.example": ["MX 1 a.example"]}
    reply = ask(dns(zone, steps=steps))
    assert (reply.outcome, reply.canonical, reply.records) == (ALIAS, "e.example", ())
    further = [(each.question.name, each.outcome, each.canonical, each.records) for each in reply.further]
    whole = [("e.example", ALIAS, "f.example", ()), ("f.example", ANSWER, "", ((1, "a.example"),))]
    assert further == ([] if steps else whole)


def test_an_alias_of_nothing_is_an_alias(dns: Start) -> None:
    """The response code is that of the last name (RFC 6604)."""
    assert ask(dns({"d.example": ["CNAME gone.example"]})).outcome == ALIAS


# How it is asked


def test_a_long_answer_is_fetched_over_tcp(dns: Start) -> None:  # B-025
    hosts = [f"MX {number} a-name-of-some-length-{number}.example" for number in range(200)]
    server = dns({"d.example": hosts})
    assert len(ask(server).records) == 200
    assert [query.tcp for query in server.queries] == [False, True]


def test_a_truncated_answer_counts_for_nothing(dns: Start) -> None:  # B-025
    server = dns(ZONE, on={"MX": TRUNCATED})
    assert ask(server).outcome == ANSWER
    assert [query.tcp for query in server.queries] == [False, True]


def truncated_everywhere(answer: Answer) -> None:
    answer.truncated = True


def cut_off(answer: Answer) -> Sequence[bytes] | None:
    answer.truncated = not answer.query.tcp
    return [answer.octets()[:20]] if answer.query.tcp else None


def another_id(answer: Answer) -> Sequence[bytes] | None:
    answer.truncated = not answer.query.tcp
    return [answer.octets(answer.query.number ^ 1)] if answer.query.tcp else None


@pytest.mark.parametrize("action", [truncated_everywhere, cut_off, another_id])
def test_what_cannot_be_had_whole_is_not_had(dns: Start, action: Action) -> None:  # B-009
    assert ask(dns(ZONE, on={"MX": action})).outcome == TEMPORARY


def test_a_stream_that_breaks_off_is_no_answer() -> None:  # B-009
    with DnsServer(ZONE, on={"MX": TRUNCATED}, tcp=False) as server, socket.create_server(("127.0.0.1", server.port)) as tcp:

        def hang_up() -> None:
            connection, _ = tcp.accept()
            with connection:
                connection.recv(100)
                connection.sendall(b"\0\x20half")

        thread = threading.Thread(target=hang_up)
        thread.start()
        reply = ask(server)
        thread.join()
    assert (reply.outcome, "over TCP: the connection was closed" in reply.text) == (TEMPORARY, True)


def test_a_stream_that_says_nothing_has_the_time_that_is_left() -> None:  # B-009
    with DnsServer(ZONE, on={"MX": TRUNCATED}, tcp=False) as server, socket.create_server(("127.0.0.1", server.port)):
        reply = ask(server, timeout=0.1)
    assert (reply.outcome, "over TCP: no answer" in reply.text) == (TEMPORARY, True)


def bad_version(answer: Answer) -> None:
    answer.extended = 1 if answer.query.payload else 0
    if answer.extended:
        answer.answers.clear()


def unless_plain(code: int) -> Action:
    def refuse(answer: Answer) -> None:
        answer.code = code if answer.query.payload else 0

    return refuse


def without_question(answer: Answer) -> Sequence[bytes] | None:
    """As servers do that know no EDNS: the header alone."""
    return [struct.pack("!HHHHHH", answer.query.number, 0x8181, 0, 0, 0, 0)] if answer.query.payload else None


@pytest.mark.parametrize("action", [unless_plain(FORMERR), unless_plain(NOTIMP), bad_version, without_question])
def test_a_server_that_knows_no_edns_is_asked_without(dns: Start, action: Action) -> None:  # B-025
    server = dns(ZONE, on={"*": action})
    assert ask(server).outcome == ANSWER
    assert [bool(query.payload) for query in server.queries] == [True, False]


def test_a_server_that_is_silent_to_edns_is_asked_without(dns: Start) -> None:  # B-025
    server = dns(ZONE, on={"*": lambda answer: [] if answer.query.payload else None})
    assert resolver(server, first_wait=0.05).ask("d.example", "MX").outcome == ANSWER


def test_a_lost_question_is_asked_again(dns: Start) -> None:
    lost = iter((True, True))
    server = dns(ZONE, on={"*": lambda answer: [] if next(lost, False) else None})
    assert resolver(server, first_wait=0.05).ask("d.example", "MX").outcome == ANSWER
    assert len(server.queries) >= 3


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_server_may_be_of_either_family(dns: Start, address: str) -> None:
    assert ask(dns(ZONE, address=address)).outcome == ANSWER


# One family of addresses is enough


def lost_once(kind: str) -> Action:
    """The first question for this kind is lost."""
    lost = iter((True,))
    return lambda answer: [] if answer.query.kind == kind and next(lost, False) else None


BOTH = [Question("h.example", "A"), Question("h.example", "AAAA")]
HOST = {"h.example": ["A 127.0.0.2", "AAAA ::2"], "n.example": ["CNAME h.example"]}


@pytest.mark.parametrize("silent", ["A", "AAAA"])
@pytest.mark.parametrize("name", ["h.example", "n.example"])
def test_a_family_that_is_never_answered_does_not_hold_the_other_up(dns: Start, silent: str, name: str) -> None:  # B-006
    """Nor anybody else who asks for that host in the same pass."""
    server = dns(HOST, on={silent: SILENT})
    found = resolver(server, timeout=60.0, grace=0.05)
    start = time.monotonic()
    for _ in range(2):
        replies = found.ask_all([Question(name, "A"), Question(name, "AAAA")])
        assert {reply.question.kind: reply.has_address for reply in replies} == {"A": silent != "A", "AAAA": silent == "A"}
        assert TEMPORARY in {reply.outcome for reply in replies}
    assert time.monotonic() - start < 20
    assert len(server.queries) == 2


def test_the_other_family_is_waited_for_within_the_grace(dns: Start) -> None:  # B-006
    server = dns(HOST, on={"h.example": lost_once("AAAA")})
    replies = resolver(server, first_wait=0.05, grace=10.0).ask_all(BOTH)
    assert [reply.records for reply in replies] == [("127.0.0.2",), ("::2",)]


def test_no_data_of_one_family_is_no_reason_to_hurry_the_other(dns: Start) -> None:  # B-011
    server = dns({"h.example": ["AAAA ::2"]}, on={"h.example": lost_once("AAAA")})
    replies = resolver(server, first_wait=0.1, grace=0.0).ask_all(BOTH)
    assert [reply.records for reply in replies] == [(), ("::2",)]


def test_an_address_of_one_host_is_no_reason_to_hurry_another(dns: Start) -> None:
    server = dns({**HOST, "i.example": ["A 127.0.0.3"]}, on={"i.example": lost_once("A")})
    replies = resolver(server, first_wait=0.1, grace=0.0).ask_all([*BOTH, Question("i.example", "A")])
    assert replies[-1].records == ("127.0.0.3",)


# A server that is dead


def test_a_server_that_was_silent_for_a_whole_question_is_not_waited_for_as_long_again(dns: Start) -> None:
    server = dns(on={"*": SILENT})
    found = resolver(server, timeout=0.5, silent_timeout=0.02)
    start = time.monotonic()
    outcomes = {found.ask(f"d{number}.example", "MX").outcome for number in range(40)}
    assert outcomes == {TEMPORARY}
    assert 0.5 <= time.monotonic() - start < 10
    assert {query.name for query in server.queries} == {f"d{number}.example" for number in range(40)}


def took(found: DNSResolver, name: str) -> float:
    """Seconds until there was no answer."""
    start = time.monotonic()
    assert found.ask(name, "MX").outcome == TEMPORARY
    return time.monotonic() - start


def test_a_server_that_answers_again_is_waited_for_again(dns: Start) -> None:
    server = dns(ZONE, on={"*": SILENT})
    found = resolver(server, timeout=0.5, silent_timeout=0.05)
    found.ask("e.example", "MX")
    server.on = {"*": SERVFAIL, "f.example": SILENT}
    replies = (found.ask(f"d{number}.example", "MX") for number in range(100))
    assert any("SERVFAIL" in reply.text for reply in replies)
    assert took(found, "f.example") >= 0.5


def test_silence_to_one_name_beside_answers_to_others_is_no_dead_server(dns: Start) -> None:
    server = dns(ZONE, on={"e.example": SILENT, "f.example": SILENT})
    found = resolver(server, timeout=0.5, silent_timeout=0.02)
    found.ask_all([Question("e.example", "MX"), Question("d.example", "MX")])
    assert took(found, "f.example") >= 0.5


def test_a_server_that_is_not_there_does_not_make_up_for_a_silent_one(dns: Start) -> None:
    found = resolver(f"127.0.0.1:{free_port()}", dns(on={"*": SILENT}), timeout=0.5, silent_timeout=0.02)
    start = time.monotonic()
    for number in range(40):
        found.ask(f"d{number}.example", "MX")
    assert time.monotonic() - start < 10


# Several servers


def lame(answer: Answer) -> None:
    """An answer of a server that neither has the name nor recurses: it names others (RFC 2308 section 2.2)."""
    answer.flags = 0x8000
    answer.answers.clear()
    answer.authorities[:] = [("example", "NS ns.example")]


@pytest.mark.parametrize("action", [SERVFAIL, REFUSED, NOTIMP, FORMERR, 15, lame])
def test_another_server_is_asked_when_one_cannot_tell(dns: Start, action: Action) -> None:
    bad, good = dns(ZONE, on={"*": action}), dns(ZONE)
    assert resolver(bad, good).ask("d.example", "MX").outcome == ANSWER
    assert {query.name for query in bad.queries} == {"d.example"}


@pytest.mark.parametrize("action", [SERVFAIL, REFUSED, NOTIMP, FORMERR, 15, lame])
def test_when_no_server_can_tell_there_is_no_verdict(dns: Start, action: Action) -> None:  # B-009
    """And it is not waited for."""
    server = dns(ZONE, on={"*": action})
    start = time.monotonic()
    reply = ask(server, timeout=30.0)
    assert (reply.outcome, reply.records) == (TEMPORARY, ())
    assert server.where in reply.text
    assert time.monotonic() - start < 10


def without_records(answer: Answer) -> None:
    """No data, as an authoritative server says it that gives its own name besides."""
    answer.flags = 0x8400
    answer.answers.clear()
    answer.authorities[:] = [("example", "NS ns.example")]


def with_both(answer: Answer) -> None:
    """No data, as a recursive server says it that gives the name of the source besides."""
    without_records(answer)
    answer.flags = 0x8180
    answer.authorities.append(("example", "SOA ns.example"))


@pytest.mark.parametrize("action", [without_records, with_both])
def test_names_of_servers_do_not_make_no_data_a_referral(dns: Start, action: Action) -> None:
    """RFC 2308 section 2.2: types 1 and 2."""
    assert ask(dns(ZONE, on={"*": action})).outcome == NO_DATA


def test_a_failure_is_told_by_its_name(dns: Start) -> None:
    server = dns(on={"*": SERVFAIL})
    assert ask(server).text == f"MX of d.example: SERVFAIL from {server.where}"


def test_another_server_is_asked_when_one_is_silent(dns: Start) -> None:
    """And in later questions before that one."""
    dead, good = dns(on={"*": SILENT}), dns(ZONE)
    found = resolver(dead, good, first_wait=0.5)
    assert found.ask("d.example", "MX").outcome == ANSWER
    assert found.ask("a.example", "A").outcome == ANSWER
    assert dead.log == ["d.example MX"]


def test_silence_ends_with_the_time(dns: Start) -> None:  # B-009
    server = dns(on={"*": SILENT})
    reply = ask(server, timeout=0.1)
    assert (reply.outcome, reply.text) == (TEMPORARY, f"MX of d.example: no answer from {server.where}")


def test_another_server_is_asked_when_one_is_not_there(dns: Start) -> None:
    assert resolver(f"127.0.0.1:{free_port()}", dns(ZONE)).ask("d.example", "MX").outcome == ANSWER


@pytest.mark.parametrize("address", ["127.0.0.1", "[::1]"])
def test_without_any_server_it_is_known_at_once(address: str) -> None:
    found = resolver(*(f"{address}:{free_port()}" for _ in range(3)), timeout=30.0)
    start = time.monotonic()
    reply = found.ask("d.example", "MX")
    assert reply.outcome == UNREACHABLE
    assert "connection refused" in reply.text
    assert time.monotonic() - start < 5


def test_a_network_that_is_gone_leads_to_no_server() -> None:
    assert resolver("[fe80::1%gone0]:53", timeout=30.0).ask("d.example", "MX").outcome == UNREACHABLE


def test_one_server_that_is_there_is_enough_not_to_be_offline(dns: Start) -> None:
    reply = resolver(f"127.0.0.1:{free_port()}", dns(on={"*": SERVFAIL})).ask("d.example", "MX")
    assert reply.outcome == TEMPORARY


def test_a_way_that_comes_back_is_seen(dns: Start) -> None:
    port = free_port()
    found = resolver(f"127.0.0.1:{port}")
    assert found.ask("d.example", "MX").outcome == UNREACHABLE
    with socket.socket(type=socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", port))
        thread = threading.Thread(target=lambda: listener.sendto(*nobody(*listener.recvfrom(512))))
        thread.start()
        assert found.ask("d.example", "MX").outcome == NO_SUCH_NAME
        thread.join()


def nobody(wire: bytes, sender: Any) -> tuple[bytes, Any]:
    """Says to any question that there is no such name."""
    return wire[:2] + b"\x81\x83" + wire[4:10] + b"\0\0" + wire[12 : wire.index(b"\0", 12) + 5], sender


# Lies


def wrong_id(answer: Answer) -> Sequence[bytes]:
    forged = Answer(answer.query, answer.question, answers=[("d.example", "MX 1 evil.example")])
    return [forged.octets(answer.query.number ^ 1), answer.octets()]


def wrong_question(answer: Answer) -> Sequence[bytes]:
    return [Answer(answer.query, ("e.example", "MX"), answers=[("d.example", "MX 1 evil.example")]).octets(), answer.octets()]


def wrong_kind(answer: Answer) -> Sequence[bytes]:
    return [Answer(answer.query, ("d.example", "A"), answers=[("d.example", "MX 1 evil.example")]).octets(), answer.octets()]


def the_question_itself(answer: Answer) -> Sequence[bytes]:
    forged = Answer(answer.query, answer.question, flags=0x0100, answers=[("d.example", "MX 1 evil.example")])
    return [forged.octets(), answer.octets()]


def noise(answer: Answer) -> Sequence[bytes]:
    return [b"", b"\0", random.Random(3).randbytes(80), answer.octets()]


def no_question(answer: Answer) -> Sequence[bytes]:
    return [Answer(answer.query, None, answers=[("d.example", "MX 1 evil.example")]).octets(), answer.octets()]


@pytest.mark.parametrize("action", [wrong_id, wrong_question, wrong_kind, the_question_itself, noise, no_question])
def test_what_answers_something_else_is_passed_over(dns: Start, action: Action) -> None:
    assert ask(dns(ZONE, on={"*": action})).records == ((20, "b.example"), (10, "a.example"))


def test_noise_does_not_make_the_time_longer() -> None:
    """There may always be something to read that is not the answer."""
    with socket.socket(type=socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        server = Nameserver("127.0.0.1", listener.getsockname()[1])
        lookup = Lookup(Question("d.example", "MX"), (server,), time.monotonic() + 60.0, 0.02, lambda: None)
        _, sender = listener.recvfrom(512)
        listener.sendto(b"noise", sender)
        while time.monotonic() < lookup.until:
            pass
        lookup.resume(True)
        lookup.close()
    assert lookup.silent == {server}


def test_nobody_else_is_listened_to(dns: Start) -> None:
    """A datagram from another address does not get in, whatever is in it."""
    with (
        socket.socket(type=socket.SOCK_DGRAM) as listener,
        socket.socket(type=socket.SOCK_DGRAM) as other,
    ):
        listener.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.2", 0))

        def forge() -> None:
            wire, sender = listener.recvfrom(512)
            other.sendto(*nobody(wire, sender))

        thread = threading.Thread(target=forge)
        thread.start()
        assert resolver(f"127.0.0.1:{listener.getsockname()[1]}", timeout=0.2).ask("d.example", "MX").outcome == TEMPORARY
        thread.join()


def everywhere_else(answer: Answer) -> None:
    """Records that nobody asked for, in every section."""
    lies = [("d.example", "MX 1 evil.example"), ("a.example", "A 127.6.6.6"), ("evil.example", "A 127.6.6.6")]
    answer.answers += lies[1:]
    answer.authorities += lies
    answer.additional += lies


def test_only_what_was_asked_for_is_believed(dns: Start) -> None:
    """The records of other names and sections, the additional ones above all, count for nothing."""
    server = dns({**ZONE, "evil.example": ["TXT x"]}, on={"*": everywhere_else})
    found = resolver(server)
    reply = found.ask("d.example", "MX")
    assert (reply.records, reply.further) == (((20, "b.example"), (10, "a.example")), ())
    assert found.ask("evil.example", "A").records == ("127.6.6.6",), "asked for by its name it is believed"
    assert found.ask("b.example", "A").outcome == NO_SUCH_NAME
    assert server.log == ["d.example MX", "evil.example A", "b.example A"]


def test_what_an_alias_leads_to_counts_for_that_alias_only(dns: Start) -> None:
    """Whoever owns d.example cannot speak for bank.example."""

    def claim(answer: Answer) -> None:
        answer.answers[:] = [("d.example", "CNAME bank.example"), ("bank.example", "MX 1 evil.example")]

    server = dns({"d.example": ["TXT x"], "bank.example": ["MX 10 a.example"]}, on={"d.example": claim})
    found = resolver(server)
    assert found.ask("d.example", "MX").further[0].records == ((1, "evil.example"),)
    assert found.ask("bank.example", "MX").records == ((10, "a.example"),)


def of_others_only(answer: Answer) -> None:
    answer.answers[:] = [("e.example", "MX 1 evil.example")]


def of_another_kind_only(answer: Answer) -> None:
    answer.answers[:] = [("d.example", "A 127.0.0.9")]


@pytest.mark.parametrize("action", [of_others_only, of_another_kind_only])
def test_an_answer_to_something_else_is_not_no_data(dns: Start, action: Action) -> None:  # B-009
    """Else mail would go to the domain's own address for it."""
    assert ask(dns(ZONE, on={"*": action})).outcome == TEMPORARY


@pytest.mark.parametrize("code", [SERVFAIL, REFUSED, NXDOMAIN])
def test_records_beside_a_refusal_count_for_nothing(dns: Start, code: int) -> None:
    def refuse(answer: Answer) -> None:
        answer.code = code

    reply = ask(dns(ZONE, on={"*": refuse}))
    assert (reply.outcome, reply.records) == (NO_SUCH_NAME if code == NXDOMAIN else TEMPORARY, ())


def test_an_extended_code_is_not_no_data(dns: Start) -> None:  # B-009
    """Its lower four bits are zero, as those of success are."""

    def cookie(answer: Answer) -> None:
        answer.answers.clear()
        answer.extended = 2

    assert ask(dns(ZONE, on={"*": cookie})).text.startswith("MX of d.example: response code 32 from")


GARBAGE = [
    b"\xc0\x0c\x00\x0f\x00\x01\0\0\0\x01\x00\x04\0\x01\xc0\xff",  # a pointer out of the message
    b"\xc0\x0c\x00\x0f\x00\x01\0\0\0\x01\x00\xff\0\x01\xc0\x0c",  # longer than the message
    b"\xc0\x0c\x00\x0f\x00\x01\0\0\0\x01\x00\x01\0",  # a preference of one octet
    b"\xc0\x0c\x00\x0f\x00\x01\0\0\0\x01\x00\x06\0\x01\xc0\x0c\0\0",  # more than a name
    b"\xc0\x0c\x00\x10\x00\x01\0\0\0\x01\x00\xff\1x",  # a text that is longer than the message
    b"\xc0\x1b",  # a pointer to itself
    b"\xc0",
    b"",
]


@pytest.mark.parametrize("record", GARBAGE)
def test_garbage_is_no_answer(dns: Start, record: bytes) -> None:
    bad = dns(on={"*": lambda answer: [with_record(answer, record)]})
    reply = ask(bad)
    assert (reply.outcome, reply.text) == (TEMPORARY, f"MX of d.example: garbage from {bad.where}")
    assert resolver(bad, dns(ZONE)).ask("d.example", "MX").outcome == ANSWER


def with_record(answer: Answer, record: bytes) -> bytes:
    """A message with one record, as octets, and no error."""
    return answer.query.number.to_bytes(2) + b"\x81\x80\0\1\0\1\0\0\0\0" + question(answer) + record


def question(answer: Answer) -> bytes:
    """The question section as octets."""
    return Answer(answer.query, answer.question).octets()[12 : 12 + len("d.example") + 6]


@pytest.mark.parametrize("size", [3, 5, 16])
def test_an_address_of_the_wrong_size_is_garbage(dns: Start, size: int) -> None:
    record = b"\xc0\x0c\x00\x01\x00\x01\0\0\0\x01" + struct.pack("!H", size) + bytes(size)
    assert ask(dns(on={"*": lambda answer: [with_record(answer, record)]}), kind="A").outcome == TEMPORARY


def test_a_record_of_another_class_is_none_of_ours(dns: Start) -> None:
    record = b"\xc0\x0c\x00\x0f\x00\x03\0\0\0\x01\x00\x04\0\1\xc0\x0c"
    assert ask(dns(ZONE, on={"*": lambda answer: [with_record(answer, record)]})).outcome == TEMPORARY


@pytest.fixture(scope="module")
def shared() -> Iterator[DnsServer]:
    """One server for many examples."""
    with DnsServer() as server:
        yield server


@given(
    counts=st.binary(min_size=6, max_size=6), rest=st.binary(max_size=60), flags=st.integers(0, 0x7F0), pointers=st.booleans()
)
@example(counts=b"\xff" * 6, rest=b"\xc0\x0c" * 30, flags=0, pointers=False)
@settings(deadline=None, max_examples=150)
def test_no_answer_raises(shared: DnsServer, counts: bytes, rest: bytes, flags: int, pointers: bool) -> None:
    """Whatever stands behind the question."""
    rest = rest.replace(b"\0", b"\xc0\x0c") if pointers else rest
    header = struct.pack("!H", 0x8000 | flags) + b"\0\1" + counts
    shared.on = {"*": lambda answer: [answer.query.number.to_bytes(2) + header + question(answer) + rest]}
    reply = ask(shared, timeout=0.3)
    assert reply.outcome in (ANSWER, ALIAS, NO_DATA, NO_SUCH_NAME, TEMPORARY)
    assert reply.text.isascii() and reply.text.isprintable()


# What is kept


def test_a_question_is_asked_once(dns: Start) -> None:
    server = dns(ZONE, on={"bad.example": SERVFAIL})
    found = resolver(server)
    for name in ("d.example", "D.example.", "no.example", "bad.example") * 2:
        found.ask(name, "MX")
    assert sorted(set(server.log)) == sorted(server.log) == ["bad.example MX", "d.example MX", "no.example MX"]


def test_what_was_said_is_forgotten_with_the_pass(dns: Start) -> None:  # B-028
    server = dns({})
    assert ask(server).outcome == NO_SUCH_NAME
    server.zone.update(ZONE)
    assert ask(server).outcome == ANSWER


def test_slow_names_leave_the_names_behind_them_their_share_of_the_time(dns: Start) -> None:  # B-004
    server = dns(ZONE, on={f"slow{number}.example": SILENT for number in range(8)})
    questions = [*(Question(f"slow{number}.example", "A") for number in range(8)), Question("a.example", "A")]
    replies = resolver(server, timeout=2.0).ask_all(questions)
    assert [reply.outcome for reply in replies] == [*[TEMPORARY] * 8, ANSWER]


def test_what_had_no_time_is_asked_again(dns: Start) -> None:
    """That time was one domain's: whoever lists slow names cannot make another's fail for the pass."""
    server = dns(ZONE, on={"a.example": SILENT})
    found = resolver(server, timeout=0.5)
    assert found.ask("a.example", "A").outcome == TEMPORARY
    server.on.clear()
    assert found.ask("a.example", "A").outcome == ANSWER


def test_without_time_nothing_is_asked(dns: Start) -> None:
    server = dns(ZONE)
    assert ask(server, timeout=0.0).text == "MX of d.example: no time was left to ask"
    assert server.queries == []


def test_what_is_kept_has_a_limit(dns: Start) -> None:
    server = dns({})
    found = resolver(server, most_kept=3)
    for name in "abcdabcd":
        found.ask(name, "MX")
    assert len(server.queries) == 8
    found.ask("d", "MX")
    assert len(server.queries) == 8


def test_threads_that_ask_the_same_ask_once(dns: Start) -> None:
    """And those that ask something else do not wait for them."""
    going = threading.Event()
    server = dns({**ZONE, "e.example": ["A 127.0.0.9"]}, on={"d.example": lambda answer: None if going.wait(10) else []})
    other = dns({"e.example": ["A 127.0.0.9"]})
    found, replies = resolver(server), []
    threads = [threading.Thread(target=lambda: replies.append(found.ask("d.example", "MX"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert ask(other, "e.example", "A").outcome == ANSWER
    going.set()
    for thread in threads:
        thread.join()
    assert server.log == ["d.example MX"]
    assert len(replies) == 8
    assert len(set(replies)) == 1


def test_what_is_known_is_not_kept_back_by_what_the_same_call_still_waits_for(dns: Start) -> None:
    asked = threading.Event()

    def say_nothing(_: Answer) -> Sequence[bytes]:
        asked.set()
        return []

    server = dns(ZONE, on={"slow.example": say_nothing})
    found = resolver(server, timeout=60.0, first_wait=0.1)
    questions = [Question("a.example", "A"), Question("slow.example", "A")]
    waiting = threading.Thread(target=lambda: found.ask_all(questions))
    waiting.start()
    assert asked.wait(20)
    assert found.ask("a.example", "A").outcome == ANSWER
    assert waiting.is_alive()
    server.close()  # and nobody listens any more
    waiting.join()


def test_questions_of_one_call_travel_side_by_side() -> None:
    """Eight have come before one is answered; the replies are in the order of the questions all the same."""
    with socket.socket(type=socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))

        def serve() -> None:
            for wire, sender in reversed([listener.recvfrom(512) for _ in range(8)]):
                listener.sendto(*nobody(wire, sender))

        thread = threading.Thread(target=serve)
        thread.start()
        wanted = [Question(f"h{number}.example", "A") for number in range(8)]
        replies = resolver(f"127.0.0.1:{listener.getsockname()[1]}").ask_all(wanted)
        thread.join()
    assert [(reply.question, reply.outcome) for reply in replies] == [(question, NO_SUCH_NAME) for question in wanted]


def test_questions_of_one_call_share_its_time(dns: Start) -> None:
    """Those that come too late to be asked have no verdict either."""
    server = dns(on={"*": SILENT})
    start = time.monotonic()
    replies = resolver(server, timeout=0.2).ask_all([Question(f"h{number}.example", "A") for number in range(40)])
    assert {reply.outcome for reply in replies} == {TEMPORARY}
    assert time.monotonic() - start < 4


def test_a_question_may_stand_twice_in_one_call(dns: Start) -> None:
    server = dns(ZONE)
    first, second = resolver(server).ask_all([Question("a.example", "A"), Question("A.example.", "A")])
    assert first == second
    assert server.log == ["a.example A"]


@pytest.mark.parametrize("action", [SERVFAIL, TRUNCATED, unless_plain(FORMERR)])
def test_one_question_of_a_call_does_not_spoil_the_others(dns: Start, action: Action) -> None:
    server = dns({f"h{number}.example": [f"A 127.0.1.{number}"] for number in range(20)}, on={"h3.example": action})
    replies = resolver(server).ask_all([Question(f"h{number}.example", "A") for number in range(20)])
    replies.pop(3)
    assert [reply.records for reply in replies] == [(f"127.0.1.{number}",) for number in range(20) if number != 3]


def test_threads_that_ask_the_same_in_any_order_do_not_wait_in_a_circle(dns: Start) -> None:
    names = [f"h{number}.example" for number in range(24)]
    server = dns({name: [f"A 127.0.1.{number}"] for number, name in enumerate(names)})
    found, wrong = resolver(server), []

    def hammer(seed: int) -> None:
        for _ in range(10):
            some = random.Random(seed).sample(range(24), 24)
            replies = found.ask_all([Question(names[number], "A") for number in some])
            if [reply.records for reply in replies] != [(f"127.0.1.{number}",) for number in some]:
                wrong.append(replies)

    threads = [threading.Thread(target=hammer, args=(seed,)) for seed in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert sorted(server.log) == sorted(f"{name} A" for name in names)


def test_a_recorder_keeps_what_was_said(dns: Start) -> None:
    server = dns({"d.example": ["CNAME e.example"], "e.example": ["MX 1 a.example"]})
    recorder = Recorder(resolver(server))
    assert recorder.ask("d.example", "MX").canonical == "e.example"
    recorder.ask("x.example", "A")
    said = ["MX of d.example: an alias of e.example", "MX of e.example: 1 a.example", "A of x.example: no such name"]
    assert [reply.text for reply in recorder.replies] == said


# What is loaded


def run(code: str, *arguments: str) -> str:
    """What a new process says."""
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True).stdout


def test_only_a_question_loads_the_library() -> None:
    """A pass that relays to a smart host does not pay for it."""
    code = """import sys
from smartrelay.routing.mx import MXCalculator
from smartrelay.routing.resolver import DNSResolver
MXCalculator(DNSResolver(["127.0.0.1"])).exchangers("[127.0.0.1]")
print("dns" in sys.modules)"""
    assert run(code) == "False\n"


LOADED = """import sys
from smartrelay.routing.resolver import DNSResolver, load
load()
before = set(sys.modules)
found = DNSResolver(sys.argv[1:])
for name in ("d.example", "a.example", "n.example", "x.example", "bad.example", "long.example"):
    for kind in ("MX", "A", "AAAA"):
        print(found.ask(name, kind).outcome)
print(set(sys.modules) - before)"""


def test_what_is_loaded_beforehand_is_all_that_questions_need(dns: Start) -> None:
    """Root becomes another user before the first, and the library may lie where that one cannot read it."""
    zone = {**ZONE, "n.example": ["CNAME a.example"], "long.example": ["MX 1 a.example", "A 127.0.0.1", "AAAA ::1"]}
    server = dns(zone, on={"long.example": TRUNCATED, "bad.example": SERVFAIL, "a.example MX": lame})
    *outcomes, more = run(LOADED, server.where).splitlines()
    assert set(outcomes) == {ANSWER, ALIAS, NO_DATA, NO_SUCH_NAME, TEMPORARY}
    assert more == "set()"


# Where the servers are


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("192.0.2.1", ("192.0.2.1", 53)),
        ("192.0.2.1:5300", ("192.0.2.1", 5300)),
        ("2001:db8::1", ("2001:db8::1", 53)),
        ("[2001:db8::1]", ("2001:db8::1", 53)),
        ("[2001:db8::1]:5300", ("2001:db8::1", 5300)),
        ("fe80::1%eth0", ("fe80::1%eth0", 53)),
    ],
)
def test_a_server_is_an_address_with_or_without_port(text: str, server: tuple[str, int]) -> None:
    found = parse(text)
    assert found == server
    assert parse(str(found)) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "dns.example",
        "192.0.2.1:",
        "192.0.2.1:0",
        "192.0.2.1:65536",
        "192.0.2.1:x",
        "1.2.3",
        "[192.0.2.1]",
        "[::1",
        "[::1]x",
        "ü",
        "\0",
    ],
)
def test_what_is_no_server_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(ConfigError, match="is no DNS server; write ") as caught:
        DNSResolver([text])
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        ("search corp.example\nnameserver 192.0.2.1\n# nameserver 192.0.2.9\noptions edns0\n nameserver\t2001:db8::1 ; x\n", 2),
        ("nameserver\nnameserver nonsense\nnameserver fe80::1%eth0\n", 1),
        ("", 0),
    ],
)
def test_the_system_names_its_servers(tmp_path: Path, text: str, servers: int) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text(text)
    assert len(of_system(str(path))) == max(1, servers)
    if not servers:
        assert of_system(str(path)) == (Nameserver("127.0.0.1", 53),)


def test_a_system_that_names_no_server_has_one_itself(tmp_path: Path) -> None:
    assert of_system(str(tmp_path / "none")) == (Nameserver("127.0.0.1", 53),)


def test_servers_are_out_of_reach_only_where_nobody_is_at_any() -> None:  # B-026
    """A word of any kind is somebody's, and so may silence be."""
    closed = Nameserver("127.0.0.1", free_port())
    with DnsServer() as server, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        open_server = parse(server.where)
        mute = Nameserver("127.0.0.1", silent.getsockname()[1])
        assert are_out_of_reach([closed, Nameserver("fe80::1%nowhere")])
        assert not are_out_of_reach([closed, open_server])
        assert not are_out_of_reach([mute, closed], seconds=0.01)
