"""Which hosts take a domain's mail, and in which order: from real answers of a DNS server on loopback."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smartrelay.routing.mx import MXCalculator
from smartrelay.routing.resolver import DNSResolver, Question, Recorder, Reply
from smartrelay.routing.trouble import (
    BadLiteral,
    CanonicalNameChainTooLong,
    CanonicalNameLoop,
    LookupFailed,
    MailLoopsBack,
    NoSuchDomain,
    NoUsableExchanger,
    NullMX,
    OtherFamilyOnly,
    RoutingError,
    Unreachable,
)
from tests.support.clock import FakeClock
from tests.support.dns_server import REFUSED, SERVFAIL, SILENT, TRUNCATED, Action, DnsServer
from tests.support.process import free_port

Start = Callable[..., DnsServer]
PERMANENT = {
    CanonicalNameLoop: "5.4.4",
    CanonicalNameChainTooLong: "5.4.4",
    NullMX: "5.1.10",
    NoSuchDomain: "5.1.2",
    NoUsableExchanger: "5.4.4",
    MailLoopsBack: "5.4.6",
    BadLiteral: "5.1.3",
}
TEMPORARY = {LookupFailed: "4.4.3", Unreachable: "4.4.3", OtherFamilyOnly: "4.4.1"}


def calculator(server: DnsServer, timeout: float = 5.0, **settings: Any) -> MXCalculator:
    return MXCalculator(DNSResolver([server.where], timeout), **settings)


def hosts(server: DnsServer, domain: str, **settings: Any) -> list[str]:
    return [each.host for each in calculator(server, **settings).exchangers(domain)]


def trouble(kind: type[RoutingError], server: DnsServer, domain: str, **settings: Any) -> RoutingError:
    """What is raised for the domain; it is of that kind to the letter, and fit to be printed."""
    with pytest.raises(RoutingError) as caught:
        calculator(server, **settings).exchangers(domain)
    assert type(caught.value) is kind, caught.value
    assert caught.value.text.isascii() and caught.value.text.isprintable() and caught.value.text
    return caught.value


def with_addresses(*names: str) -> dict[str, list[str]]:
    return {name: [f"A 127.0.0.{number}"] for number, name in enumerate(names, 2)}


@pytest.mark.parametrize(("kind", "dsn"), [*PERMANENT.items(), *TEMPORARY.items()])
def test_an_error_knows_whether_waiting_helps(kind: type[RoutingError], dsn: str) -> None:
    assert kind("x").dsn == dsn
    assert kind("x").permanent == dsn.startswith("5")


# The order


def test_the_lowest_preference_comes_first(dns: Start) -> None:  # B-002
    server = dns({"d.example": ["MX 20 c.example", "MX 5 a.example", "MX 10 b.example"], **with_addresses(*abc())})
    assert hosts(server, "d.example") == ["a.example", "b.example", "c.example"]


def abc() -> tuple[str, str, str]:
    return "a.example", "b.example", "c.example"


def test_equal_preferences_are_in_random_order(dns: Start) -> None:  # B-003
    """The ancestor raised TypeError for them."""
    server = dns({"d.example": ["MX 10 a.example", "MX 10 b.example"], **with_addresses("a.example", "b.example")})
    found = calculator(server, shuffle=random.Random(4).shuffle)
    first = Counter(found.exchangers("d.example")[0].host for _ in range(200))
    assert 70 <= first["a.example"] <= 130
    assert first.total() == 200


def test_chance_is_given(dns: Start) -> None:
    server = dns({"d.example": [f"MX 10 {name}" for name in abc()], **with_addresses(*abc())})
    assert hosts(server, "d.example", shuffle=list.sort) == list(abc())
    assert hosts(server, "d.example", shuffle=lambda listed: listed.sort(reverse=True)) == list(abc())[::-1]


def test_a_host_has_all_its_addresses_in_the_order_of_the_dns(dns: Start) -> None:  # B-004 B-005 B-006
    """The ancestor knew A records only, and one exchanger of each domain."""
    addresses = ["A 127.0.0.9", "AAAA ::9", "A 127.0.0.2", "AAAA ::2", "A 127.0.0.5"]
    server = dns({"d.example": ["MX 1 a.example", "MX 2 b.example"], "a.example": addresses, "b.example": ["AAAA ::7"]})
    first, second = calculator(server).exchangers("d.example")
    assert first == ("a.example", 1, ("127.0.0.9", "127.0.0.2", "127.0.0.5", "::9", "::2"), False)
    assert second == ("b.example", 2, ("::7",), False)


def test_a_host_is_listed_once_at_its_best_preference(dns: Start) -> None:
    records = ["MX 30 a.example", "MX 20 b.example", "MX 10 a.example", "MX 10 A.example"]
    server = dns({"d.example": records, **with_addresses("a.example", "b.example")})
    assert hosts(server, "d.example") == ["a.example", "b.example"]


def test_no_more_than_twenty_exchangers_are_asked_for(dns: Start) -> None:  # B-025
    names = [f"mx{number:02}.example" for number in range(60)]
    server = dns({"d.example": [f"MX {number} {name}" for number, name in enumerate(names)], **with_addresses(*names)})
    assert hosts(server, "d.example") == names[:20]
    assert {query.name for query in server.queries} == {"d.example", *names[:20]}


def test_no_more_than_ten_addresses_of_a_family_are_taken(dns: Start) -> None:  # B-004 B-005 B-025
    """Each may cost a connection's time and a descriptor; nobody needs more."""
    ipv4, ipv6 = [f"127.0.1.{number}" for number in range(50)], [f"2001:db8::{number:x}" for number in range(1, 50)]
    addresses = [*(f"A {address}" for address in ipv4), *(f"AAAA {address}" for address in ipv6)]
    (found,) = calculator(dns({"d.example": ["MX 1 a.example"], "a.example": addresses})).exchangers("d.example")
    assert found.addresses == (*ipv4[:10], *ipv6[:10])


