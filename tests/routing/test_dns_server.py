"""The DNS server that tests command does what it says, read here by dnspython, which the program's own reader is not."""

from collections.abc import Callable

import pytest
from dns import flags, message, query, rcode

from tests.support.dns_server import NXDOMAIN, SERVFAIL, TRUNCATED, DnsServer, dns_process

ZONE = {
    "d.example": ["MX 10 a.example", "MX 0 .", "TXT hello"],
    "a.example": ["A 127.0.0.2", "AAAA ::2"],
    "c.example": ["CNAME a.example"],
}
Start = Callable[..., DnsServer]


def asked(server: DnsServer, name: str, kind: str, *, edns: bool = True) -> message.Message:
    question = message.make_query(name, kind, use_edns=0 if edns else None)
    return query.udp(question, server.address, timeout=10, port=server.port)


@pytest.mark.parametrize(
    ("name", "kind", "records"),
    [
        ("d.example", "MX", ["d.example. 300 IN MX 10 a.example.", "d.example. 300 IN MX 0 ."]),
        ("a.example", "A", ["a.example. 300 IN A 127.0.0.2"]),
        ("a.example", "AAAA", ["a.example. 300 IN AAAA ::2"]),
        ("c.example", "A", ["c.example. 300 IN CNAME a.example.", "a.example. 300 IN A 127.0.0.2"]),
        ("d.example", "TXT", ['d.example. 300 IN TXT "hello"']),
        ("d.example", "A", []),
    ],
)
def test_it_says_what_its_zone_has(dns: Start, name: str, kind: str, records: list[str]) -> None:
    answer = asked(dns(ZONE), name, kind)
    assert [line for rrset in answer.answer for line in rrset.to_text().splitlines()] == records
    assert answer.rcode() == 0


def test_it_answers_over_tcp_what_is_too_long_for_udp(dns: Start) -> None:
    server = dns({"d.example": [f"A 127.0.1.{number}" for number in range(100)]})
    question = message.make_query("d.example", "A")
    answer, over_tcp = query.udp_with_fallback(question, server.address, timeout=10, port=server.port)
    assert over_tcp
    assert len(answer.answer[0]) == 100


@pytest.mark.parametrize("key", ["d.example MX", "d.example", "MX", "*"])
def test_it_can_be_told_what_to_say(dns: Start, key: str) -> None:
    assert asked(dns(ZONE, on={key: SERVFAIL}), "d.example", "MX").rcode() == SERVFAIL
    assert asked(dns(ZONE, on={key: SERVFAIL}, edns=False), "d.example", "MX").rcode() == rcode.FORMERR
    assert asked(dns(ZONE, on={key: SERVFAIL}, edns=False), "d.example", "MX", edns=False).rcode() == SERVFAIL
    assert asked(dns(ZONE, on={key: TRUNCATED}), "d.example", "MX").flags & flags.TC
    assert asked(dns(ZONE), "x.example", "MX").rcode() == NXDOMAIN


def test_it_can_be_a_process_of_its_own() -> None:
    with dns_process(ZONE) as where:
        address, _, port = where.rpartition(":")
        answer = query.udp(message.make_query("a.example", "A"), address, timeout=20, port=int(port))
    assert len(answer.answer) == 1