# Without MX


def test_a_domain_without_mx_record_is_its_own_exchanger(dns: Start) -> None:  # B-007
    server = dns({"d.example": ["A 192.0.2.1", "AAAA 2001:db8::1"]})
    assert calculator(server).exchangers("d.example") == [("d.example", 0, ("192.0.2.1", "2001:db8::1"), True)]


def test_a_domain_need_not_be_its_own_exchanger(dns: Start) -> None:
    server = dns({"d.example": ["A 192.0.2.1"]})
    trouble(NoUsableExchanger, server, "d.example", fallback_to_domain=False)
    assert server.log == ["d.example MX"]


def test_a_domain_without_mx_record_and_address_has_no_way(dns: Start) -> None:  # B-011
    trouble(NoUsableExchanger, dns({"d.example": ["TXT x"]}), "d.example")


@pytest.mark.parametrize("fallback", [True, False])
def test_a_domain_that_does_not_exist_fails_without_a_further_question(dns: Start, fallback: bool) -> None:  # B-008 B-001
    server = dns({"nowhere.corp.example": ["A 192.0.2.1"]})
    trouble(NoSuchDomain, server, "nowhere", fallback_to_domain=fallback)
    assert server.log == ["nowhere MX"]


def test_a_domain_that_takes_no_mail_fails_without_a_further_question(dns: Start) -> None:  # B-015
    """The ancestor took the root for a host."""
    server = dns({"d.example": ["MX 0 .", "A 192.0.2.1"]})
    trouble(NullMX, server, "d.example")
    assert server.log == ["d.example MX"]


def test_a_root_beside_other_exchangers_is_passed_over(dns: Start) -> None:  # B-016
    server = dns({"d.example": ["MX 0 .", "MX 10 a.example"], **with_addresses("a.example")})
    assert hosts(server, "d.example") == ["a.example"]


# The DNS cannot tell


@pytest.mark.parametrize("action", [SERVFAIL, REFUSED, 9, SILENT])
def test_what_the_dns_cannot_tell_waits(dns: Start, action: Action) -> None:  # B-009
    """And nobody falls back to the domain's address meanwhile."""
    server = dns({"d.example": ["A 192.0.2.1"]}, on={"MX": action})
    trouble(LookupFailed, server, "d.example", timeout=0.1)
    assert set(server.log) == {"d.example MX"}


def test_a_truncated_answer_that_cannot_be_had_whole_waits(dns: Start) -> None:  # B-009
    server = dns({"d.example": ["A 192.0.2.1"]}, on={"MX": TRUNCATED}, tcp=False)
    assert "truncated" in trouble(LookupFailed, server, "d.example").text
    assert set(server.log) == {"d.example MX"}


def test_without_a_way_to_any_server_the_machine_is_offline() -> None:
    found = MXCalculator(DNSResolver([f"127.0.0.1:{free_port()}"], 30.0))
    with pytest.raises(Unreachable, match="connection refused"):
        found.exchangers("d.example")


def test_a_way_that_is_lost_between_two_questions_is_no_verdict(dns: Start) -> None:
    """The answer to the first says nothing of the second."""
    server = dns({"d.example": ["MX 10 a.example"], **with_addresses("a.example")})

    class Leaving(Recorder):
        def ask(self, name: str, kind: str) -> Reply:
            reply = super().ask(name, kind)
            server.close()
            return reply

    with pytest.raises(Unreachable):
        MXCalculator(Leaving(DNSResolver([server.where]))).exchangers("d.example")


def test_with_mx_records_the_addresses_of_the_domain_are_never_used(dns: Start) -> None:  # B-010
    server = dns({"d.example": ["MX 10 a.example", "A 192.0.2.1"], **with_addresses("a.example")})
    assert hosts(server, "d.example") == ["a.example"]
    del server.zone["a.example"]
    trouble(NoUsableExchanger, server, "d.example")
    assert not [query for query in server.queries if query.name == "d.example" and query.kind != "MX"]


def test_exchangers_without_address_are_passed_over(dns: Start) -> None:
    zone = {"d.example": ["MX 1 gone.example", "MX 2 text.example", "MX 3 late.example", "MX 4 a.example"]}
    server = dns({**zone, "text.example": ["TXT x"], **with_addresses("a.example")}, on={"late.example": SERVFAIL})
    assert hosts(server, "d.example") == ["a.example"]


def test_when_no_exchanger_has_an_address_one_doubt_is_enough_to_wait(dns: Start) -> None:  # B-011
    server = dns({"d.example": ["MX 10 mx1.example", "MX 20 mx2.example"]}, on={"mx2.example": SERVFAIL})
    assert "mx2.example: SERVFAIL" in trouble(LookupFailed, server, "d.example").text
    server.on.clear()
    trouble(NoUsableExchanger, server, "d.example")


def test_exchangers_whose_names_nobody_knows_leave_time_for_the_others(dns: Start) -> None:  # B-004 B-011
    """A backup whose zone is alive takes the mail of a domain whose own zone is dead, however many names are in that."""
    dead = [f"mx{number}.dead.example" for number in range(4)]
    zone = {"d.example": [*(f"MX 1 {name}" for name in dead), "MX 2 a.example"], **with_addresses("a.example")}
    server = dns(zone, on={f"{name} {kind}": SILENT for name in dead for kind in ("A", "AAAA")})
    assert hosts(server, "d.example", timeout=2.0) == ["a.example"]


@pytest.mark.parametrize("kind", ["A", "AAAA"])
def test_one_family_in_doubt_is_a_doubt(dns: Start, kind: str) -> None:  # B-011 B-006
    server = dns({"d.example": ["MX 10 a.example"], "a.example": ["TXT x"]}, on={f"a.example {kind}": SERVFAIL})
    trouble(LookupFailed, server, "d.example")


@pytest.mark.parametrize(("kind", "address"), [("A", "::2"), ("AAAA", "127.0.0.2")])
def test_one_family_in_doubt_does_not_keep_the_other_back(dns: Start, kind: str, address: str) -> None:  # B-006
    zone = {"d.example": ["MX 10 a.example"], "a.example": ["A 127.0.0.2", "AAAA ::2"]}
    (found,) = calculator(dns(zone, on={kind: SERVFAIL})).exchangers("d.example")
    assert found.addresses == (address,)


@pytest.mark.parametrize(("kind", "address"), [("A", "::2"), ("AAAA", "127.0.0.2")])
def test_one_family_that_is_never_answered_costs_a_grace(dns: Start, kind: str, address: str) -> None:  # B-006
    server = dns({"d.example": ["MX 10 a.example"], "a.example": ["A 127.0.0.2", "AAAA ::2"]}, on={kind: SILENT})
    start = time.monotonic()
    (found,) = MXCalculator(DNSResolver([server.where], 60.0, grace=0.05)).exchangers("d.example")
    assert found.addresses == (address,)
    assert time.monotonic() - start < 20


# Families


@pytest.mark.parametrize(("family", "address"), [("ipv4", "127.0.0.2"), ("ipv6", "::2")])
def test_one_family_alone_can_be_wanted(dns: Start, family: str, address: str) -> None:
    server = dns({"d.example": ["MX 10 a.example"], "a.example": ["A 127.0.0.2", "AAAA ::2"]})
    (found,) = calculator(server, family=family).exchangers("d.example")
    assert found.addresses == (address,)
    assert len(server.queries) == 2


@pytest.mark.parametrize(("family", "address"), [("ipv6", "A 127.0.0.2"), ("ipv4", "AAAA ::2")])
def test_what_has_the_other_family_only_waits_for_another_configuration(dns: Start, family: str, address: str) -> None:  # B-006
    server = dns({"d.example": ["MX 10 a.example"], "a.example": [address]})
    trouble(OtherFamilyOnly, server, "d.example", family=family)
    server.zone["a.example"] = ["TXT x"]
    trouble(NoUsableExchanger, server, "d.example", family=family)


# Aliases


@pytest.fixture(params=[False, True], ids=["in one answer", "step by step"])
def steps(request: pytest.FixtureRequest) -> Iterator[bool]:
    """Whether an answer has the whole chain of aliases, or one step of it."""
    yield request.param


def chain(length: int, *end: str) -> dict[str, list[str]]:
    """d.example stands for c1.example, and so on for `length` steps."""
    names = ["d.example", *(f"c{number}.example" for number in range(1, length + 1))]
    links = {name: [f"CNAME {target}"] for name, target in pairwise(names)}
    return {**links, names[-1]: list(end), **with_addresses("a.example")}


@pytest.mark.parametrize("length", [1, 2, 3])
def test_an_alias_is_followed_as_if_its_target_had_been_asked_for(dns: Start, steps: bool, length: int) -> None:  # B-012
    server = dns(chain(length, "MX 10 a.example"), steps=steps)
    assert hosts(server, "d.example") == ["a.example"]
    assert server.log.count("d.example MX") == 1
    if not steps:
        assert len(server.queries) == 3, "the chain stood in the answer, and was asked for again"


def test_an_alias_leads_to_an_implicit_exchanger(dns: Start, steps: bool) -> None:  # B-012 B-007
    server = dns(chain(2, "A 192.0.2.1"), steps=steps)
    assert calculator(server).exchangers("d.example") == [("c2.example", 0, ("192.0.2.1",), True)]


def test_an_alias_of_nothing_is_no_domain(dns: Start, steps: bool) -> None:  # B-012 B-008
    server = dns({"d.example": ["CNAME gone.example"]}, steps=steps)
    trouble(NoSuchDomain, server, "d.example")
    assert {query.kind for query in server.queries} == {"MX"}


def test_a_chain_of_aliases_has_a_limit(dns: Start, steps: bool) -> None:  # B-012
    server = dns(chain(4, "MX 10 a.example"), steps=steps)
    trouble(CanonicalNameChainTooLong, server, "d.example")
    assert hosts(server, "d.example", canonical_chain_limit=4) == ["a.example"]
    trouble(CanonicalNameChainTooLong, server, "c3.example", canonical_chain_limit=0)
    assert hosts(server, "c4.example", canonical_chain_limit=0) == ["a.example"]


@pytest.mark.parametrize("length", [0, 1, 2, 3])
def test_aliases_in_a_circle_fail(dns: Start, steps: bool, length: int) -> None:  # B-012
    """The ancestor saw a circle in one answer only."""
    last = f"c{length}.example" if length else "d.example"
    server = dns({**chain(length), last: ["CNAME d.example"]}, steps=steps)
    trouble(CanonicalNameLoop, server, "d.example")
    assert len(server.queries) <= 4


def test_a_circle_that_the_domain_leads_into_fails(dns: Start, steps: bool) -> None:
    zone = {"d.example": ["CNAME e.example"], "e.example": ["CNAME f.example"], "f.example": ["CNAME e.example"]}
    trouble(CanonicalNameLoop, dns(zone, steps=steps), "d.example")


def test_an_exchanger_that_is_an_alias_keeps_its_name(dns: Start, steps: bool) -> None:  # B-013
    zone = {"d.example": ["MX 10 cn.example"], "cn.example": ["CNAME a.example"], "a.example": ["A 127.0.0.2", "AAAA ::2"]}
    assert calculator(dns(zone, steps=steps)).exchangers("d.example") == [("cn.example", 10, ("127.0.0.2", "::2"), False)]


def test_aliases_of_several_exchangers_are_followed_side_by_side(dns: Start) -> None:  # B-013 B-025
    """Each call of the resolver may take its whole time, so there is one for each step, however many exchangers there are."""
    zone = {"d.example": [f"MX {number} cn{number}.example" for number in range(20)], **with_addresses("a.example")}
    for number in range(20):
        zone |= {f"cn{number}.example": [f"CNAME x{number}.example"], f"x{number}.example": ["CNAME a.example"]}
    calls = []

    class Counted(DNSResolver):
        def ask_all(self, questions: Sequence[Question]) -> list[Reply]:
            calls.append(len(questions))
            return super().ask_all(questions)

    found = MXCalculator(Counted([dns(zone, steps=True).where])).exchangers("d.example")
    assert len(found) == 20 and calls == [1, 40, 40, 40]


def test_an_exchanger_whose_aliases_lead_nowhere_has_no_address(dns: Start, steps: bool) -> None:  # B-013
    zone = {"d.example": ["MX 1 loop.example", "MX 2 a.example"], "loop.example": ["CNAME loop.example"]}
    server = dns({**zone, **with_addresses("a.example")}, steps=steps)
    assert hosts(server, "d.example") == ["a.example"]
    del server.zone["a.example"]
    trouble(NoUsableExchanger, server, "d.example")


# Names


@pytest.mark.parametrize("name", ["192.0.2.1", "a b.example", "-a.example", "a-.example", "a\\x2eb.example", "ü.example", "1"])
def test_an_exchanger_whose_name_is_none_of_a_host_is_passed_over(dns: Start, name: str) -> None:  # B-014
    server = dns({"d.example": [f"MX 10 {name}"], "192.0.2.1": ["A 192.0.2.1"], **with_addresses("a.example")})
    trouble(NoUsableExchanger, server, "d.example")
    assert server.log == ["d.example MX"]
    server.zone["d.example"] = [f"MX 10 {name}", "MX 20 a.example"]
    assert hosts(server, "d.example") == ["a.example"]


def test_names_are_asked_for_in_ascii(dns: Start) -> None:  # B-024
    server = dns({"xn--bcher-kva.example": ["MX 10 xn--mx-eka.example"], "xn--mx-eka.example": ["A 127.0.0.2"]})
    assert hosts(server, "Bücher.example") == ["xn--mx-eka.example"]
    assert {query.name for query in server.queries} == {"xn--bcher-kva.example", "xn--mx-eka.example"}


@pytest.mark.parametrize(
    "domain", ["bü\u200bcher..example", "ü" * 80 + ".example", "a..b", "a" * 64 + ".example", "a." * 130 + "b"]
)
def test_what_can_be_no_domain_is_none(dns: Start, domain: str) -> None:
    server = dns({})
    trouble(NoSuchDomain, server, domain)
    assert server.log == []


def test_case_and_a_last_dot_make_no_difference(dns: Start) -> None:  # B-026
    server = dns({"d.example": ["MX 10 A.Example"], **with_addresses("a.example")})
    found = calculator(server)
    assert found.exchangers("D.Example.") == found.exchangers("d.example") == [("a.example", 10, ("127.0.0.2",), False)]
    assert server.log.count("d.example MX") == 1


# Address literals


@pytest.mark.parametrize(
    ("literal", "address"),
    [
        ("[192.0.2.1]", "192.0.2.1"),
        ("[IPv6:2001:db8::1]", "2001:db8::1"),
        ("[ipv6:2001:DB8:0::1]", "2001:db8::1"),
        ("[IPv6:::ffff:192.0.2.1]", "::ffff:192.0.2.1"),
    ],
)
def test_an_address_literal_needs_no_dns(dns: Start, literal: str, address: str) -> None:  # B-021
    server = dns({})
    assert calculator(server).exchangers(literal) == [(address, 0, (address,), False)]
    assert server.log == []


BAD = [
    "[300.1.1.1]",
    "[2001:db8::1]",
    "[IPv6:192.0.2.1]",
    "[IPv6:]",
    "[]",
    "[192.0.2.1",
    "[1.2.3]",
    "[x:y]",
    "[IPv6:::1%lo]",
    "[",
]


@pytest.mark.parametrize("literal", BAD)
def test_a_bad_address_literal_fails(dns: Start, literal: str) -> None:  # B-021
    trouble(BadLiteral, dns({}), literal)


@given(address=st.ip_addresses())
@settings(deadline=None)
def test_every_address_can_be_written_as_a_literal(address: Any) -> None:  # B-021
    literal = f"[{address}]" if address.version == 4 else f"[IPv6:{address}]"
    (found,) = MXCalculator(DNSResolver(["127.0.0.1:1"])).exchangers(literal)
    assert type(address)(found.host) == address


# This host itself


def test_from_this_host_on_exchangers_are_left_out(dns: Start) -> None:  # B-018
    zone = {"d.example": ["MX 10 other.example", "MX 20 self.example", "MX 20 x.example", "MX 30 y.example"]}
    server = dns({**zone, **with_addresses("other.example", "self.example", "x.example", "y.example")})
    assert hosts(server, "d.example", own_names=frozenset({"Self.Example."})) == ["other.example"]
    assert hosts(server, "d.example", is_own=lambda address: address == "127.0.0.3") == ["other.example"]


def test_what_is_left_out_is_not_used_when_the_rest_fails(dns: Start) -> None:  # B-018
    zone = {"d.example": ["MX 10 other.example", "MX 20 self.example", "MX 30 y.example"]}
    server = dns({**zone, **with_addresses("self.example", "y.example")}, on={"other.example": SERVFAIL})
    trouble(LookupFailed, server, "d.example", own_names=frozenset({"self.example"}))
    trouble(LookupFailed, server, "d.example", is_own=lambda address: address == "127.0.0.2")
    server.on.clear()
    trouble(NoUsableExchanger, server, "d.example", own_names=frozenset({"self.example"}))


@pytest.mark.parametrize("own", [{"own_names": frozenset({"self.example"})}, {"is_own": lambda address: address == "::7"}])
@pytest.mark.parametrize("domain", ["d.example", "self.example", "alias.example"])
def test_mail_for_which_this_host_is_the_best_exchanger_loops(dns: Start, own: dict[str, Any], domain: str) -> None:  # B-018
    zone = {"d.example": ["MX 10 self.example", "MX 10 b.example"], "self.example": ["A 127.0.0.2", "AAAA ::7"]}
    server = dns({**zone, "alias.example": ["CNAME self.example"], **with_addresses("b.example")})
    trouble(MailLoopsBack, server, domain, **own)


def test_what_is_worse_than_this_host_is_no_reason_to_wait(dns: Start) -> None:  # B-018
    zone = {"d.example": ["MX 10 self.example", "MX 20 late.example"], **with_addresses("self.example")}
    trouble(MailLoopsBack, dns(zone, on={"late.example": SERVFAIL}), "d.example", is_own=lambda address: address == "127.0.0.2")


def test_mail_for_an_address_of_this_host_loops(dns: Start) -> None:  # B-018 B-021
    trouble(MailLoopsBack, dns({}), "[127.0.0.1]", is_own=lambda address: address == "127.0.0.1")


# Bad hosts


@pytest.fixture
def bad(dns: Start, clock: FakeClock) -> MXCalculator:
    """A calculator for d.example, which has a, b and c as exchangers."""
    server = dns({"d.example": [f"MX {number} {name}" for number, name in enumerate(abc())], **with_addresses(*abc())})
    return calculator(server, clock=clock)


def test_a_bad_host_comes_after_the_good_ones(bad: MXCalculator) -> None:
    assert bad.get_mx("d.example").host == "a.example"
    bad.mark_bad("a.example", "connection refused")
    assert bad.get_mx("d.example").host == "b.example"
    found = bad.exchangers("d.example")
    assert [each.host for each in found] == list(abc())
    assert [each.host for each in bad.good_first(found)] == ["b.example", "c.example", "a.example"]


def test_when_all_are_bad_the_best_is_tried(bad: MXCalculator) -> None:
    for name in abc():
        bad.mark_bad(name)
    assert bad.get_mx("d.example").host == "a.example"


def test_a_host_is_good_again_by_whatever_name(bad: MXCalculator) -> None:
    """The ancestor kept one form of the name and took away another."""
    bad.mark_bad("A.example.")
    assert bad.get_mx("d.example").host == "b.example"
    assert bad.mark_good("a.EXAMPLE")
    assert bad.get_mx("d.example").host == "a.example"
    assert not bad.mark_good("a.example")


def test_a_host_is_bad_for_an_hour(bad: MXCalculator, clock: FakeClock) -> None:
    bad.mark_bad("a.example")
    clock.advance(3599)
    assert bad.get_mx("d.example").host == "b.example"
    clock.advance(1)
    assert bad.get_mx("d.example").host == "a.example"


def test_a_clock_that_went_back_makes_no_host_bad_for_ever(bad: MXCalculator, clock: FakeClock) -> None:
    bad.mark_bad("a.example")
    clock.advance(-1e6)
    assert bad.get_mx("d.example").host == "a.example"


def test_the_memory_of_bad_hosts_is_given(dns: Start) -> None:
    class Memory:
        def __init__(self) -> None:
            self.told: list[tuple[str, ...]] = []

        def mark_bad(self, key: str, reason: str) -> None:
            self.told.append(("bad", key, reason))

        def mark_good(self, key: str) -> bool:
            self.told.append(("good", key))
            return True

        def is_bad(self, key: str) -> bool:
            return key == "a.example:2525"

    server, memory = dns({"d.example": ["MX 1 a.example", "MX 2 b.example"], **with_addresses(*abc())}), Memory()
    found = calculator(server, bad_hosts=memory, port=2525)
    found.mark_bad("A.example.", "refused")
    assert found.mark_good("2001:DB8::1")
    assert memory.told == [("bad", "a.example:2525", "refused"), ("good", "[2001:db8::1]:2525")]
    assert found.get_mx("d.example").host == "b.example"


# Laws that hold for whatever a zone has


EXCHANGERS = st.lists(st.tuples(st.integers(0, 65535), st.integers(0, 30)), min_size=1, max_size=30)


@pytest.fixture(scope="module")
def shared() -> Iterator[DnsServer]:
    """One server for many examples."""
    with DnsServer() as server:
        yield server


@given(records=EXCHANGERS, own=st.sets(st.integers(0, 30), max_size=3), without=st.sets(st.integers(0, 30)))
@settings(deadline=None, max_examples=60)
def test_the_order_holds_for_any_records(
    shared: DnsServer, records: list[tuple[int, int]], own: set[int], without: set[int]
) -> None:  # B-002 B-011 B-018 B-025
    """All that are better than this host, in order, none twice, none without an address."""
    shared.zone = {"d.example": [f"MX {preference} h{number}.example" for preference, number in records]}
    shared.zone |= {f"h{number}.example": [f"A 127.0.1.{number}"] for _, number in records if number not in without}
    best = {number: min(preference for preference, other in records if other == number) for _, number in records}
    limit = min((best[number] for number in own if number in best), default=65536)
    wanted = {number for number in best if best[number] < limit}
    try:
        found = calculator(shared, own_names=frozenset(f"h{number}.example" for number in own)).exchangers("d.example")
    except MailLoopsBack:
        assert not wanted
        return
    except NoUsableExchanger:
        assert wanted <= without or len(wanted) > 20
        return
    preferences = [each.preference for each in found]
    numbers = [int(each.host[1:].partition(".")[0]) for each in found]
    assert preferences == sorted(preferences) == [best[number] for number in numbers]
    assert len(set(numbers)) == len(numbers) <= 20
    assert set(numbers) <= wanted - without
    assert len(wanted) > 20 or set(numbers) == wanted - without
    assert all(each.addresses == (f"127.0.1.{number}",) for each, number in zip(found, numbers, strict=True))


# Many threads


def test_many_threads_ask_one_calculator(dns: Start) -> None:
    """Each gets the right answer, and no question is asked twice."""
    domains = [f"d{number}.example" for number in range(40)]
    zone: dict[str, list[str]] = {}
    for number, domain in enumerate(domains):
        zone[domain] = [f"MX 10 mx{number % 10}.example", f"MX 10 other{number}.example", f"MX 20 {domain}"]
        zone[f"other{number}.example"] = [f"CNAME mx{number % 10}.example"]
        zone[f"mx{number % 10}.example"] = [f"A 127.0.0.{number % 10 + 1}"]
    server = dns(zone)
    found = calculator(server, own_names=frozenset(domains))
    start, wrong = threading.Barrier(16), []

    def hammer(seed: int) -> None:
        chance = random.Random(seed)
        start.wait()
        for number in chance.sample(range(40), 40):
            try:
                mx, other = f"mx{number % 10}.example", f"other{number}.example"
                listed = found.exchangers(domains[number])
                assert {each.host for each in listed} == {mx, other}
                assert all(each.addresses == (f"127.0.0.{number % 10 + 1}",) for each in listed)
                found.mark_bad(other)
                assert found.get_mx(domains[number]).host in (mx, other)
                found.mark_bad(mx)
                assert found.get_mx(domains[number]).host in (mx, other)
                found.mark_good(chance.choice((mx, other)))
            except Exception as error:
                wrong.append(error)

    threads = [threading.Thread(target=hammer, args=(seed,)) for seed in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert [(name, times) for name, times in Counter(server.log).items() if times > 1] == []
